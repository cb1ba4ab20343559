model = dict(type='IPI', preset='paper')
