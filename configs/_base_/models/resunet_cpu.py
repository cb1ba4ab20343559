# ResUNet with half its channels, a quarter of its parameters, for one CPU core: SoftIoU of every image, and, without
# which maps may stay empty (docs/training.md), cross-entropy.
_base_ = './resunet.py'

model = dict(
    network=dict(channels=(8, 16, 32, 64)),
    channels_last=True,
    precision='bfloat16',
    losses=dict(soft_iou=dict(per_image=True), bce=dict(type='BCELoss', weight=20.0)),
)
inference_size = 256
