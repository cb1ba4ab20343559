model = dict(type='NIPPS', preset='leaderboard')
