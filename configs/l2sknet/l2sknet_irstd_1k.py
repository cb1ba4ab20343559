_base_ = [
    '../_base_/models/l2sknet.py',
    '../_base_/datasets/irstd_1k.py',
    '../_base_/recipes/l2sknet.py',
    '../_base_/default_runtime.py',
]

train_dataloader = dict(batch_size=8, drop_last=True, dataset=dict(size=512))
val_dataloader = test_dataloader = dict(dataset=dict(size=512))
inference_size = 512
