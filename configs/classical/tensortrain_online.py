model = dict(type='TensorTrainOnline', preset='fast')
