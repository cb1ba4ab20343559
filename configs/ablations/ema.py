# Averaged weights: over about the last tenth of the steps so far.
_base_ = './baseline.py'

custom_hooks = [
    *_base_.custom_hooks,
    dict(type='EMAHook', ema_type='MomentumAnnealingEMA', gamma=10, momentum=1e-4, update_buffers=True),
]
