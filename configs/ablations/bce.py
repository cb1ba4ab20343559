# Cross-entropy beside SoftIoU: it has a gradient where all scores have sunk to 0.
_base_ = './baseline.py'

model = dict(losses=dict(bce=dict(type='BCELoss', weight=1.0)))
