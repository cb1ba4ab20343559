model = dict(type='NRAM', preset='paper')
