_base_ = [
    '../_base_/models/mtunet_basicirstd.py',
    '../_base_/recipes/basicirstd_nudt_sirst.py',
    '../_base_/default_runtime.py',
]

model = _base_.normalisation
