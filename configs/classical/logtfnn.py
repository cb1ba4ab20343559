model = dict(type='LogTFNN', preset='toolbox')
