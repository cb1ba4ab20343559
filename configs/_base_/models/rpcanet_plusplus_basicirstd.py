# RPCANet++ under the common recipe of BasicIRSTD; the fidelity term is part of the method and stays.
_base_ = './rpcanet_plusplus.py'

model = dict(
    pad_multiple=32,
    losses=dict(
        _delete_=True,
        soft_iou=dict(type='SoftIoULoss', per_image=False),
        fidelity=dict(type='FidelityLoss', weight=0.01),
    ),
)
inference_size = None
