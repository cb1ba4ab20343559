# Loaders and figures of every data set; datasets/<name>.py says which one.
size = 256

train_dataloader = dict(
    batch_size=8,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='SeededSampler', shuffle=True),
    collate_fn=dict(type='default_collate'),
    dataset=dict(type='InfraredDataset', split='train', data_root=None, size=size, pipeline=[]),
)
val_dataloader = dict(
    batch_size=8,
    num_workers=0,
    sampler=dict(type='SeededSampler', shuffle=False, round_up=False),
    collate_fn=dict(type='default_collate'),
    dataset=dict(type='InfraredDataset', split='val', data_root=None, size=size),
)
test_dataloader = dict(val_dataloader, dataset=dict(val_dataloader['dataset'], split='test'))
val_evaluator = dict(type='TargetMetric', protocols=['basicirstd'])
test_evaluator = dict(type='TargetMetric', protocols=['basicirstd', 'drpca', 'rpcanet'])
