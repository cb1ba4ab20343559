# LRRNet's sparsity term with a gradient, at the weight of l1.py.
_base_ = './lrrnet_baseline.py'

model = dict(losses=dict(l1=dict(type='L1Loss', weight=0.02)))
