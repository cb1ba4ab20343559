# The recommended recipe for images of 512²: 256² crops of them, scored whole.
_base_ = './modern.py'

train_loader = dict(dataset=dict(size=512))
eval_loader = dict(dataset=dict(size=512))
