# The common recipe of BasicIRSTD: 256² crops of native-size images, every second one around a target, flips and
# transposition; batch 16, Adam 5e-4, a tenth of it from epoch 200 and again from 300, 400 epochs. Scored at
# native size. The published code leaves out a last batch of one image, this any incomplete last batch.
_base_ = '../schedules/step_400e.py'

optim_wrapper = dict(optimizer=dict(lr=5e-4))
train_loader = dict(
    batch_size=16,
    drop_last=True,
    dataset=dict(
        size=None,
        pipeline=[
            dict(type='RandomCrop', size=256, target_prob=0.5, pad='zero'),
            dict(type='RandomFlip', horizontal=0.5, vertical=0.5),
            dict(type='RandomTranspose', prob=0.5),
        ],
    ),
)
eval_loader = dict(batch_size=1, dataset=dict(size=None))
