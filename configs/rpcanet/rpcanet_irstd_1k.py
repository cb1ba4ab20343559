_base_ = [
    '../_base_/models/rpcanet.py',
    '../_base_/datasets/irstd_1k.py',
    '../_base_/schedules/poly_800e.py',
    '../_base_/default_runtime.py',
]
