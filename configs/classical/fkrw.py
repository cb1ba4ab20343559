model = dict(type='FKRW', preset='leaderboard')
