_base_ = [
    '../_base_/models/dtum.py',
    '../_base_/sequences/synthetic_sequence.py',
    '../_base_/recipes/dtum.py',
    '../_base_/default_runtime.py',
]

model = _base_.normalisation
train_dataloader = dict(**_base_.train_loader, dataset=_base_.window)
val_dataloader = test_dataloader = dict(dataset=_base_.window)
