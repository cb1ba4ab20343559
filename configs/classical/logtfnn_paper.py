model = dict(type='LogTFNN', preset='paper')
