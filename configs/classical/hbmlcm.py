model = dict(type='HBMLCM', preset='leaderboard')
