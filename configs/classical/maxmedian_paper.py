model = dict(type='MaxMedian', preset='paper')
