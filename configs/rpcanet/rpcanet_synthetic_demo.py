# The demo: RPCANet of three stages of 16 channels on the synthetic data set, for one CPU core. The term on B
# holds the background to the image, as D = B + T wants it and the published losses do not: a reader recognises it. Its
# weights come with the project, and tools/demo.py goes on from them.
#   python tools/make_synthetic.py --num-train 800 --num-test 60
#   python run_configs.py rpcanet_synthetic_demo        the weights are of epoch 20; the run was ended in epoch 22
_base_ = [
    '../_base_/models/rpcanet.py',
    '../_base_/datasets/synthetic.py',
    '../_base_/schedules/cosine_400e.py',
    '../_base_/default_runtime.py',
]

model = dict(
    network=dict(num_stages=3, channels=16, background_depth=2, target_depth=4, reconstruction_depth=1),
    channels_last=True,
    losses=dict(
        bce=dict(type='BCELoss', weight=5.0), background=dict(type='FidelityLoss', weight=50.0, on='background')
    ),
)

train_dataloader = dict(
    batch_size=8,
    num_workers=0,
    persistent_workers=False,
    on_device=True,
    dataset=dict(size=256, pipeline=[dict(type='RandomCrop', size=64, target_prob=0.8), dict(type='RandomFlip')]),
)
val_dataloader = dict(batch_size=1, num_workers=0, persistent_workers=False, on_device=True)
test_dataloader = dict(batch_size=1, num_workers=0, persistent_workers=False, on_device=True)

train_cfg = dict(max_epochs=60, val_interval=10)
optim_wrapper = dict(optimizer=dict(type='Adam', lr=2e-3), clip_grad=dict(max_norm=1.0))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.05, by_epoch=True, begin=0, end=2, convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', eta_min=0.0, by_epoch=True, begin=2, convert_to_iter_based=True),
]
custom_hooks = [
    dict(type='SeedHook'),
    dict(type='LossEpochHook'),
    dict(type='TrainingLogHook', interval=1),
    dict(type='EMAHook', ema_type='MomentumAnnealingEMA', gamma=10, momentum=1e-4, update_buffers=True),
]
