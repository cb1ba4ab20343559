# The common recipe on this data set. Grey levels: mean and standard deviation, as published.
_base_ = ['../datasets/irstd_1k.py', './basicirstd.py']

normalisation = dict(mean=87.4662 / 255, std=39.7195 / 255)
train_dataloader = _base_.train_loader
val_dataloader = test_dataloader = _base_.eval_loader
