# RPCANet+ (2025), losses as published: SoftIoU + 0.1 MSE. b = 4 is the paper's best.
model = dict(
    type='DetectionModel',
    network=dict(type='RPCANetPlus', bottleneck=4, noise_depth=6, carry_noise=False),
    losses=dict(soft_iou=dict(type='SoftIoULoss'), fidelity=dict(type='FidelityLoss', weight=0.1)),
)
# Side of the square to which images are resized for inference, as published; None: native size, padded.
inference_size = 256
