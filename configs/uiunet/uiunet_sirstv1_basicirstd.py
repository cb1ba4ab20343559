_base_ = [
    '../_base_/models/uiunet_basicirstd.py',
    '../_base_/recipes/basicirstd_sirstv1.py',
    '../_base_/default_runtime.py',
]

model = _base_.normalisation
