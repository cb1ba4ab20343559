# Its authors' recipe: 256², no augmentation, batch 8, SGD 0.05 with momentum 0.9 and weight decay 1e-4, (1 -
# t)^0.9 per iteration, 5 epochs of about 8,500 (SIRST-Aug) or 10,000 (MDFA) images: raise --epochs on smaller
# sets.
_base_ = '../schedules/poly_400e.py'

train_cfg = dict(max_epochs=5, val_interval=1)
optim_wrapper = dict(optimizer=dict(_delete_=True, type='SGD', lr=0.05, momentum=0.9, weight_decay=1e-4))
train_loader = dict(batch_size=8, drop_last=True, dataset=dict(size=256, pipeline=[]))
eval_loader = dict(dataset=dict(size=256))
