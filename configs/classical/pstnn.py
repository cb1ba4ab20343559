model = dict(type='PSTNN', preset='leaderboard')
