"""TensorRPCANet: robust PCA of a window of frames, unfolded; a network of this project.

A window is a tensor D of n frames, D = B + T (+ N): a background that lasts, a target that moves. One stage, with
learned functions in place of the proximal maps of a tensor method, each of which sees all frames:

    x = D − T − N        B = x + P(x, L(x))        L: low rank over unfolded space × time
    x = T + D − B − N    T = x − ε·S(x)
    x = N + D − B − T    N = x − σ·R(x)            where there is noise
    D = x + M(x), x = B + T + N

L unfolds every frame into patches of s × s pixels and their projections f to c features. At each place these are a
c × n matrix, and L gives one of rank r in its place, a product of r background features, each a mean of the frames by
weights of its own (over time they add up to 1), and of the share that each frame has in them (over the r they add up to
1). Weights and shares are computed from the patch and its neighbours:

    uⱼ = Σₜ softmaxₜ(kⱼₜ)·fₜ        L(x)ₜ = fold(Σⱼ softmaxⱼ(qₜⱼ)·uⱼ)

Shape legend: every variable is (B, n, H, W), oldest frame first.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from drpca.errors import UserError
from drpca.registry import MODELS

from .layers import conv, conv_stack, initialise
from .unfolding import Stage, StageState, UnfoldingNetwork

_PLACES = ('causal', 'centred')
_PRIOR = 4.0
"""Minus the logit of a pixel at the start of a training: targets are rare."""
_FIRST_STEP = 0.1
"""What P, S, R, M and L add at the start, of what a usual initialisation adds: a stage begins near the identity."""


class LowRankOverTime(nn.Module):
    """L: (B, n, H, W) → (B, n, H, W), H and W multiples of s.

    Args:
        frames: n.
        features: c.
        rank: r.
        patch: s.
    """

    def __init__(self, frames: int, features: int, rank: int, patch: int) -> None:
        super().__init__()
        self.frames, self.rank, self.patch = frames, rank, patch
        self.unfold = nn.Conv2d(1, features, patch, stride=patch)
        self.weights = conv(features, 2 * rank, 3)
        self.fold = conv(features, patch**2, 1)

    def forward(self, x: Tensor) -> Tensor:
        features = self.unfold(x.flatten(0, 1)[:, None])
        keys, queries = self.weights(features).unflatten(0, (-1, self.frames)).chunk(2, dim=2)  # (B, n, r, h, w)
        features = features.unflatten(0, (-1, self.frames))
        shares, parts = torch.softmax(keys, dim=1), torch.softmax(queries, dim=2)
        lasting = [(shares[:, :, j, None] * features).sum(dim=1, keepdim=True) for j in range(self.rank)]
        low = sum(parts[:, :, j, None] * lasting[j] for j in range(self.rank))
        patches = self.fold(low.flatten(0, 1))  # type: ignore[union-attr]
        return F.pixel_shuffle(patches, self.patch)[:, 0].unflatten(0, (-1, self.frames))


class BackgroundStep(nn.Module):
    """B = x + P(x, L(x)) with x = D − T − N."""

    def __init__(self, frames: int, channels: int, depth: int, rank: int, patch: int) -> None:
        super().__init__()
        self.low_rank = LowRankOverTime(frames, channels, rank, patch)
        widths = [2 * frames] + [channels] * (depth + 1)
        self.convs = nn.Sequential(*conv_stack(widths, normalise=True), conv(channels, frames, 3))

    def forward(self, state: StageState) -> Tensor:
        x = _rest(state, state.reconstruction, state.target, state.noise)
        return x + self.convs(torch.cat([x, self.low_rank(x) - x], dim=1))


class SparseStep(nn.Module):
    """V = x − ε·S(x) with x = V + D − all others, ε learned: of the target, and of the noise."""

    def __init__(self, frames: int, channels: int, depth: int, of: str) -> None:
        super().__init__()
        self.of = of
        widths = [frames] + [channels] * (depth + 1)
        self.convs = nn.Sequential(*conv_stack(widths, normalise=True), conv(channels, frames, 3))
        self.epsilon = nn.Parameter(torch.ones(1))

    def forward(self, state: StageState) -> Tensor:
        own, other = (state.target, state.noise) if self.of == 'target' else (state.noise, state.target)
        x = _rest(state, own + state.reconstruction, state.background, other)
        return x - self.epsilon * self.convs(x)


class ReconstructionStep(nn.Module):
    """D = x + M(x) with x = B + T + N."""

    def __init__(self, frames: int, channels: int, depth: int) -> None:
        super().__init__()
        widths = [frames] + [channels] * (depth + 1)
        self.mapping = nn.Sequential(*conv_stack(widths, normalise=True), conv(channels, frames, 3))

    def forward(self, state: StageState) -> Tensor:
        x = state.background + state.target
        x = x if state.noise is None else x + state.noise
        return x + self.mapping(x)


def _rest(state: StageState, whole: Tensor, *parts: Tensor | None) -> Tensor:
    """What is left of a variable without others, those that there are."""
    for part in parts:
        whole = whole if part is None else whole - part
    return whole


@MODELS.register_module()
class TensorRPCANet(UnfoldingNetwork):
    """Unfolded tensor robust PCA over a window, 49,239 parameters as it stands.

    Args:
        frames: n, at least 2.
        placement: ``'causal'``: it reports on the last frame of a window, as a camera needs it. ``'centred'``: on the
            middle one (of an even number the later), with a delay of n − 1 − ⌊n/2⌋ frames.
        num_stages: K.
        channels: Width of the hidden layers, and c.
        background_depth: Hidden convolutions of P after the first.
        target_depth: Hidden convolutions of S and R after the first.
        reconstruction_depth: Hidden convolutions of M after the first.
        rank: r.
        patch: s.
        noise: Split off noise N, too.

    Attributes:
        frames: n.
        reported: The frame of a window that its maps are of.

    Raises:
        UserError: Fewer than two frames, or an unknown placement.
    """

    frames = 8

    def __init__(
        self,
        frames: int = 8,
        placement: str = 'causal',
        num_stages: int = 3,
        channels: int = 16,
        background_depth: int = 1,
        target_depth: int = 2,
        reconstruction_depth: int = 0,
        rank: int = 2,
        patch: int = 4,
        noise: bool = False,
    ) -> None:
        if frames < 2 or placement not in _PLACES:
            raise UserError(
                f'TensorRPCANet: expected at least 2 frames and placement {" or ".join(_PLACES)}, got {frames} and '
                f'{placement!r}.'
            )

        def make_stage() -> Stage:
            return Stage(
                BackgroundStep(frames, channels, background_depth, rank, patch),
                SparseStep(frames, channels, target_depth, 'target'),
                ReconstructionStep(frames, channels, reconstruction_depth),
                SparseStep(frames, channels, target_depth, 'noise') if noise else None,
            )

        super().__init__(num_stages, make_stage, has_noise=noise)
        self.frames = self.in_channels = frames
        self.reported = (frames - 1 if placement == 'causal' else frames // 2,)
        self.size_multiple = patch
        initialise(self)
        with torch.no_grad():
            for step in self.modules():
                if isinstance(step, BackgroundStep | SparseStep):
                    step.convs[-1].weight.mul_(_FIRST_STEP)  # type: ignore[union-attr, operator]
                elif isinstance(step, ReconstructionStep):
                    step.mapping[-1].weight.mul_(_FIRST_STEP)  # type: ignore[union-attr, operator]
                elif isinstance(step, LowRankOverTime):
                    step.fold.weight.mul_(_FIRST_STEP)
        nn.init.constant_(self.decos[-1].sparse.convs[-1].bias, _PRIOR)  # type: ignore[union-attr, arg-type, index]

    def _shown(self, values: Tensor) -> Tensor:
        """The reported frame, (B, 1, H, W)."""
        return values[:, self.reported[0] : self.reported[0] + 1]

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Window (B, n, H, W) in [0, 1] → reconstruction and target logits of the reported frame, both (B, 1, H, W)."""
        reconstruction, target = super().forward(image)
        return self._shown(reconstruction), self._shown(target)

    def detect(self, image: Tensor) -> Tensor:
        """Target logits of the reported frame alone, (B, 1, H, W)."""
        return self._shown(super().detect(image))

    def decompose(self, image: Tensor) -> list[StageState]:
        """The decomposition of the reported frame after every stage, variables of (B, 1, H, W)."""
        return [
            StageState(*(None if value is None else self._shown(value) for value in state))
            for state in self.unroll(image)
        ]
