_base_ = [
    '../_base_/models/acm_lesps.py',
    '../_base_/recipes/basicirstd_irstd_1k.py',
    '../_base_/default_runtime.py',
]
