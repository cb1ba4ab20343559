# Its authors' recipe: resized to 320², upside-down flips, 288² crops, batch 3 in the order of the list, Adam
# 1e-3, 500 epochs. Scored at 320².
_base_ = '../schedules/constant_400e.py'

train_cfg = dict(max_epochs=500)
optim_wrapper = dict(optimizer=dict(lr=1e-3))
train_loader = dict(
    batch_size=3,
    drop_last=True,
    sampler=dict(shuffle=False),
    dataset=dict(
        size=320,
        pipeline=[
            dict(type='RandomFlip', horizontal=0.0, vertical=0.5),
            dict(type='RandomCrop', size=288, target_prob=0.0),
        ],
    ),
)
eval_loader = dict(dataset=dict(size=320))
