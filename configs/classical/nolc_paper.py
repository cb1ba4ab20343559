model = dict(type='NOLC', preset='paper')
