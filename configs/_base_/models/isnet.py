# ISNet (CVPR 2022), as its authors train it: soft IoU per image without smoothing, and the edge loss.
model = dict(
    type='DetectionModel',
    network=dict(type='ISNet', in_channels=3, modulated=True),
    mean=(0.485, 0.456, 0.406),
    std=(0.229, 0.224, 0.225),
    initialisation='gaussian',
    losses=dict(soft_iou=dict(type='SoftIoULoss', smooth=0.0), edge=dict(type='EdgeLoss', bce_weight=10.0, smooth=0.0)),
)
# Side of the square to which images are resized for inference, as published; None: native size, padded.
inference_size = 480
