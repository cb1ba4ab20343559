# The second half of rpcanet_plus_sirstv1_cpu, from its weights: six epochs of whole images of 256², which show the
# clutter that crops around targets leave out. Half an hour on one CPU core.
#   python run_configs.py rpcanet_plus_sirstv1_cpu rpcanet_plus_sirstv1_whole
_base_ = './rpcanet_plus_sirstv1_cpu.py'

load_from = 'checkpoints/rpcanet_plus_sirstv1_cpu/seed_0/best.pth'

train_dataloader = dict(dataset=dict(pipeline=[]))
train_cfg = dict(max_epochs=6, val_interval=1)
optim_wrapper = dict(optimizer=dict(lr=3e-4))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, by_epoch=True, begin=0, end=1, convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', eta_min=0.0, by_epoch=True, begin=1, convert_to_iter_based=True),
]
