# Mirrored and transposed: the eight symmetries of the square.
_base_ = './baseline.py'

symmetries = [dict(type='RandomFlip', horizontal=0.5, vertical=0.5), dict(type='RandomTranspose', prob=0.5)]
train_dataloader = dict(dataset=dict(pipeline=[_base_.scale, _base_.crop, *symmetries]))
