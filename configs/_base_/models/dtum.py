# Res-UNet with DTUM (TNNLS 2025), as released, trained as published: soft IoU of the batch.
model = dict(
    type='DetectionModel', network=dict(type='DTUM'), losses=dict(soft_iou=dict(type='SoftIoULoss', per_image=False))
)
# The windows that it takes.
window = dict(frames=5, placement='causal', border='repeat')
# Side of the square to which frames are resized for inference, as published; None: native size, padded.
inference_size = None
