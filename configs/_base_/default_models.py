# Models that commands take where none is named.
train = ['drpcanet']
compare = ['rpcanet', 'rpcanet_plus', 'drpcanet', 'lrrnet']
