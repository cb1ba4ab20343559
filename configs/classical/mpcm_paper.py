model = dict(type='MPCM', preset='paper')
