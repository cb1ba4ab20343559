# As dtum_synthetic_sequence, but its lower levels are trained, from which the released code cuts the gradient off.
_base_ = './dtum_synthetic_sequence.py'

model = dict(network=dict(attached=True))
