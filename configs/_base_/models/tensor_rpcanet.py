# TensorRPCANet, of this project: robust PCA of a window of eight frames, unfolded. The term on B holds the background
# to the image, as D = B + T wants it.
model = dict(
    type='DetectionModel',
    network=dict(type='TensorRPCANet'),
    losses=dict(
        soft_iou=dict(type='SoftIoULoss'),
        bce=dict(type='BCELoss', weight=50.0),
        background=dict(type='FidelityLoss', weight=1.0, on='background'),
        fidelity=dict(type='FidelityLoss', weight=1.0),
    ),
)
# The windows that it takes.
window = dict(frames=8, placement='causal', border='repeat')
# Side of the square to which frames are resized for inference, as published; None: native size, padded.
inference_size = None
