"""Losses that compare maps pixel by pixel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor
from torch.nn import functional as F

from drpca.losses.base import Loss
from drpca.registry import MODELS


@MODELS.register_module()
class FidelityLoss(Loss):
    """Mean squared error between the reconstruction Dᴷ and the image D."""

    def __init__(self, weight: float | dict[str, Any] = 0.1, on: str = 'reconstruction') -> None:
        super().__init__(weight, on)

    def value(self, output: Tensor, image: Tensor, gt_mask: Tensor) -> Tensor:
        return F.mse_loss(output, image)


@MODELS.register_module()
class BCELoss(Loss):
    """Mean binary cross-entropy of scores and mask."""

    def value(self, output: Tensor, image: Tensor, gt_mask: Tensor) -> Tensor:
        return F.binary_cross_entropy_with_logits(output, gt_mask)


@MODELS.register_module()
class MaskMSELoss(Loss):
    """Mean squared error of scores and mask."""

    def value(self, output: Tensor, image: Tensor, gt_mask: Tensor) -> Tensor:
        return F.mse_loss(torch.sigmoid(output), gt_mask)


@MODELS.register_module()
class FocalLoss(Loss):
    """Penalty-reduced focal loss (CornerNet, Law and Deng, ECCV 2018), as LESPS uses it on masks.

        −[Σ_target (1 − p)^α log p  +  Σ_elsewhere p^α log(1 − p)] / max(1, target pixels)

    CornerNet's γ (4) weighs pixels by 1 minus a soft label; a binary mask has none between 0 and 1, so it
    drops out.

    Args:
        weight: Factor of the term.
        on: The output it acts on, or several of them.
        over: ``'mean'`` or ``'sum'`` over several outputs.
        alpha: α.
    """

    def __init__(
        self,
        weight: float | dict[str, Any] = 1.0,
        on: str | Sequence[str] = 'target',
        over: Literal['mean', 'sum'] = 'mean',
        alpha: float = 2.0,
    ) -> None:
        super().__init__(weight, on, over)
        self.alpha = alpha

    def value(self, output: Tensor, image: Tensor, gt_mask: Tensor) -> Tensor:
        scores = torch.sigmoid(output)
        entropy = F.binary_cross_entropy_with_logits(output, gt_mask, reduction='none')
        wrong = torch.where(gt_mask > 0, 1 - scores, scores)
        return (wrong**self.alpha * entropy).sum() / gt_mask.sum().clamp(min=1)


def centre_heatmap(gt_mask: Tensor, radius: int = 3) -> Tensor:
    """A Gaussian of height 1 at each target's centroid, σ = (2·radius + 1)/6, cut off beyond ``radius``.

    Args:
        gt_mask: (B, 1, H, W) in {0, 1}.
        radius: Half side of the square that a Gaussian fills, at least 1.

    Returns:
        (B, 1, H, W) in [0, 1], the maximum where Gaussians overlap.
    """
    steps = np.arange(-radius, radius + 1)
    bell = np.exp(-np.add.outer(steps**2, steps**2) / (2 * ((2 * radius + 1) / 6) ** 2))
    masks = gt_mask[:, 0].cpu().numpy() > 0
    heat = np.pad(np.zeros(masks.shape), ((0, 0), (radius, radius), (radius, radius)))
    for index, mask in enumerate(masks):
        labels, count = ndimage.label(mask, np.ones((3, 3)))
        for row, column in np.rint(ndimage.center_of_mass(mask, labels, range(1, count + 1))).astype(int):
            window = heat[index, row : row + len(bell), column : column + len(bell)]
            np.maximum(window, bell, out=window)
    inside = slice(radius, -radius)
    return torch.from_numpy(heat[:, None, inside, inside]).to(gt_mask)


@MODELS.register_module()
class CentreLoss(Loss):
    """Mean squared error of scores and :func:`centre_heatmap` (ISTDU-Net, Hou et al., GRSL 2022)."""

    def value(self, output: Tensor, image: Tensor, gt_mask: Tensor) -> Tensor:
        return F.mse_loss(torch.sigmoid(output), centre_heatmap(gt_mask))
