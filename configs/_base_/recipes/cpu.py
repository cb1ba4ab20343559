# For one CPU core: whole images of 256², batches of 4, AdamW 1e-3 with warm-up and cosine, bounded gradients, averaged
# weights, target copy-paste, images kept decoded. Few epochs: validation now and then.
_base_ = ['../schedules/poly_400e.py', '../default_runtime.py']

train_cfg = dict(max_epochs=150, val_interval=10)
optim_wrapper = dict(optimizer=dict(type='AdamW', lr=1e-3, weight_decay=0.01, fused=True), clip_grad=dict(max_norm=1.0))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=True, begin=0, end=3, convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', eta_min=0.0, by_epoch=True, begin=3, convert_to_iter_based=True),
]
custom_hooks = [
    *_base_.custom_hooks,
    dict(type='EMAHook', ema_type='MomentumAnnealingEMA', gamma=10, momentum=1e-3, update_buffers=True),
]
train_loader = dict(
    batch_size=4,
    num_workers=0,
    persistent_workers=False,
    on_device=True,
    dataset=dict(size=256, pipeline=[dict(type='TargetCopyPaste', prob=0.5, other=True)]),
)
eval_loader = dict(batch_size=1, num_workers=0, persistent_workers=False, on_device=True, dataset=dict(size=256))
