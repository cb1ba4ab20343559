# NUDT-SIRST in twenty minutes of one CPU core: twice as many images, fewer epochs. Its weights come with the project.
_base_ = ['../_base_/models/resunet_cpu.py', '../_base_/datasets/nudt_sirst.py', '../_base_/recipes/cpu.py']

model = _base_.normalisation
train_dataloader = _base_.train_loader
train_dataloader.dataset.before_resize = _base_.augmentation
val_dataloader = test_dataloader = _base_.eval_loader

train_cfg = dict(max_epochs=40, val_interval=5)
param_scheduler = _base_.param_scheduler
param_scheduler[0].end = param_scheduler[1].begin = 2
