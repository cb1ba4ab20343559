# SIRST-Aug: 8,525 trainval (a seeded 20 % of them val), 545 test images of 256².
_base_ = '../dataloaders.py'

dataset = 'sirst_aug'
train_dataloader = dict(dataset=dict(dataset=dataset))
val_dataloader = dict(dataset=dict(dataset=dataset))
test_dataloader = dict(dataset=dict(dataset=dataset))
