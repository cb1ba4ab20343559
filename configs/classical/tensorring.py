model = dict(type='TensorRing', preset='toolbox')
