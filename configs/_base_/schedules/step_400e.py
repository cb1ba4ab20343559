# A tenth of the learning rate from epoch 200 and again from 300.
_base_ = './poly_400e.py'

param_scheduler = [dict(type='MultiStepLR', milestones=[200, 300], gamma=0.1, by_epoch=True)]
