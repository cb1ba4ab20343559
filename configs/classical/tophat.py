model = dict(type='TopHat', preset='leaderboard')
