"""Terms of robust PCA's own objective, ‖B‖_* + λ‖T‖₁, as losses."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from drpca.losses.base import Loss
from drpca.registry import MODELS


@MODELS.register_module()
class L1Loss(Loss):
    """‖T‖₁/(H·W), the mean of the target scores: the sparsity of the target image.

    Of the scores, because a logit of 0 means an even chance, not the absence of a target. LRRNet's published
    term, mean(T > 0) of the logits, counts predicted pixels and has no gradient; the mean of
    sigmoid(T) is the smooth form of that count, and 0.2 its published weight.
    """

    def value(self, output: Tensor, image: Tensor, gt_mask: Tensor) -> Tensor:
        return torch.sigmoid(output).mean()


@MODELS.register_module()
class LowRankLoss(Loss):
    """‖B‖_*/(‖B‖_F·√r) with r = min(H, W), averaged over the batch; between 1/√r (rank one) and 1.

    The nuclear norm is taken relative to the Frobenius norm, so that a network cannot satisfy it by making B
    small: nothing in a network holds B to D = B + T. The size of the image drops out likewise.

    On one CPU thread it takes 7 ms for an image of 256². A GPU decomposes the images of a batch one by one.

    Args:
        weight: Factor of the term.
        on: The output it acts on: the background after the last stage.
    """

    def __init__(self, weight: float | dict[str, Any] = 0.1, on: str = 'background') -> None:
        super().__init__(weight, on)

    def value(self, output: Tensor, image: Tensor, gt_mask: Tensor) -> Tensor:
        nuclear = torch.linalg.svdvals(output[:, 0]).sum(dim=-1)
        frobenius = torch.linalg.matrix_norm(output[:, 0]).clamp(min=torch.finfo(output.dtype).tiny)
        return (nuclear / frobenius).mean() / min(output.shape[-2:]) ** 0.5
