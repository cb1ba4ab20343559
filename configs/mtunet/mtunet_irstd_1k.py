_base_ = [
    '../_base_/models/mtunet.py',
    '../_base_/datasets/irstd_1k.py',
    '../_base_/recipes/mtunet.py',
    '../_base_/default_runtime.py',
]

train_dataloader = _base_.train_loader
val_dataloader = test_dataloader = _base_.eval_loader
