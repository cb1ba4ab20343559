model = dict(type='TensorTrain', preset='toolbox')
