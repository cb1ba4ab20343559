# Its authors' recipe: no augmentation, batch 8, Adam 5e-4, a tenth of it from epoch 200 and again from 300, 400
# epochs. Scored at 256² (512² on IRSTD-1K).
_base_ = '../schedules/step_400e.py'

optim_wrapper = dict(optimizer=dict(lr=5e-4))
train_loader = dict(batch_size=8, drop_last=True, dataset=dict(size=256, pipeline=[]))
eval_loader = dict(dataset=dict(size=256))
