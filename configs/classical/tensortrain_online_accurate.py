model = dict(type='TensorTrainOnline', preset='accurate')
