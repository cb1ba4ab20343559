model = dict(type='NWMTH', preset='leaderboard')
