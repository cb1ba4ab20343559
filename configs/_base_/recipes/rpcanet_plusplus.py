# Its authors' recipe: 256², batch 8, Adam 1e-4, (1 - t)^0.9 per iteration, 800 epochs (400 on SIRST-Aug);
# augmentation as ../datasets say.
_base_ = '../schedules/poly_800e.py'

train_loader = dict(batch_size=8, drop_last=True, dataset=dict(size=256, pipeline=[]))
eval_loader = dict(dataset=dict(size=256))
