_base_ = [
    '../_base_/models/lrrnet.py',
    '../_base_/datasets/sirstv1.py',
    '../_base_/schedules/poly_400e.py',
    '../_base_/default_runtime.py',
]

train_dataloader = dict(dataset=dict(size=512, before_resize=_base_.augmentation))
val_dataloader = dict(dataset=dict(size=512))
test_dataloader = dict(dataset=dict(size=512))
