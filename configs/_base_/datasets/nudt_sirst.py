# NUDT-SIRST: 663 trainval (a seeded 20 % of them val), 664 test images of 256².
_base_ = '../dataloaders.py'

dataset = 'NUDT-SIRST'
train_dataloader = dict(dataset=dict(dataset=dataset))
val_dataloader = dict(dataset=dict(dataset=dataset))
test_dataloader = dict(dataset=dict(dataset=dataset))
