# RDIAN as BasicIRSTD trains it.
_base_ = './rdian.py'

model = dict(
    initialisation=None, pad_multiple=32, losses=dict(_delete_=True, soft_iou=dict(type='SoftIoULoss', per_image=False))
)
inference_size = None
