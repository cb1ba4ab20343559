# The common recipe on this data set. Grey levels: mean and standard deviation, those of SIRST V1; there are no
# published ones for V2.
_base_ = ['../datasets/sirstv2.py', './basicirstd.py']

normalisation = dict(mean=101.0639 / 255, std=34.6196 / 255)
train_dataloader = _base_.train_loader
val_dataloader = test_dataloader = _base_.eval_loader
