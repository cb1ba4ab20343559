_base_ = [
    '../_base_/models/rpcanet_plus.py',
    '../_base_/datasets/synthetic.py',
    '../_base_/schedules/poly_400e.py',
    '../_base_/default_runtime.py',
]
