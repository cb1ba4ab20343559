"""RPCANet+ (Han, Xiu, Liu, Liu, 2025; weights published under the name L-RPCANet).

RPCANet with a noise variable, a narrow bottleneck of b channels and squeeze-and-excitation (SE) in
every step. One stage:

    x = D − T − N        B = x + P(x)
    x = T + D − B − N    T = x − ε·S(x)
    x = N + D − B − T    N = x − σ·R(x)
    D = M(B + T + N)
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from drpca.registry import MODELS

from .layers import SqueezeExcitation, conv, conv_stack, initialise
from .unfolding import Stage, StageState, UnfoldingNetwork


class BackgroundStep(nn.Module):
    """B = x + P(x) with x = D − T − N."""

    def __init__(self, channels: int, bottleneck: int, depth: int) -> None:
        super().__init__()
        hidden = conv_stack([1] + [bottleneck] * (depth + 1), first_kernel=1, normalise=True)
        self.convs = nn.Sequential(*hidden, conv(bottleneck, channels, 3))
        self.channel_attention = SqueezeExcitation(channels)
        self.final_conv = conv(channels, 1, 3)

    def forward(self, state: StageState) -> Tensor:
        x = state.reconstruction - state.target - state.noise
        return x + self.final_conv(self.channel_attention(self.convs(x)))


class TargetStep(nn.Module):
    """T = x − ε·S(x) with x = T + D − B − N, ε learned."""

    def __init__(self, channels: int, bottleneck: int, depth: int) -> None:
        super().__init__()
        hidden = conv_stack([1] + [bottleneck] * (depth + 1), first_kernel=1)
        self.convs = nn.Sequential(*hidden, conv(bottleneck, channels, 3))
        self.channel_attention = SqueezeExcitation(channels)
        self.final_conv = conv(channels, 1, 3)
        self.epsilon = nn.Parameter(torch.full((1,), 0.01))

    def forward(self, state: StageState) -> Tensor:
        x = state.target + state.reconstruction - state.background - state.noise
        return x - self.epsilon * self.final_conv(self.channel_attention(self.convs(x)))


class NoiseStep(nn.Module):
    """N = x − σ·R(x) with x = N + D − B − T, σ learned."""

    def __init__(self, channels: int, bottleneck: int, depth: int) -> None:
        super().__init__()
        hidden = conv_stack([1] + [bottleneck] * (depth + 1))
        self.convs = nn.Sequential(*hidden, conv(bottleneck, channels, 3))
        self.channel_attention = SqueezeExcitation(channels)
        self.final_conv = conv(channels, 1, 3)
        self.sigma = nn.Parameter(torch.full((1,), 0.01))

    def forward(self, state: StageState) -> Tensor:
        x = state.noise + state.reconstruction - state.background - state.target
        return x - self.sigma * self.final_conv(self.channel_attention(self.convs(x)))


class ReconstructionStep(nn.Module):
    """D = M(B + T + N)."""

    def __init__(self, channels: int, depth: int) -> None:
        super().__init__()
        self.mapping = nn.Sequential(*conv_stack([1] + [channels] * (depth + 1), normalise=True))
        self.channel_attention = SqueezeExcitation(channels)
        self.final_conv = conv(channels, 1, 3)

    def forward(self, state: StageState) -> Tensor:
        x = state.background + state.target + state.noise
        return self.final_conv(self.channel_attention(self.mapping(x)))


@MODELS.register_module()
class RPCANetPlus(UnfoldingNetwork):
    """RPCANet+, 215,916 parameters at b = 4 and r = 6 (the paper's best).

    Published weights come in three sizes: SIRST-Aug b = 4, r = 6; NUDT-SIRST b = 16, r = 6 (475,188);
    IRSTD-1K b = 16, r = 3 (433,428); ``published_options`` are tried to say what a weight file fits.

    Args:
        num_stages: K.
        channels: Width C before squeeze-and-excitation and in the reconstruction step; at least 16.
        background_depth: Hidden convolutions of P after the first.
        target_depth: Hidden convolutions of S after the first.
        reconstruction_depth: Hidden convolutions of M after the first.
        bottleneck: Width b of the hidden layers of P, S and R.
        noise_depth: Hidden convolutions r of R after the first.
        carry_noise: Hand N from stage to stage, as the paper's equations do. False is what the
            published code does and the published weights need: every stage starts from N = 0.
    """

    local_steps = True
    published_options = tuple({'bottleneck': b, 'noise_depth': r} for b in (4, 16) for r in (3, 6))

    def __init__(
        self,
        num_stages: int = 6,
        channels: int = 32,
        background_depth: int = 3,
        target_depth: int = 6,
        reconstruction_depth: int = 3,
        bottleneck: int = 4,
        noise_depth: int = 6,
        carry_noise: bool = False,
    ) -> None:
        def make_stage() -> Stage:
            return Stage(
                BackgroundStep(channels, bottleneck, background_depth),
                TargetStep(channels, bottleneck, target_depth),
                ReconstructionStep(channels, reconstruction_depth),
                NoiseStep(channels, bottleneck, noise_depth),
            )

        super().__init__(num_stages, make_stage, has_noise=True, carry_noise=carry_noise)
        initialise(self)
