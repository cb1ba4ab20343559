# Its authors' recipe: mirroring, longer side 128 to 512, 256² crops, blur, batch 4, Adagrad 0.05, 400 epochs.
# Scored at 256².
_base_ = '../schedules/constant_400e.py'

optim_wrapper = dict(optimizer=dict(type='Adagrad', lr=0.05))
train_loader = dict(
    batch_size=4,
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
