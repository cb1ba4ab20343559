# IRSTD-1K: 800 trainval (a seeded 20 % of them val), 201 test images of 512².
_base_ = '../dataloaders.py'

dataset = 'IRSTD-1k'
# Mean and standard deviation of its grey levels (BasicIRSTD), as published.
normalisation = dict(mean=87.4662 / 255, std=39.7195 / 255)
# The published training of the unfolded networks augments SIRST V1 and SIRST-Aug alone.
augmentation = []
train_dataloader = val_dataloader = test_dataloader = dict(dataset=dict(dataset=dataset))
