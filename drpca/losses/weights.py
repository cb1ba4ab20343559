"""Weights of loss terms that are not one number: scheduled over the epochs, or learned."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn

from drpca.errors import UserError
from drpca.registry import MODELS


class ChangingWeight(nn.Module):
    """Called with a term, gives the weighted term."""

    def current(self) -> Tensor:
        """The weight now, a scalar without gradient."""
        raise NotImplementedError

    def set_epoch(self, epoch: int, last_epoch: int | None = None) -> None:
        """Say which epoch, counted from 0, begins, and which one is the last."""


@MODELS.register_module()
class ScheduledWeight(ChangingWeight):
    """A weight that goes from ``start`` to ``end``, then stays there.

    The training tells the epoch through ``LossEpochHook``; without it the weight is ``end``.

    Args:
        start: Weight up to the epoch ``begin``.
        end: Weight ``epochs`` later.
        begin: Epoch, counted from 0, at which the change begins.
        epochs: Length of the change; None: until the last epoch of the training.
        shape: Along a straight line, or along half a cosine.

    Raises:
        UserError: ``epochs`` below 1, or an unknown shape.
    """

    value: Tensor

    def __init__(
        self,
        start: float,
        end: float,
        begin: int = 0,
        epochs: int | None = None,
        shape: Literal['linear', 'cosine'] = 'linear',
    ) -> None:
        super().__init__()
        if epochs is not None and epochs < 1:
            raise UserError(f'ScheduledWeight: epochs must be at least 1, got {epochs}.')
        if shape not in ('linear', 'cosine'):
            raise UserError(f"ScheduledWeight: expected shape 'linear' or 'cosine', got {shape!r}.")
        self.start, self.end, self.begin, self.epochs, self.shape = start, end, begin, epochs, shape
        # A tensor changed in place: a captured CUDA graph sees the change too.
        self.register_buffer('value', torch.tensor(float(end)), persistent=False)

    def set_epoch(self, epoch: int, last_epoch: int | None = None) -> None:
        length = self.epochs
        if length is None:
            length = 1 if last_epoch is None else max(last_epoch - self.begin, 1)
        part = min(max((epoch - self.begin) / length, 0.0), 1.0)
        if self.shape == 'cosine':
            part = (1 - math.cos(math.pi * part)) / 2
        self.value.fill_((1 - part) * self.start + part * self.end)

    def current(self) -> Tensor:
        return self.value

    def forward(self, term: Tensor) -> Tensor:
        return self.value * term


@MODELS.register_module()
class LearnedWeight(ChangingWeight):
    """A weight e^(−s) with s learned, kept from vanishing by s: e^(−s)·L + s.

    Homoscedastic uncertainty (Kendall, Gal, Cipolla, Multi-Task Learning Using Uncertainty to Weigh Losses,
    CVPR 2018), s being the logarithm of the variance. For a constant L > 0 the optimum is s = log L: terms
    end up with equal shares, however small they are. The whole may become negative.

    Args:
        start: Weight e^(−s) at the beginning.

    Raises:
        UserError: ``start`` is not positive.
    """

    def __init__(self, start: float = 1.0) -> None:
        super().__init__()
        if start <= 0:
            raise UserError(f'LearnedWeight: start must be above 0, got {start}.')
        self.log_variance = nn.Parameter(torch.full((1,), -math.log(start)))

    def current(self) -> Tensor:
        return torch.exp(-self.log_variance.detach()[0])

    def forward(self, term: Tensor) -> Tensor:
        (log_variance,) = self.log_variance
        return torch.exp(-log_variance) * term + log_variance
