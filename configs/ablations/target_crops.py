# Windows of 2/3 to all of each side, four of five around a target, enlarged to the whole.
_base_ = './baseline.py'

scale = dict(_base_.scale, high=1.5)
crop = dict(_base_.crop, target_prob=0.8)
train_dataloader = dict(dataset=dict(pipeline=[scale, crop]))
