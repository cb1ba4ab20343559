# This network's own recipe is the common one.
_base_ = './alcnet_sirst_aug.py'
