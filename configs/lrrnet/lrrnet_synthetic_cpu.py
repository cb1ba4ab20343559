# Three minutes of CPU on the synthetic data set, with the same recipe as lrrnet_sirstv1_cpu.
_base_ = './lrrnet_sirstv1_cpu.py'

train_dataloader = dict(dataset=dict(dataset='synthetic'))
val_dataloader = dict(dataset=dict(dataset='synthetic'))
test_dataloader = dict(dataset=dict(dataset='synthetic'))

train_cfg = dict(max_epochs=12, val_interval=6)
