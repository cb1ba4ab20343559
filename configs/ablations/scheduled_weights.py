# Scheduled weights: first fidelity, then sparsity, half way at the published weights, 0.1 and LRRNet's 0.2.
_base_ = './l1.py'

model = dict(
    losses=dict(
        l1=dict(weight=dict(_delete_=True, type='ScheduledWeight', start=0.0, end=0.4)),
        fidelity=dict(weight=dict(_delete_=True, type='ScheduledWeight', start=0.2, end=0.0)),
    )
)
