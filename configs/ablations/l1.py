# A true L1 term on the target, at a tenth of LRRNet's 0.2: at 0.2 from the start it empties every map at once.
_base_ = './baseline.py'

model = dict(losses=dict(l1=dict(type='L1Loss', weight=0.02)))
