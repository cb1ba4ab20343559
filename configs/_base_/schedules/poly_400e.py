# Published recipe: Adam 1e-4, learning rate (1 - iteration / all)^0.9. A schedule without `end` lasts all epochs.
train_cfg = dict(type='ResumableTrainLoop', max_epochs=400, val_interval=5)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='Adam', lr=1e-4))
param_scheduler = [dict(type='PolyLR', power=0.9, eta_min=0.0, by_epoch=True, convert_to_iter_based=True)]
