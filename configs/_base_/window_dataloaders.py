# Loaders and figures of every data set of sequences; sequences/<name>.py says which one. How many frames a window has
# and where it lies, the model's base file says.
train_dataloader = dict(
    batch_size=8,
    num_workers=0,
    persistent_workers=False,
    sampler=dict(type='SeededSampler', shuffle=True),
    collate_fn=dict(type='default_collate'),
    dataset=dict(type='SequenceDataset', split='train', data_root=None, pipeline=[]),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=0,
    sampler=dict(type='SeededSampler', shuffle=False, round_up=False),
    collate_fn=dict(type='default_collate'),
    dataset=dict(type='SequenceDataset', split='val', data_root=None),
)
test_dataloader = dict(val_dataloader, dataset=dict(val_dataloader['dataset'], split='test'))
val_evaluator = dict(type='TargetMetric', protocols=['basicirstd'])
test_evaluator = dict(type='TargetMetric', protocols=['basicirstd', 'shooting'])
