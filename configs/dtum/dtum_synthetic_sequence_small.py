# On crops of 32² of many short synthetic sequences, for one CPU core: 6,300 steps, the rate halved with each epoch.
_base_ = './dtum_synthetic_sequence.py'

_made = dict(train=1200, val=24, num_frames=12)
train_dataloader = dict(
    batch_size=16,
    dataset=dict(synthetic=_made, pipeline=[dict(type='RandomCrop', size=32, target_prob=0.85), *_base_._augmentation]),
)
val_dataloader = test_dataloader = dict(dataset=dict(synthetic=_made))

train_cfg = dict(max_epochs=7)
param_scheduler = [dict(type='StepLR', step_size=1, gamma=0.5, by_epoch=True)]
