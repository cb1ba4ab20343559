# The common recipe on this data set. Grey levels: mean and standard deviation, as published.
_base_ = ['../datasets/nudt_sirst.py', './basicirstd.py']

normalisation = dict(mean=107.8091 / 255, std=33.0227 / 255)
train_dataloader = _base_.train_loader
val_dataloader = test_dataloader = _base_.eval_loader
