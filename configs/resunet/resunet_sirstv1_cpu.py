# SIRST V1 in three quarters of an hour of one CPU core. Its weights come with the project.
_base_ = ['../_base_/models/resunet_cpu.py', '../_base_/datasets/sirstv1.py', '../_base_/recipes/cpu.py']

model = _base_.normalisation
train_dataloader = _base_.train_loader
train_dataloader.dataset.before_resize = _base_.augmentation
val_dataloader = test_dataloader = _base_.eval_loader
