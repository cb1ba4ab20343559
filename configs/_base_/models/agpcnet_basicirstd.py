# AGPCNet under the common recipe of BasicIRSTD.
_base_ = './agpcnet.py'

model = dict(
    network=dict(in_channels=1),
    pad_multiple=32,
    losses=dict(_delete_=True, soft_iou=dict(type='SoftIoULoss', per_image=False)),
)
inference_size = None
