model = dict(type='NPSTT', preset='paper')
