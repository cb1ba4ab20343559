model = dict(type='TensorTrain', preset='paper')
