# What makes training fast on a GPU, merged over any config by `run_configs.py --fast`. All but bfloat16 leaves the
# mathematics as it is, but for the random numbers of augmentation; --cfg-options model.precision=float32 takes
# bfloat16 out again.
model = dict(channels_last=True, precision='bfloat16', compiled=True)
optim_wrapper = dict(optimizer=dict(fused=True))
train_dataloader = dict(on_device=True)
val_dataloader = dict(on_device=True, batch_size=32)
test_dataloader = dict(on_device=True, batch_size=32)
# Writing last.pth waits for the disk; Ctrl-C still saves at once.
default_hooks = dict(checkpoint=dict(interval=10))
