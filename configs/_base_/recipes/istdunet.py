# Its authors' recipe: 512² crops, mirroring, brightness ±20 %, batch 2, RAdam 1e-3, weight decay 1e-4, linear
# warm-up over 50 epochs and half a cosine, 12,000 epochs. They wrap RAdam in Lookahead, which is left out. Scored
# at native size.
_base_ = '../schedules/poly_400e.py'

train_cfg = dict(max_epochs=12000, val_interval=20)
optim_wrapper = dict(optimizer=dict(type='RAdam', lr=1e-3, weight_decay=1e-4))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=True, begin=0, end=50, convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', eta_min=0.0, by_epoch=True, begin=50, convert_to_iter_based=True),
]
train_loader = dict(
    batch_size=2,
    drop_last=True,
    dataset=dict(
        size=None,
        pipeline=[
            dict(type='RandomCrop', size=512, target_prob=0.0, pad='zero'),
            dict(type='RandomFlip', horizontal=0.5, vertical=0.0),
            dict(type='GainJitter', gain=0.2, offset=0.0),
        ],
    ),
)
eval_loader = dict(batch_size=1, dataset=dict(size=None))
