# MSHNet (CVPR 2024), as its authors train it: scale and location sensitive loss, mean over five outputs; during
# the warm-up (epochs 0 to 5) without location and on the finest side output alone.
model = dict(
    type='DetectionModel',
    network=dict(type='MSHNet', in_channels=3),
    mean=(0.485, 0.456, 0.406),
    std=(0.229, 0.224, 0.225),
    losses=dict(
        sls=dict(type='SLSIoULoss', on=['target', 'aux1', 'aux2', 'aux3', 'aux4'], warm_epoch=5, warm_on='aux1')
    ),
)
# Side of the square to which images are resized for inference, as published; None: native size, padded.
inference_size = 256
# The other heads get no gradient during the warm-up.
find_unused_parameters = True
