# TenRPCANet's structure with sizes of this project; the published network has others, which are not known.
model = dict(
    type='DetectionModel',
    network=dict(type='TenRPCANet'),
    losses=dict(soft_iou=dict(type='SoftIoULoss'), bce=dict(type='BCELoss', weight=20.0)),
)
# The windows that it takes.
window = dict(frames=8, placement='block', border='repeat')
# Side of the square to which frames are resized for inference, as published; None: native size, padded.
inference_size = None
