# SIRST V1 (NUAA-SIRST): 256 train, 85 val, 86 test images of varied size.
_base_ = '../dataloaders.py'

dataset = 'SIRSTv1'
train_dataloader = dict(dataset=dict(dataset=dataset))
val_dataloader = dict(dataset=dict(dataset=dataset))
test_dataloader = dict(dataset=dict(dataset=dataset))
