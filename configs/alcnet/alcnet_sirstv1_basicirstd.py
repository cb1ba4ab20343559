# This network's own recipe is the common one.
_base_ = './alcnet_sirstv1.py'
