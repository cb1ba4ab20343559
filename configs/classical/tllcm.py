model = dict(type='TLLCM', preset='leaderboard')
