model = dict(type='NOLC', preset='leaderboard')
