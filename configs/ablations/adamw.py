# AdamW: weight decay apart from the gradient.
_base_ = './baseline.py'

optim_wrapper = dict(optimizer=dict(type='AdamW', weight_decay=0.01))
