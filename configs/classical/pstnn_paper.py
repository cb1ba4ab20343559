model = dict(type='PSTNN', preset='paper')
