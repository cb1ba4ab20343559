model = dict(type='STT', preset='paper')
