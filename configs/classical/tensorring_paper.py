model = dict(type='TensorRing', preset='paper')
