# SIRST V2: 512 train, 256 val, 256 test images of varied size; half of the masks are empty.
_base_ = '../dataloaders.py'

dataset = 'SIRSTv2'
train_dataloader = dict(dataset=dict(dataset=dataset))
val_dataloader = dict(dataset=dict(dataset=dataset))
test_dataloader = dict(dataset=dict(dataset=dataset))
