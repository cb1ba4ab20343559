# The scale and location sensitive loss (MSHNet) in place of SoftIoU; without location in the first two epochs.
_base_ = './baseline.py'

model = dict(losses=dict(soft_iou=dict(_delete_=True, type='SLSIoULoss', warm_epoch=1)))
