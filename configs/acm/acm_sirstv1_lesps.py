_base_ = [
    '../_base_/models/acm_lesps.py',
    '../_base_/recipes/basicirstd_sirstv1.py',
    '../_base_/default_runtime.py',
]
