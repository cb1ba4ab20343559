# IRSTD-1K: 800 trainval (a seeded 20 % of them val), 201 test images of 512².
_base_ = '../dataloaders.py'

dataset = 'IRSTD-1k'
train_dataloader = dict(dataset=dict(dataset=dataset))
val_dataloader = dict(dataset=dict(dataset=dataset))
test_dataloader = dict(dataset=dict(dataset=dataset))
