# MTU-Net as BasicIRSTD trains it.
_base_ = './mtunet.py'

model = dict(
    network=dict(in_channels=1),
    initialisation=None,
    pad_multiple=32,
    losses=dict(_delete_=True, soft_iou=dict(type='SoftIoULoss', per_image=False)),
)
inference_size = None
