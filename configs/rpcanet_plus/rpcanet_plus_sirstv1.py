_base_ = [
    '../_base_/models/rpcanet_plus.py',
    '../_base_/datasets/sirstv1.py',
    '../_base_/schedules/poly_400e.py',
    '../_base_/default_runtime.py',
]

train_dataloader = dict(dataset=dict(before_resize=_base_.augmentation))
