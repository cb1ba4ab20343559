# Scale and rotation jitter.
_base_ = './baseline.py'

scale = dict(_base_.scale, low=0.75, high=1.33)
rotation = dict(type='RotationJitter', degrees=10.0)
train_dataloader = dict(dataset=dict(pipeline=[scale, _base_.crop, rotation]))
