# RPCANet (WACV 2024), losses as published: SoftIoU + 0.01 MSE.
model = dict(
    type='DetectionModel',
    network=dict(type='RPCANet'),
    losses=dict(soft_iou=dict(type='SoftIoULoss'), fidelity=dict(type='FidelityLoss', weight=0.01)),
)
# Side of the square to which images are resized for inference, as published; None: native size, padded.
inference_size = 256
