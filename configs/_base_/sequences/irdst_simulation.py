# IRDST-simulation: 250 sequences for training (a fifth of them val), 66 for test.
_base_ = '../window_dataloaders.py'

dataset = 'IRDST-simulation'
# Mean and standard deviation of its grey levels, as published.
normalisation = dict(mean=106.8523 / 255, std=56.9243 / 255)
train_dataloader = val_dataloader = test_dataloader = dict(dataset=dict(dataset=dataset))
