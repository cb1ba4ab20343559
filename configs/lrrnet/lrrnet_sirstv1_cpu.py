# SIRST V1 in about twenty minutes on two CPU cores: 128² crops around targets, batch 4, 44 epochs, Adam 1e-3 with
# warm-up and cosine, averaged weights, cross-entropy beside SoftIoU. Scored at 256².
_base_ = './lrrnet_sirstv1.py'

# SoftIoU has no gradient where all scores have sunk to 0; cross-entropy has, and brings them back.
model = dict(losses=dict(bce=dict(type='BCELoss', weight=20.0)))

train_dataloader = dict(
    batch_size=4,
    num_workers=0,
    persistent_workers=False,
    dataset=dict(size=256, pipeline=[dict(type='RandomCrop', size=128, target_prob=0.8)]),
)
val_dataloader = dict(batch_size=1, dataset=dict(size=256))
test_dataloader = dict(batch_size=1, dataset=dict(size=256))
inference_size = 256

train_cfg = dict(max_epochs=44, val_interval=11)
optim_wrapper = dict(optimizer=dict(lr=1e-3), clip_grad=dict(max_norm=1.0))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=True, begin=0, end=2, convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', eta_min=0.0, by_epoch=True, begin=2, convert_to_iter_based=True),
]
custom_hooks = [*_base_.custom_hooks, dict(type='EMAHook', momentum=0.005, update_buffers=True)]
