# DNANet as LESPS trains it on SIRST3, the union of SIRST V1, NUDT-SIRST and IRSTD-1K: its grey levels, focal loss.
_base_ = './dnanet_basicirstd.py'

model = dict(
    mean=95.010 / 255,
    std=41.511 / 255,
    losses=dict(_delete_=True, focal=dict(type='FocalLoss', on=['target', 'aux1', 'aux2', 'aux3'], alpha=2.0)),
)
