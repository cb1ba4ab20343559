# The common recipe on this data set. Grey levels: mean and standard deviation, measured by the published rule on
# the default set.
_base_ = ['../datasets/synthetic.py', './basicirstd.py']

normalisation = dict(mean=133.0133 / 255, std=25.2902 / 255)
train_dataloader = _base_.train_loader
val_dataloader = test_dataloader = _base_.eval_loader
