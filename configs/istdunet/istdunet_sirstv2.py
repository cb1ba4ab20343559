_base_ = [
    '../_base_/models/istdunet.py',
    '../_base_/datasets/sirstv2.py',
    '../_base_/recipes/istdunet.py',
    '../_base_/default_runtime.py',
]

train_dataloader = _base_.train_loader
val_dataloader = test_dataloader = _base_.eval_loader
