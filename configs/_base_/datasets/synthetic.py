# The generated data set: `python tools/make_synthetic.py`.
_base_ = '../dataloaders.py'

dataset = 'synthetic'
train_dataloader = dict(dataset=dict(dataset=dataset))
val_dataloader = dict(dataset=dict(dataset=dataset))
test_dataloader = dict(dataset=dict(dataset=dataset))
