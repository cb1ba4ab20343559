model = dict(type='MPCM', preset='leaderboard')
