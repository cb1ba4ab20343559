# The common recipe on this data set. Grey levels: mean and standard deviation, as published.
_base_ = ['../datasets/sirstv1.py', './basicirstd.py']

normalisation = dict(mean=101.0639 / 255, std=34.6196 / 255)
train_dataloader = _base_.train_loader
val_dataloader = test_dataloader = _base_.eval_loader
