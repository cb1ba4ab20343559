_base_ = [
    '../_base_/models/dnanet_basicirstd.py',
    '../_base_/recipes/basicirstd_irstd_1k.py',
    '../_base_/default_runtime.py',
]

model = _base_.normalisation
