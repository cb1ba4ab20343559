# MSHNet under the common recipe of BasicIRSTD.
_base_ = './mshnet.py'

model = dict(
    network=dict(in_channels=1),
    pad_multiple=32,
    losses=dict(
        _delete_=True, soft_iou=dict(type='SoftIoULoss', on=['target', 'aux1', 'aux2', 'aux3', 'aux4'], per_image=False)
    ),
)
inference_size = None
find_unused_parameters = False
