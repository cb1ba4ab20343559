# Its authors' recipe: mirroring, longer side 256 to 1024, 480² crops, blur, batch 12, Adagrad 0.05, weight decay
# 1e-4, cosine of half period 30 epochs, up and down, 3000 epochs. Their stronger colour augmentations are left
# out. Scored at 480².
_base_ = '../schedules/poly_400e.py'

train_cfg = dict(max_epochs=3000)
optim_wrapper = dict(optimizer=dict(type='Adagrad', lr=0.05, weight_decay=1e-4))
param_scheduler = [dict(type='CosineAnnealingLR', T_max=30, eta_min=0.0, by_epoch=True)]
train_loader = dict(
    batch_size=12,
    dataset=dict(
        size=None,
        pipeline=[
            dict(type='RandomFlip', horizontal=0.5, vertical=0.0),
            dict(type='RandomLongSide', low=256, high=1024),
            dict(type='RandomCrop', size=480, target_prob=0.0, pad='zero'),
            dict(type='GaussianBlur', prob=0.5, max_sigma=1.0),
        ],
    ),
)
eval_loader = dict(dataset=dict(size=480))
