# Scheduled weights: first fidelity, then sparsity; both pass the weights of l1.py half way.
_base_ = './l1.py'

model = dict(
    losses=dict(
        l1=dict(weight=dict(_delete_=True, type='ScheduledWeight', start=0.0, end=0.4)),
        fidelity=dict(weight=dict(_delete_=True, type='ScheduledWeight', start=0.2, end=0.0)),
    )
)
