# SIRST V2: 512 train, 256 val, 256 test images of varied size; half of the masks are empty.
dataset = 'SIRSTv2'
size = 256

train_dataloader = dict(
    batch_size=8,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='SeededSampler', shuffle=True),
    collate_fn=dict(type='default_collate'),
    dataset=dict(
        type='InfraredDataset', dataset=dataset, split='train', data_root=None, size=size, pipeline=[]
    ),
)
val_dataloader = dict(
    batch_size=8,
    num_workers=0,
    sampler=dict(type='SeededSampler', shuffle=False, round_up=False),
    collate_fn=dict(type='default_collate'),
    dataset=dict(type='InfraredDataset', dataset=dataset, split='val', data_root=None, size=size),
)
test_dataloader = dict(
    batch_size=8,
    num_workers=0,
    sampler=dict(type='SeededSampler', shuffle=False, round_up=False),
    collate_fn=dict(type='default_collate'),
    dataset=dict(type='InfraredDataset', dataset=dataset, split='test', data_root=None, size=size),
)
val_evaluator = dict(type='TargetMetric', protocols=['basicirstd'])
test_evaluator = dict(type='TargetMetric', protocols=['basicirstd', 'drpca', 'rpcanet'])
