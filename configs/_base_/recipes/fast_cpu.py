# What makes training fast on a CPU, merged over any config by `run_configs.py --fast`; bfloat16 only where the
# processor calculates with it.
model = dict(channels_last=True, precision='bfloat16')
optim_wrapper = dict(optimizer=dict(fused=True))
train_dataloader = dict(on_device=True)
val_dataloader = dict(on_device=True)
test_dataloader = dict(on_device=True)
