# Models that commands take where none is named.
train = ['drpcanet']
compare = ['rpcanet', 'rpcanet_plus', 'drpcanet', 'lrrnet']
# The config whose weights, which come with the project, detect where neither is named and nothing was trained.
detect = ['resunet_sirstv1_cpu']
