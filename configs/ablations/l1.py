# A true L1 term on the target.
_base_ = './baseline.py'

model = dict(losses=dict(l1=dict(type='L1Loss', weight=0.2)))
