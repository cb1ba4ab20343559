# Learned weights of SoftIoU, L1 and fidelity, from those of l1.py.
_base_ = './l1.py'

model = dict(
    losses=dict(
        soft_iou=dict(weight=dict(type='LearnedWeight', start=1.0)),
        l1=dict(weight=dict(_delete_=True, type='LearnedWeight', start=0.02)),
        fidelity=dict(weight=dict(_delete_=True, type='LearnedWeight', start=0.1)),
    )
)
