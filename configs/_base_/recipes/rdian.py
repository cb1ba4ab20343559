# Its authors' recipe: mirroring, longer side 256 to 1024, 480² crops, batch 8, Adagrad 0.005 with weight decay
# 1e-4, (1 - epoch / all)^0.9 down to 1e-6, 300 epochs. Scored at 512².
_base_ = '../schedules/poly_400e.py'

train_cfg = dict(max_epochs=300)
optim_wrapper = dict(optimizer=dict(type='Adagrad', lr=0.005, weight_decay=1e-4))
param_scheduler = [dict(type='PolyLR', power=0.9, eta_min=1e-6, by_epoch=True)]
train_loader = dict(
    batch_size=8,
    dataset=dict(
        size=None,
        pipeline=[
            dict(type='RandomFlip', horizontal=0.5, vertical=0.0),
            dict(type='RandomLongSide', low=256, high=1024),
            dict(type='RandomCrop', size=480, target_prob=0.0, pad='zero'),
        ],
    ),
)
eval_loader = dict(dataset=dict(size=512))
