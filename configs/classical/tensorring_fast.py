model = dict(type='TensorRing', preset='fast')
