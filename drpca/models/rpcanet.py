"""RPCANet (Wu et al., RPCANet: Deep Unfolding RPCA Based Infrared Small Target Detection, WACV 2024).

One stage, with learned functions P, S and M in place of the proximal maps:

    x = D − T            B = x + P(x)
    x = T + D − B        T = x − ε·S(x)
    D = M(B + T)
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from drpca.registry import MODELS

from .layers import conv, conv_stack, initialise
from .unfolding import Stage, StageState, UnfoldingNetwork


class BackgroundStep(nn.Module):
    """B = x + P(x) with x = D − T: a residual network in place of singular-value shrinkage."""

    def __init__(self, channels: int, depth: int) -> None:
        super().__init__()
        self.convs = nn.Sequential(*conv_stack([1] + [channels] * (depth + 1), normalise=True), conv(channels, 1, 3))

    def forward(self, state: StageState) -> Tensor:
        x = state.reconstruction - state.target
        return x + self.convs(x)


class TargetStep(nn.Module):
    """T = x − ε·S(x) with x = T + D − B: a gradient step on a learned sparsity, ε learned."""

    def __init__(self, channels: int, depth: int) -> None:
        super().__init__()
        self.convs = nn.Sequential(*conv_stack([1] + [channels] * (depth + 1)), conv(channels, 1, 3))
        self.epsilon = nn.Parameter(torch.full((1,), 0.01))

    def forward(self, state: StageState) -> Tensor:
        x = state.target + state.reconstruction - state.background
        return x - self.epsilon * self.convs(x)


class ReconstructionStep(nn.Module):
    """D = M(B + T)."""

    def __init__(self, channels: int, depth: int) -> None:
        super().__init__()
        self.mapping = nn.Sequential(*conv_stack([1] + [channels] * (depth + 1), normalise=True), conv(channels, 1, 3))

    def forward(self, state: StageState) -> Tensor:
        return self.mapping(state.background + state.target)


@MODELS.register_module()
class RPCANet(UnfoldingNetwork):
    """RPCANet, 679,896 parameters as published.

    Args:
        num_stages: K.
        channels: Width C of every hidden layer.
        background_depth: Hidden convolutions of P after the first.
        target_depth: Hidden convolutions of S after the first.
        reconstruction_depth: Hidden convolutions of M after the first.
    """

    local_steps = True
    pools = False

    def __init__(
        self,
        num_stages: int = 6,
        channels: int = 32,
        background_depth: int = 3,
        target_depth: int = 6,
        reconstruction_depth: int = 3,
    ) -> None:
        def make_stage() -> Stage:
            return Stage(
                BackgroundStep(channels, background_depth),
                TargetStep(channels, target_depth),
                ReconstructionStep(channels, reconstruction_depth),
            )

        super().__init__(num_stages, make_stage)
        initialise(self)
