# The recommended recipe for images of 512².
_base_ = './modern.py'

train_loader = dict(dataset=dict(size=512))
eval_loader = dict(dataset=dict(size=512))
