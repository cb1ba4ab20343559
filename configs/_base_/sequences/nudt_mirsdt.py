# NUDT-MIRSDT: 80 sequences of 100 frames for training (a fifth of them val), 20 for test.
_base_ = '../window_dataloaders.py'

dataset = 'NUDT-MIRSDT'
# Mean and standard deviation of its grey levels, as published.
normalisation = dict(mean=105.4025 / 255, std=26.6452 / 255)
train_dataloader = val_dataloader = test_dataloader = dict(dataset=dict(dataset=dataset))
