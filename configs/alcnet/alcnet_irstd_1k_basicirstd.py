# This network's own recipe is the common one.
_base_ = './alcnet_irstd_1k.py'
