# ISTDU-Net as BasicIRSTD trains it: without the head for target centres.
_base_ = './istdunet.py'

model = dict(
    network=dict(centre_head=False),
    pad_multiple=32,
    losses=dict(_delete_=True, soft_iou=dict(type='SoftIoULoss', per_image=False)),
)
inference_size = None
