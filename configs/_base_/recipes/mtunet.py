# Its authors' recipe: copied targets, mirroring, longer side 512 to 2048, 1024² crops, blur, batch 1, Adagrad
# 0.05, 1000 epochs (their cosine schedule is stepped once, so the rate stays). They paste 1 to 100 targets at a
# time, this one. Scored at 1024².
_base_ = '../schedules/constant_400e.py'

train_cfg = dict(max_epochs=1000)
optim_wrapper = dict(optimizer=dict(type='Adagrad', lr=0.05))
train_loader = dict(
    batch_size=1,
    dataset=dict(
        size=None,
        pipeline=[
            dict(type='TargetCopyPaste', prob=0.5),
            dict(type='RandomFlip', horizontal=0.5, vertical=0.0),
            dict(type='RandomLongSide', low=512, high=2048),
            dict(type='RandomCrop', size=1024, target_prob=0.0, pad='zero'),
            dict(type='GaussianBlur', prob=0.5, max_sigma=1.0),
        ],
    ),
)
eval_loader = dict(batch_size=1, dataset=dict(size=1024))
