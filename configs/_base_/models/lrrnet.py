# LRRNet (TGRS 2025). Published: SoftIoU + 0.1 MSE + (0.8 SoftIoU + 0.2 mean(T > 0)). The last term has no
# gradient and is left out; the two SoftIoU terms add up to weight 1.8: the same gradients.
model = dict(
    type='DetectionModel',
    network=dict(type='LRRNet'),
    losses=dict(soft_iou=dict(type='SoftIoULoss', weight=1.8), fidelity=dict(type='FidelityLoss', weight=0.1)),
)
# Side of the square to which images are resized for inference, as published; None: native size, padded.
inference_size = 512
