# Targets of other images pasted in.
_base_ = './baseline.py'

paste = dict(type='TargetCopyPaste', prob=0.5, other=True)
train_dataloader = dict(dataset=dict(pipeline=[_base_.scale, _base_.crop, paste]))
