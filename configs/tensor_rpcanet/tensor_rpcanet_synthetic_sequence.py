# On crops of 32² of many short synthetic sequences, for one CPU core. Its weights come with the project.
_base_ = [
    '../_base_/models/tensor_rpcanet.py',
    '../_base_/sequences/synthetic_sequence.py',
    '../_base_/schedules/cosine_400e.py',
    '../_base_/default_runtime.py',
]

_made = dict(train=1200, val=24, num_frames=12)
train_dataloader = dict(
    batch_size=16,
    dataset=dict(
        **_base_.window,
        synthetic=_made,
        pipeline=[dict(type='AlignFrames'), dict(type='RandomCrop', size=32, target_prob=0.85), *_base_._augmentation],
    ),
)
val_dataloader = test_dataloader = dict(dataset=dict(**_base_.window, synthetic=_made))

train_cfg = dict(max_epochs=12, val_interval=2)
optim_wrapper = dict(optimizer=dict(type='AdamW', lr=6e-3, weight_decay=1e-4), clip_grad=dict(max_norm=1.0))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.05, by_epoch=True, begin=0, end=1, convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', eta_min=0.0, by_epoch=True, begin=1, convert_to_iter_based=True),
]
custom_hooks = [
    dict(type='SeedHook'),
    dict(type='LossEpochHook'),
    dict(type='TrainingLogHook', interval=1),
    dict(type='EMAHook', ema_type='MomentumAnnealingEMA', gamma=5, momentum=5e-3, update_buffers=True),
]
