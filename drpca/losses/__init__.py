"""Losses as registered modules, each ``loss(outputs, image, gt_mask) → scalar``.

``outputs`` maps the network's output names to tensors (B, 1, h, w): ``'reconstruction'`` in image units,
all others logits. A config names the terms and their weights; the detector adds them up:

    losses = dict(soft_iou=dict(type='SoftIoULoss'), fidelity=dict(type='FidelityLoss', weight=0.1))

Deep supervision is one term on several outputs, the ``mean`` or the ``sum`` over them:

    losses = dict(soft_iou=dict(type='SoftIoULoss', on=['target', 'aux1', 'aux2'], over='mean'))
"""

from drpca.losses.base import Loss
from drpca.losses.edge import EdgeLoss
from drpca.losses.location import SLSIoULoss, location_loss
from drpca.losses.pixel import BCELoss, CentreLoss, FidelityLoss, FocalLoss, MaskMSELoss
from drpca.losses.region import DiceLoss, FocalIoULoss, SoftIoULoss, soft_iou_loss

__all__ = [
    'BCELoss',
    'CentreLoss',
    'DiceLoss',
    'EdgeLoss',
    'FidelityLoss',
    'FocalIoULoss',
    'FocalLoss',
    'Loss',
    'MaskMSELoss',
    'SLSIoULoss',
    'SoftIoULoss',
    'location_loss',
    'soft_iou_loss',
]
