# Its authors' recipe: mirroring, longer side 128 to 512, 256² crops, blur, batch 16, Adagrad 0.05, 1500 epochs
# (their cosine schedule is stepped once, so the rate stays). Scored at 256².
_base_ = '../schedules/constant_400e.py'

train_cfg = dict(max_epochs=1500)
optim_wrapper = dict(optimizer=dict(type='Adagrad', lr=0.05))
train_loader = dict(
    batch_size=16,
    drop_last=True,
    dataset=dict(
        size=None,
        pipeline=[
            dict(type='RandomFlip', horizontal=0.5, vertical=0.0),
            dict(type='RandomLongSide', low=128, high=512),
            dict(type='RandomCrop', size=256, target_prob=0.0, pad='zero'),
            dict(type='GaussianBlur', prob=0.5, max_sigma=1.0),
        ],
    ),
)
eval_loader = dict(dataset=dict(size=256))
