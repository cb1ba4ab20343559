_base_ = [
    '../_base_/models/resunet.py',
    '../_base_/recipes/basicirstd_sirst_aug.py',
    '../_base_/default_runtime.py',
]

model = _base_.normalisation
