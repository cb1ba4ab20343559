_base_ = [
    '../_base_/models/rpcanet_plus.py',
    '../_base_/datasets/nudt_sirst.py',
    '../_base_/schedules/poly_400e.py',
    '../_base_/default_runtime.py',
]

train_dataloader = dict(dataset=dict(before_resize=_base_.augmentation))

# The size of the published weights for this data set.
model = dict(network=dict(bottleneck=16, noise_depth=6))
