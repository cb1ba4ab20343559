"""Deep unfolding of robust PCA: the state, the stage and the loop that the networks share.

The problem is  min ‖B‖_* + λ‖T‖₁ (+ μ‖N‖²)  subject to  D = B + T (+ N): an image D is split into a
low-rank background B, a sparse target image T and, in some networks, noise N. One iteration updates
the variables in turn, each from the newest values of the others:

    Bᵏ = background(Dᵏ⁻¹, Tᵏ⁻¹, Nᵏ⁻¹)          the learned singular-value shrinkage
    Tᵏ = target(Dᵏ⁻¹, Bᵏ, Tᵏ⁻¹, Nᵏ⁻¹)          the learned soft threshold
    Nᵏ = noise(Dᵏ⁻¹, Bᵏ, Tᵏ, Nᵏ⁻¹)             where the network models noise
    Dᵏ = reconstruction(Bᵏ, Tᵏ, Nᵏ)

A **stage** is one iteration, a **step** one of its lines, a network K stages with weights of their
own, started from D⁰ = image, T⁰ = 0, N⁰ = 0. T^K are the target logits. A new network brings its
steps; order and state stay here.

Shape legend: every variable is (B, 1, H, W).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

ABSENT: Any = None


class StageState(NamedTuple):
    """The variables after a stage, each (B, 1, H, W); ``ABSENT`` where a network has no such variable."""

    reconstruction: Tensor
    background: Tensor
    target: Tensor
    noise: Tensor = ABSENT


class Stage(nn.Module):
    """One iteration. Attribute names are those of the published weights.

    Each step is called with the state so far and returns its variable's new value.
    """

    def __init__(
        self, background: nn.Module, target: nn.Module, reconstruction: nn.Module, noise: nn.Module | None = None
    ) -> None:
        super().__init__()
        self.lowrank = background
        self.sparse = target
        if noise is not None:
            self.residual = noise
        self.merge = reconstruction

    def forward(self, state: StageState, reconstruct: bool = True) -> StageState:
        """The state after the stage; without ``reconstruct`` it ends with T, which needs neither new N nor D."""
        state = state._replace(background=self.lowrank(state))
        state = state._replace(target=self.sparse(state))
        if not reconstruct:
            return state
        if state.noise is not ABSENT:
            state = state._replace(noise=self.residual(state))
        return state._replace(reconstruction=self.merge(state))


def reach(module: nn.Module) -> int:
    """Pixels around one that a part of a network sees, if its convolutions have stride 1 and come one after the other.

    A block that convolves by other means says so in an attribute ``reach``.
    """
    return sum(
        part.dilation[0] * (part.kernel_size[0] // 2) if isinstance(part, nn.Conv2d) else getattr(part, 'reach', 0)
        for part in module.modules()
    )


@contextmanager
def _statistics_kept(module: nn.Module) -> Iterator[None]:
    """BatchNorm normalises by the batch as in training, but leaves its running statistics alone."""
    norms = [m for m in module.modules() if isinstance(m, nn.modules.batchnorm._NormBase)]
    kept = [dict(norm._buffers) for norm in norms]
    for norm, buffers in zip(norms, kept):
        norm._buffers.update({name: None if b is None else b.clone() for name, b in buffers.items()})
    try:
        yield
    finally:
        for norm, buffers in zip(norms, kept):
            norm._buffers.update(buffers)


class UnfoldingNetwork(nn.Module):
    """K stages in a row.

    Args:
        num_stages: K.
        make_stage: Builds one stage; called K times.
        has_noise: The decomposition has a noise variable.
        carry_noise: Hand N from one stage to the next; otherwise every stage starts from N = 0.

    Attributes:
        checkpoint_stages: In training, keep of a stage only what enters it and run it again in the backward
            pass: the same gradients and running statistics, for the memory of about one stage instead of K
            and a third more time (Chen et al., Training Deep Nets with Sublinear Memory Cost, 2016).
        local_steps: A step consists of convolutions of stride 1 that pad with zeros, of functions of single pixels,
            and of means and maxima of a channel over the whole image; nothing but the state goes from one to the
            next. Large frames are then computed in tiles exactly (:func:`drpca.inference.tiling.in_tiles`).
        pools: Steps take such means and maxima.
    """

    outputs = ('reconstruction', 'target')
    size_multiple = 1
    min_size = 8
    checkpoint_stages = False
    local_steps = False
    pools = True

    def __init__(
        self, num_stages: int, make_stage: Callable[[], Stage], has_noise: bool = False, carry_noise: bool = True
    ) -> None:
        super().__init__()
        self.has_noise = has_noise
        self.carry_noise = carry_noise
        self.decos = nn.ModuleList(make_stage() for _ in range(num_stages))

    def unroll(self, image: Tensor, final_reconstruction: bool = True) -> Iterator[StageState]:
        """Yield the state after every stage.

        Args:
            image: (B, 1, H, W) in [0, 1].
            final_reconstruction: Compute N and D of the last stage, which T does not need.
        """
        zero = torch.zeros_like(image)
        state = StageState(image, background=zero, target=zero, noise=zero if self.has_noise else ABSENT)
        for index, stage in enumerate(self.decos):
            if self.has_noise and not self.carry_noise:
                state = state._replace(noise=zero)
            state = self._run_stage(stage, state, final_reconstruction or index + 1 < len(self.decos))
            yield state

    @property
    def receptive_radius(self) -> int | None:
        """Pixels around one on which its logit depends; None: all of the image."""
        if not self.local_steps or self.pools:
            return None
        return reach(self) - reach(self.decos[-1].merge)  # type: ignore[arg-type]

    @property
    def can_checkpoint_stages(self) -> bool:
        """Whether ``checkpoint_stages`` has an effect: a network with a loop of its own does not read it."""
        return type(self).unroll is UnfoldingNetwork.unroll

    def _run_stage(self, stage: nn.Module, state: StageState, reconstruct: bool) -> StageState:
        if not (self.checkpoint_stages and self.training and torch.is_grad_enabled()):
            return stage(state, reconstruct)
        return checkpoint(
            stage, state, reconstruct, use_reentrant=False, context_fn=lambda: (nullcontext(), _statistics_kept(stage))
        )

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 1, H, W) in [0, 1] → reconstruction and target logits, both (B, 1, H, W)."""
        *_, last = self.unroll(image)
        return last.reconstruction, last.target

    def detect(self, image: Tensor) -> Tensor:
        """Target logits alone, (B, 1, H, W): skips the last reconstruction."""
        *_, last = self.unroll(image, final_reconstruction=False)
        return last.target

    def decompose(self, image: Tensor) -> list[StageState]:
        """The decomposition after every stage, for looking inside."""
        return list(self.unroll(image))
