# SIRST V2: 512 train, 256 val, 256 test images of varied size; half of the masks are empty.
_base_ = '../dataloaders.py'

dataset = 'SIRSTv2'
# Mean and standard deviation of its grey levels (BasicIRSTD), those of SIRST V1; there are no
# published ones for V2.
normalisation = dict(mean=101.0639 / 255, std=34.6196 / 255)
# The published training of the unfolded networks augments SIRST V1 and SIRST-Aug alone.
augmentation = []
train_dataloader = val_dataloader = test_dataloader = dict(dataset=dict(dataset=dataset))
