# This network's own recipe is the common one.
_base_ = './acm_synthetic.py'
