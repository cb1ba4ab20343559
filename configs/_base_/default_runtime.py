default_scope = 'drpca'
runner_type = 'DetectionRunner'

# MMEngine's own log and checkpoint hooks give way to ours.
default_hooks = dict(
    runtime_info=None,
    timer=None,
    logger=None,
    checkpoint=dict(type='SelectionHook', interval=1),
    empty_maps=dict(type='EmptyMapsHook'),
)
custom_hooks = [
    dict(type='SeedHook'),
    dict(type='LossEpochHook'),
    dict(type='TrainingLogHook', interval=20),
    dict(type='DecompositionGridHook', num_images=4, interval=20),
]
visualizer = dict(type='mmengine.Visualizer', vis_backends=[dict(type='mmengine.TensorboardVisBackend')])

env_cfg = dict(
    cudnn_benchmark=True, mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0), dist_cfg=dict(backend='nccl')
)
randomness = dict(seed=0, deterministic=False)
log_level = 'WARNING'
launcher = 'none'
load_from = None
resume = False
