# SIRST V1 (NUAA-SIRST): 256 train, 85 val, 86 test images of varied size.
_base_ = '../dataloaders.py'

dataset = 'SIRSTv1'
# Mean and standard deviation of its grey levels (BasicIRSTD), as published.
normalisation = dict(mean=101.0639 / 255, std=34.6196 / 255)
# Each image one of its eight symmetries, before it is resized, as in the published training of the unfolded networks.
augmentation = [dict(type='RandomFlip', horizontal=0.5, vertical=0.5), dict(type='RandomTranspose', prob=0.5)]
train_dataloader = val_dataloader = test_dataloader = dict(dataset=dict(dataset=dataset))
