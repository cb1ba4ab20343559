# Averaged weights: over 200 steps, which suits short trainings too.
_base_ = './baseline.py'

custom_hooks = [*_base_.custom_hooks, dict(type='EMAHook', momentum=0.005, update_buffers=True)]
