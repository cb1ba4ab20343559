# ALCNet (TGRS 2021), as BasicIRSTD trains it: soft IoU with sums over the batch, smooth 1.
model = dict(
    type='DetectionModel',
    network=dict(type='ALCNet'),
    pad_multiple=32,
    losses=dict(soft_iou=dict(type='SoftIoULoss', per_image=False)),
)
# Side of the square to which images are resized for inference, as published; None: native size, padded.
inference_size = None
