"""Supervision of an edge output by the gradient of the mask."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from drpca.losses.base import Loss
from drpca.losses.region import soft_iou_loss
from drpca.models.layers import image_gradient
from drpca.registry import MODELS


@MODELS.register_module()
class EdgeLoss(Loss):
    """ISNet's edge loss (Zhang et al., CVPR 2022), as published:

        bce_weight · BCE(e, G) + SoftIoU(sigmoid(e), G)

    with e = sigmoid(logits) and G the gradient magnitude of the mask, between 0.001 and √2. The published
    code passes e through the sigmoid once more in the second term; trained weights depend on it.

    Args:
        weight: Factor of the term.
        on: The output it acts on.
        bce_weight: Factor of the cross-entropy.
        smooth: Of the soft IoU.
        per_image: Of the soft IoU.
    """

    def __init__(
        self,
        weight: float | dict[str, Any] = 1.0,
        on: str = 'edge',
        bce_weight: float = 10.0,
        smooth: float = 1.0,
        per_image: bool = True,
    ) -> None:
        super().__init__(weight, on)
        self.bce_weight = bce_weight
        self.smooth = smooth
        self.per_image = per_image

    def value(self, output: Tensor, image: Tensor, gt_mask: Tensor) -> Tensor:
        edge = image_gradient(gt_mask)
        entropy = F.binary_cross_entropy_with_logits(output, edge)
        return self.bce_weight * entropy + soft_iou_loss(torch.sigmoid(output), edge, self.smooth, self.per_image)
