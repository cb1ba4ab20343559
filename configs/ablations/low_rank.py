# The nuclear norm of the last stage's background, relative to its size.
_base_ = './baseline.py'

model = dict(losses=dict(low_rank=dict(type='LowRankLoss', weight=0.1)))
