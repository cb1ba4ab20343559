model = dict(type='MaxMedian', preset='leaderboard')
