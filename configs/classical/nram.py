model = dict(type='NRAM', preset='leaderboard')
