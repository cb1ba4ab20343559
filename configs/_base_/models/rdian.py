# RDIAN (TGRS 2023), as its authors train it: soft IoU per image.
model = dict(
    type='DetectionModel',
    network=dict(type='RDIAN'),
    mean=-0.1246,
    std=1.0923,
    initialisation='gaussian',
    losses=dict(soft_iou=dict(type='SoftIoULoss')),
)
# Side of the square to which images are resized for inference, as published; None: native size, padded.
inference_size = 512
