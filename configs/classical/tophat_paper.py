model = dict(type='TopHat', preset='paper')
