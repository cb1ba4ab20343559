# The background's features subtracted with their sign, not behind a ReLU.
_base_ = './lrrnet_baseline.py'

model = dict(network=dict(signed_subtraction=True))
