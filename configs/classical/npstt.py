model = dict(type='NPSTT', preset='toolbox')
