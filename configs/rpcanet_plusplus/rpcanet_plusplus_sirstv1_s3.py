_base_ = './rpcanet_plusplus_sirstv1.py'

model = dict(network=dict(num_stages=3))
