# Noise and gain jitter.
_base_ = './baseline.py'

jitter = [dict(type='GainJitter', gain=0.2, offset=0.1), dict(type='NoiseJitter', low=0.0, high=0.01)]
train_dataloader = dict(dataset=dict(pipeline=[_base_.scale, _base_.crop, *jitter]))
