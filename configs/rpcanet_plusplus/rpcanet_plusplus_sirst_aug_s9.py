_base_ = './rpcanet_plusplus_sirst_aug.py'

model = dict(network=dict(num_stages=9))
