# Synthetic sequences, made when they are needed, in seconds.
_base_ = '../window_dataloaders.py'

dataset = 'synthetic_sequence'
# Mean and standard deviation of the grey levels of its training sequences.
normalisation = dict(mean=123.2931 / 255, std=46.5891 / 255)
_augmentation = [dict(type='RandomFlip'), dict(type='RandomTranspose'), dict(type='GainJitter', gain=0.4, offset=0.1)]
_made = dict(train=48, val=6, test=8, num_frames=40, size=96, seed=0)
train_dataloader = val_dataloader = test_dataloader = dict(dataset=dict(dataset=dataset, synthetic=_made))
