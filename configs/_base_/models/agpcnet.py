# AGPCNet (TAES 2023), as its authors train it: soft IoU per image.
model = dict(
    type='DetectionModel',
    network=dict(type='AGPCNet', in_channels=3),
    mean=(0.485, 0.456, 0.406),
    std=(0.229, 0.224, 0.225),
    losses=dict(soft_iou=dict(type='SoftIoULoss')),
)
# Side of the square to which images are resized for inference, as published; None: native size, padded.
inference_size = 256
