# This network's own recipe is the common one.
_base_ = './resunet_sirst_aug.py'
