# UIU-Net (TIP 2023), as its authors train it: each image over its maximum, sum of seven binary cross-entropies.
model = dict(
    type='DetectionModel',
    network=dict(type='UIUNet', in_channels=3),
    scale_to_max=True,
    mean=0.485,
    std=0.229,
    losses=dict(bce=dict(type='BCELoss', on=['target', 'aux1', 'aux2', 'aux3', 'aux4', 'aux5', 'aux6'], over='sum')),
)
# Side of the square to which images are resized for inference, as published; None: native size, padded.
inference_size = 320
