_base_ = [
    '../_base_/models/rpcanet_plusplus.py',
    '../_base_/datasets/sirst_aug.py',
    '../_base_/recipes/rpcanet_plusplus.py',
    '../_base_/default_runtime.py',
]

train_dataloader = _base_.train_loader
train_dataloader.dataset.before_resize = _base_.augmentation
val_dataloader = test_dataloader = _base_.eval_loader
train_cfg = dict(max_epochs=400)
