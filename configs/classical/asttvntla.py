model = dict(type='ASTTVNTLA', preset='toolbox')
