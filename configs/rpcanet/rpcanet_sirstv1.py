_base_ = [
    '../_base_/models/rpcanet.py',
    '../_base_/datasets/sirstv1.py',
    '../_base_/schedules/poly_800e.py',
    '../_base_/default_runtime.py',
]

train_dataloader = dict(dataset=dict(before_resize=_base_.augmentation))
