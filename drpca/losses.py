"""Losses as registered modules, each ``loss(outputs, image, gt_mask) → scalar``.

``outputs`` maps the network's output names to tensors (B, 1, H, W): ``'reconstruction'`` in image units,
all others logits. A config names the terms and their weights; the detector adds them up:

    losses = dict(soft_iou=dict(type='SoftIoULoss'), fidelity=dict(type='FidelityLoss', weight=0.1))
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from drpca.registry import MODELS

Outputs = dict[str, Tensor]


def _full(x: Tensor) -> Tensor:
    """Half-precision outputs in float32: sums over 65,536 pixels need it."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def soft_iou_loss(logits: Tensor, gt_mask: Tensor, smooth: float = 1.0, per_image: bool = True) -> Tensor:
    """1 − (Σ p·m + s) / (Σ p + Σ m − Σ p·m + s) with p = sigmoid(logits).

    Args:
        logits: (B, 1, H, W).
        gt_mask: (B, 1, H, W) in {0, 1}.
        smooth: s; keeps an image without target defined.
        per_image: Sum over each image and average the ratios; otherwise one ratio for the batch.
    """
    scores = torch.sigmoid(_full(logits))
    dims = (1, 2, 3) if per_image else (0, 1, 2, 3)
    intersection = (scores * gt_mask).sum(dim=dims)
    union = scores.sum(dim=dims) + gt_mask.sum(dim=dims) - intersection
    return 1 - ((intersection + smooth) / (union + smooth)).mean()


class Loss(nn.Module):
    """Base of all terms.

    Args:
        weight: Factor of the term.
        on: The output it acts on.
    """

    def __init__(self, weight: float = 1.0, on: str = 'target') -> None:
        super().__init__()
        self.weight = weight
        self.on = on

    def value(self, output: Tensor, image: Tensor, gt_mask: Tensor) -> Tensor:
        """The term without its weight."""
        raise NotImplementedError

    def forward(self, outputs: Outputs, image: Tensor, gt_mask: Tensor) -> Tensor:
        return self.weight * self.value(outputs[self.on], image, gt_mask)


@MODELS.register_module()
class SoftIoULoss(Loss):
    """Soft IoU of scores and mask: see :func:`soft_iou_loss`."""

    def __init__(
        self, weight: float = 1.0, on: str = 'target', smooth: float = 1.0, per_image: bool = True
    ) -> None:
        super().__init__(weight, on)
        self.smooth = smooth
        self.per_image = per_image

    def value(self, output: Tensor, image: Tensor, gt_mask: Tensor) -> Tensor:
        return soft_iou_loss(output, gt_mask, self.smooth, self.per_image)


@MODELS.register_module()
class FidelityLoss(Loss):
    """Mean squared error between the reconstruction Dᴷ and the image D."""

    def __init__(self, weight: float = 0.1, on: str = 'reconstruction') -> None:
        super().__init__(weight, on)

    def value(self, output: Tensor, image: Tensor, gt_mask: Tensor) -> Tensor:
        return F.mse_loss(_full(output), image)
