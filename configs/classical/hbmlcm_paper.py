model = dict(type='HBMLCM', preset='paper')
