"""Losses on overlap: soft IoU, Dice, and IoU with focal pixels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from drpca.losses.base import Loss
from drpca.registry import MODELS


def _overlap(scores: Tensor, gt_mask: Tensor, per_image: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Σ p·m, Σ p and Σ m of each image, shape (B,), or of the whole batch, shape ()."""
    dims = (1, 2, 3) if per_image else (0, 1, 2, 3)
    return (scores * gt_mask).sum(dim=dims), scores.sum(dim=dims), gt_mask.sum(dim=dims)


def soft_iou_loss(logits: Tensor, gt_mask: Tensor, smooth: float = 1.0, per_image: bool = True) -> Tensor:
    """1 − (Σ p·m + s) / (Σ p + Σ m − Σ p·m + s) with p = sigmoid(logits).

    Args:
        logits: (B, 1, H, W).
        gt_mask: (B, 1, H, W) in {0, 1}.
        smooth: s; keeps an image without target defined.
        per_image: Sum over each image and average the ratios; otherwise one ratio for the batch.
    """
    both, predicted, target = _overlap(torch.sigmoid(logits), gt_mask, per_image)
    return 1 - ((both + smooth) / (predicted + target - both + smooth)).mean()


class _RegionLoss(Loss):
    """A term with the choice between sums per image and per batch.

    Args:
        weight: Factor of the term.
        on: The output it acts on, or several of them.
        over: ``'mean'`` or ``'sum'`` over several outputs.
        smooth: Added to numerator and denominator; keeps an image without target defined.
        per_image: Sum over each image and average the ratios; otherwise one ratio for the batch.
    """

    def __init__(
        self,
        weight: float | dict[str, Any] = 1.0,
        on: str | Sequence[str] = 'target',
        over: Literal['mean', 'sum'] = 'mean',
        smooth: float = 1.0,
        per_image: bool = True,
    ) -> None:
        super().__init__(weight, on, over)
        self.smooth = smooth
        self.per_image = per_image


@MODELS.register_module()
class SoftIoULoss(_RegionLoss):
    """Soft IoU of scores and mask: see :func:`soft_iou_loss`."""

    def value(self, output: Tensor, image: Tensor, gt_mask: Tensor) -> Tensor:
        return soft_iou_loss(output, gt_mask, self.smooth, self.per_image)


@MODELS.register_module()
class DiceLoss(_RegionLoss):
    """1 − (2·Σ p·m + s) / (Σ p + Σ m + s) with p = sigmoid(logits) (Milletari et al., V-Net, 3DV 2016)."""

    def value(self, output: Tensor, image: Tensor, gt_mask: Tensor) -> Tensor:
        both, predicted, target = _overlap(torch.sigmoid(output), gt_mask, self.per_image)
        return 1 - ((2 * both + self.smooth) / (predicted + target + self.smooth)).mean()


@MODELS.register_module()
class FocalIoULoss(Loss):
    """Focal pixels whose sharpness follows the overlap (MTU-Net, Wu et al., TGRS 2023).

        p = ½ + 0.999·(sigmoid(logits) − ½)          I = soft IoU of the batch, smooth 1
        b = binary cross-entropy of a pixel          f = (1 − e^(−b))²·b
        loss = Σ a·(1 − I)·f^(½ + I/2)               a = 0.75 on target pixels, 0.25 elsewhere

    The sum runs over all pixels of the batch, so its size grows with the image.
    """

    def value(self, output: Tensor, image: Tensor, gt_mask: Tensor) -> Tensor:
        scores = 0.5 + 0.999 * (torch.sigmoid(output) - 0.5)
        both, predicted, target = _overlap(scores, gt_mask, per_image=False)
        iou = (both + 1) / (predicted + target - both + 1)
        entropy = -torch.log(torch.where(gt_mask > 0, scores, 1 - scores))
        focal = (1 - torch.exp(-entropy)) ** 2 * entropy
        balance = 0.25 + 0.5 * gt_mask
        return (balance * (1 - iou) * focal ** (0.5 + 0.5 * iou)).sum()
