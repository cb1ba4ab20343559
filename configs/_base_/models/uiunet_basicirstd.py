# UIU-Net as BasicIRSTD trains it.
_base_ = './uiunet.py'

model = dict(
    network=dict(in_channels=1),
    scale_to_max=False,
    pad_multiple=32,
    losses=dict(
        _delete_=True,
        soft_iou=dict(
            type='SoftIoULoss', on=['target', 'aux1', 'aux2', 'aux3', 'aux4', 'aux5', 'aux6'], per_image=False
        ),
    ),
)
inference_size = None
