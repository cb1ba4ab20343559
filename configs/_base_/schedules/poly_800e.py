_base_ = './poly_400e.py'

train_cfg = dict(max_epochs=800)
