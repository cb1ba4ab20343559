_base_ = ['../_base_/models/drpcanet_best.py', '../_base_/datasets/sirstv1.py', '../_base_/recipes/modern.py']

train_dataloader = _base_.train_loader
val_dataloader = test_dataloader = _base_.eval_loader
