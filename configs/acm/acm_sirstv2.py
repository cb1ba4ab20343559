_base_ = [
    '../_base_/models/acm.py',
    '../_base_/recipes/basicirstd_sirstv2.py',
    '../_base_/default_runtime.py',
]

model = _base_.normalisation
