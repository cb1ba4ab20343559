# SIRST-Aug: 8,525 trainval (a seeded 20 % of them val), 545 test images of 256².
_base_ = '../dataloaders.py'

dataset = 'sirst_aug'
# Mean and standard deviation of its grey levels (BasicIRSTD), those of SIRST V1, of which this is
# an augmentation.
normalisation = dict(mean=101.0639 / 255, std=34.6196 / 255)
# Each image one of its eight symmetries, before it is resized, as in the published training of the unfolded networks.
augmentation = [dict(type='RandomFlip', horizontal=0.5, vertical=0.5), dict(type='RandomTranspose', prob=0.5)]
train_dataloader = val_dataloader = test_dataloader = dict(dataset=dict(dataset=dataset))
