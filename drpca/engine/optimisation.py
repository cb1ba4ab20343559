"""MMEngine's optimiser wrapper and weight average, without waiting for the device in every iteration, and its
polynomial learning rate as published.

Registered under MMEngine's own names, so that configs say ``OptimWrapper``, ``EMAHook`` and ``PolyLR`` as usual.
"""

from __future__ import annotations

from typing import Any

import torch
from mmengine import model as mmengine_model
from mmengine import optim as mmengine_optim
from torch import Tensor, nn

from drpca.registry import MODELS, OPTIM_WRAPPERS, PARAM_SCHEDULERS


@OPTIM_WRAPPERS.register_module()
class OptimWrapper(mmengine_optim.OptimWrapper):
    """MMEngine's wrapper with two differences.

    The gradient norm is clipped without being read back for a log. A run that is resumed between two updates
    of accumulated gradients loses none of them (:class:`drpca.engine.SelectionHook` keeps them), so nothing
    warns of that.
    """

    def _clip_grad(self) -> None:
        parameters = [p for group in self.optimizer.param_groups for p in group['params'] if p.grad is not None]
        if parameters:
            self.clip_func(parameters, **self.clip_grad_kwargs)

    def initialize_count_status(self, model: nn.Module, init_counts: int, max_counts: int) -> None:
        self._inner_count, self._max_counts = init_counts, max_counts
        self._remainder_counts = max_counts % self._accumulative_counts


@PARAM_SCHEDULERS.register_module()
class PolyLR(mmengine_optim.PolyLR):
    """Rate (1 − t/N)^power of update t = 0, …, N − 1, as published; ``end − begin`` is N.

    MMEngine divides by N − 1: its last update has rate 0.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.total_iters += 1


class _Together(mmengine_model.BaseAveragedModel):
    """Averages all tensors in one call, where MMEngine's averages go through them one by one."""

    _pairs: tuple[list[Tensor], list[Tensor]] | None = None

    def rate(self) -> float:
        """Share of the present weights in the next average."""
        raise NotImplementedError

    def update_parameters(self, model: nn.Module) -> None:
        if self.steps == 0 or self.steps % self.interval or not self.update_buffers:
            super().update_parameters(model)
            return
        if self._pairs is None:  # collecting them takes longer than averaging
            source: dict[str, Any] = model.state_dict()
            names = [name for name, value in self.avg_parameters.items() if value.is_floating_point()]
            self._pairs = [self.avg_parameters[n] for n in names], [source[n] for n in names]
        torch._foreach_lerp_(*self._pairs, self.rate())
        self.steps += 1


@MODELS.register_module()
class ExponentialMovingAverage(_Together, mmengine_model.ExponentialMovingAverage):
    """MMEngine's average with a fixed share: (1 − momentum)·average + momentum·weights."""

    def rate(self) -> float:
        return self.momentum


@MODELS.register_module()
class MomentumAnnealingEMA(_Together, mmengine_model.MomentumAnnealingEMA):
    """MMEngine's average whose share falls as gamma/(gamma + steps), down to momentum.

    After any number of steps it is an average over about the last 1/gamma of them, so one setting suits short and
    long trainings.
    """

    def rate(self) -> float:
        return max(self.momentum, self.gamma / (self.gamma + self.steps.item()))
