# DNANet (TIP 2023), as its authors train it: soft IoU with sums over the batch, mean over four outputs.
model = dict(
    type='DetectionModel',
    network=dict(type='DNANet', in_channels=3),
    mean=(0.485, 0.456, 0.406),
    std=(0.229, 0.224, 0.225),
    initialisation='xavier',
    losses=dict(soft_iou=dict(type='SoftIoULoss', on=['target', 'aux1', 'aux2', 'aux3'], per_image=False)),
)
# Side of the square to which images are resized for inference, as published; None: native size, padded.
inference_size = 256
