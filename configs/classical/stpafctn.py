model = dict(type='STPAFCTN', preset='toolbox')
