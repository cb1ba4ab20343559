# NUDT-SIRST: 663 trainval (a seeded 20 % of them val), 664 test images of 256².
_base_ = '../dataloaders.py'

dataset = 'NUDT-SIRST'
# Mean and standard deviation of its grey levels (BasicIRSTD), as published.
normalisation = dict(mean=107.8091 / 255, std=33.0227 / 255)
# The published training of the unfolded networks augments SIRST V1 and SIRST-Aug alone.
augmentation = []
train_dataloader = val_dataloader = test_dataloader = dict(dataset=dict(dataset=dataset))
