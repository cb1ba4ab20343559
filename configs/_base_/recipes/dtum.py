# Its authors' recipe: one window at a time, Adam 1e-3, betas 0.9 and 0.99, halved every 3 of 20 epochs.
_base_ = '../schedules/constant_400e.py'

train_cfg = dict(max_epochs=20, val_interval=1)
optim_wrapper = dict(optimizer=dict(lr=1e-3, betas=(0.9, 0.99)))
param_scheduler = [dict(type='StepLR', step_size=3, gamma=0.5, by_epoch=True)]
train_loader = dict(batch_size=1)
