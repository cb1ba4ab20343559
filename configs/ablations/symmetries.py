# Mirrored and transposed before resizing: the eight symmetries of the square, the published augmentation.
_base_ = './baseline.py'

train_dataloader = dict(dataset=dict(before_resize=_base_.augmentation))
