"""The scale and location sensitive loss (MSHNet, Liu et al., CVPR 2024)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from drpca.losses.base import Loss
from drpca.models.detector import Outputs
from drpca.registry import MODELS


def _centre(weights: Tensor) -> tuple[Tensor, Tensor]:
    """Mean over all pixels of x·w and y·w with x = column/W and y = row/H; each (B,)."""
    height, width = weights.shape[-2:]
    x = torch.arange(width, device=weights.device, dtype=weights.dtype) / width
    y = torch.arange(height, device=weights.device, dtype=weights.dtype)[:, None] / height
    return (weights * x).mean(dim=(1, 2, 3)), (weights * y).mean(dim=(1, 2, 3))


def location_loss(scores: Tensor, gt_mask: Tensor) -> Tensor:
    """Distance of the centres of scores and mask in polar coordinates, averaged over the batch.

        1 − min(r, r′)/max(r, r′) + (2/π)²·(θ − θ′)²,    r = |(cx, cy)|,  θ = atan(cy/cx)

    As published, the centres are means over all pixels, not divided by the mass, so that they also measure
    how much was predicted.

    Args:
        scores: (B, 1, H, W) in [0, 1].
        gt_mask: (B, 1, H, W) in {0, 1}.
    """
    tiny = 1e-8
    (px, py), (tx, ty) = _centre(scores), _centre(gt_mask)
    angle = torch.atan(py / (px + tiny)) - torch.atan(ty / (tx + tiny))
    lengths = torch.stack([torch.sqrt(x * x + y * y + tiny) for x, y in ((px, py), (tx, ty))])
    ratio = lengths.amin(dim=0) / (lengths.amax(dim=0) + tiny)
    return (1 - ratio + 4 / math.pi**2 * angle**2).mean()


@MODELS.register_module()
class SLSIoULoss(Loss):
    """IoU weighted by scale, with a location term: 1 − mean(a·IoU) + :func:`location_loss`.

    With P = Σ p, M = Σ m and d = ((P − M)/2)², a = (min(P, M) + d)/(max(P, M) + d) is small where the
    predicted area is far from the true one. In the warm-up the loss is 1 − mean(IoU), on outputs of its own.

    The training tells the epoch through :meth:`set_epoch` (``LossEpochHook``); without it there is no
    warm-up.

    Args:
        weight: Factor of the term.
        on: The output it acts on, or several of them.
        over: ``'mean'`` or ``'sum'`` over several outputs.
        warm_epoch: Last epoch of the warm-up, counted from 0; -1 for none.
        warm_on: Outputs during the warm-up; None: as ``on``.
    """

    def __init__(
        self,
        weight: float | dict[str, Any] = 1.0,
        on: str | Sequence[str] = 'target',
        over: Literal['mean', 'sum'] = 'mean',
        warm_epoch: int = 5,
        warm_on: str | Sequence[str] | None = None,
    ) -> None:
        super().__init__(weight, on, over)
        self.warm_epoch = warm_epoch
        self.warm_on = self.on if warm_on is None else (warm_on,) if isinstance(warm_on, str) else tuple(warm_on)
        self.warm = False

    @property
    def inputs(self) -> set[str]:
        return {*self.on, *self.warm_on}

    def set_epoch(self, epoch: int, last_epoch: int | None = None) -> None:
        super().set_epoch(epoch, last_epoch)
        self.warm = epoch <= self.warm_epoch

    def value(self, output: Tensor, image: Tensor, gt_mask: Tensor) -> Tensor:
        scores = torch.sigmoid(output).clamp(min=1e-12)  # published: 0/0 where neither has any mass
        both = (scores * gt_mask).sum(dim=(1, 2, 3))
        sums = torch.stack([scores.sum(dim=(1, 2, 3)), gt_mask.sum(dim=(1, 2, 3))])
        iou = both / (sums.sum(dim=0) - both)
        if self.warm:
            return 1 - iou.mean()
        d = ((sums[0] - sums[1]) / 2) ** 2
        a = (sums.amin(dim=0) + d) / (sums.amax(dim=0) + d)
        return 1 - (a * iou).mean() + location_loss(scores, gt_mask)

    def forward(self, outputs: Outputs, image: Tensor, gt_mask: Tensor) -> Tensor:
        names = self.warm_on if self.warm else self.on
        return self.weighted(self.combine(names, outputs, image, gt_mask))
