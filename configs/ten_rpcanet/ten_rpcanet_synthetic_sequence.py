# On crops of 64² of synthetic sequences. A block is eight frames, so that there are an eighth as many windows as for
# tensor_rpcanet_synthetic_sequence.
_base_ = [
    '../_base_/models/ten_rpcanet.py',
    '../_base_/sequences/synthetic_sequence.py',
    '../_base_/schedules/cosine_400e.py',
    '../_base_/default_runtime.py',
]

train_dataloader = dict(
    batch_size=8,
    dataset=dict(**_base_.window, pipeline=[dict(type='RandomCrop', size=64, target_prob=0.8), *_base_._augmentation]),
)
val_dataloader = test_dataloader = dict(dataset=_base_.window)

train_cfg = dict(max_epochs=200, val_interval=20)
optim_wrapper = dict(optimizer=dict(type='AdamW', lr=2e-3, weight_decay=1e-4), clip_grad=dict(max_norm=1.0))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.05, by_epoch=True, begin=0, end=5, convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', eta_min=0.0, by_epoch=True, begin=5, convert_to_iter_based=True),
]
