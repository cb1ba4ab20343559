from .base import Loss
from .decomposition import L1Loss, LowRankLoss
from .edge import EdgeLoss
from .location import SLSIoULoss, location_loss
from .pixel import BCELoss, CentreLoss, FidelityLoss, FocalLoss, MaskMSELoss
from .region import DiceLoss, FocalIoULoss, SoftIoULoss, soft_iou_loss
from .weights import LearnedWeight, ScheduledWeight

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
