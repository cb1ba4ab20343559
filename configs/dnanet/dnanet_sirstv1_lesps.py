_base_ = [
    '../_base_/models/dnanet_lesps.py',
    '../_base_/datasets/sirstv1.py',
    '../_base_/recipes/basicirstd.py',
    '../_base_/default_runtime.py',
]

train_dataloader = _base_.train_loader
val_dataloader = test_dataloader = _base_.eval_loader
