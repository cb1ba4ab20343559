_base_ = [
    '../_base_/models/lrrnet.py',
    '../_base_/datasets/synthetic.py',
    '../_base_/schedules/poly_400e.py',
    '../_base_/default_runtime.py',
]

train_dataloader = dict(dataset=dict(size=512))
val_dataloader = dict(dataset=dict(size=512))
test_dataloader = dict(dataset=dict(size=512))
