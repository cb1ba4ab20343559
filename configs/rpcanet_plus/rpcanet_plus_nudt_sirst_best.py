_base_ = ['../_base_/models/rpcanet_plus_best.py', '../_base_/datasets/nudt_sirst.py', '../_base_/recipes/modern.py']

train_dataloader = _base_.train_loader
val_dataloader = test_dataloader = _base_.eval_loader

# The size of the published weights for this data set.
model = dict(network=dict(bottleneck=16, noise_depth=6))
