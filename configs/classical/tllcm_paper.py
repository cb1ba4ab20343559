model = dict(type='TLLCM', preset='paper')
