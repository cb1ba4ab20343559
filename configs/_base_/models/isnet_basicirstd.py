# ISNet as BasicIRSTD trains it: plain deformable convolutions.
_base_ = './isnet.py'

model = dict(
    network=dict(in_channels=1, modulated=False),
    initialisation=None,
    pad_multiple=32,
    losses=dict(
        _delete_=True,
        soft_iou=dict(type='SoftIoULoss', per_image=False),
        edge=dict(type='EdgeLoss', bce_weight=10.0, per_image=False),
    ),
)
inference_size = None
