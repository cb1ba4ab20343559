# The target of every stage against the mask.
_base_ = './baseline.py'

model = dict(losses=dict(stages=dict(type='SoftIoULoss', on='stages', weight=0.5)))
