# ACM as LESPS trains it on SIRST3, the union of SIRST V1, NUDT-SIRST and IRSTD-1K: its grey levels, focal loss.
_base_ = './acm.py'

model = dict(mean=95.010 / 255, std=41.511 / 255, losses=dict(_delete_=True, focal=dict(type='FocalLoss', alpha=2.0)))
