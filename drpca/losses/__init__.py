"""Losses as registered modules, each ``loss(outputs, image, gt_mask) → scalar``.

``outputs`` maps the network's output names to tensors (B, 1, h, w): ``'reconstruction'`` in image units,
all others logits. A config names the terms and their weights; the detector adds them up:

    losses = dict(soft_iou=dict(type='SoftIoULoss'), fidelity=dict(type='FidelityLoss', weight=0.1))

Deep supervision is one term on several outputs, the ``mean`` or the ``sum`` over them:

    losses = dict(soft_iou=dict(type='SoftIoULoss', on=['target', 'aux1', 'aux2'], over='mean'))

``on='stages'`` is the target of every stage of an unfolded network. Weights can change, or be learned:

    fidelity = dict(type='FidelityLoss', weight=dict(type='ScheduledWeight', start=1.0, end=0.1))
    fidelity = dict(type='FidelityLoss', weight=dict(type='LearnedWeight', start=0.1))
"""

from drpca.losses.base import Loss
from drpca.losses.decomposition import L1Loss, LowRankLoss
from drpca.losses.edge import EdgeLoss
from drpca.losses.location import SLSIoULoss, location_loss
from drpca.losses.pixel import BCELoss, CentreLoss, FidelityLoss, FocalLoss, MaskMSELoss
from drpca.losses.region import DiceLoss, FocalIoULoss, SoftIoULoss, soft_iou_loss
from drpca.losses.weights import LearnedWeight, ScheduledWeight

__all__ = [
    'BCELoss',
    'CentreLoss',
    'DiceLoss',
    'EdgeLoss',
    'FidelityLoss',
    'FocalIoULoss',
    'FocalLoss',
    'L1Loss',
    'LearnedWeight',
    'Loss',
    'LowRankLoss',
    'MaskMSELoss',
    'SLSIoULoss',
    'ScheduledWeight',
    'SoftIoULoss',
    'location_loss',
    'soft_iou_loss',
]
