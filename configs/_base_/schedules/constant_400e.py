# The learning rate stays as it is.
_base_ = './poly_400e.py'

param_scheduler = []
