# N handed from stage to stage, as in the paper's equations.
_base_ = './baseline.py'

model = dict(network=dict(carry_noise=True))
