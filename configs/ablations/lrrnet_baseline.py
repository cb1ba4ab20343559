# What LRRNet's own ablations are compared with: LRRNet in the same recipe, losses as published.
_base_ = './baseline.py'

model = dict(network=dict(_delete_=True, type='LRRNet'), losses=dict(soft_iou=dict(weight=1.8)))
