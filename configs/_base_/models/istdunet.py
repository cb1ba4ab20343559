# ISTDU-Net (GRSL 2022), as its authors train it: squared errors of the mask and of a heat map of target centres.
model = dict(
    type='DetectionModel',
    network=dict(type='ISTDUNet', centre_head=True),
    losses=dict(mask=dict(type='MaskMSELoss'), centre=dict(type='CentreLoss', on='aux1')),
)
# Side of the square to which images are resized for inference, as published; None: native size, padded.
inference_size = None
