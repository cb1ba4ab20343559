# L2SKNet (TGRS 2025), as its authors train it: soft IoU with sums over the batch. The other variants:
# --cfg-options model.network.type=L2SKNetFPN (L2SKNet1D, L2SKNet1DFPN).
model = dict(
    type='DetectionModel', network=dict(type='L2SKNet'), losses=dict(soft_iou=dict(type='SoftIoULoss', per_image=False))
)
# Side of the square to which images are resized for inference, as published; None: native size, padded.
inference_size = 256
