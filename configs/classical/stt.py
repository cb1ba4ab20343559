model = dict(type='STT', preset='toolbox')
