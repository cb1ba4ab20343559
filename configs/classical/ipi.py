model = dict(type='IPI', preset='leaderboard')
