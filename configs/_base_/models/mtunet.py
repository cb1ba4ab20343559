# MTU-Net (TGRS 2023), as its authors train it: FocalIoU.
model = dict(
    type='DetectionModel',
    network=dict(type='MTUNet', in_channels=3),
    mean=0.1583,
    std=0.0885,
    initialisation='xavier',
    losses=dict(focal_iou=dict(type='FocalIoULoss')),
)
# Side of the square to which images are resized for inference, as published; None: native size, padded.
inference_size = 1024
