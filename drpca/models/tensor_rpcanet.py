"""TensorRPCANet: robust PCA of a window of frames, unfolded; a network of this project.

A window is a tensor D of n frames, D = B + T (+ N): a background that lasts, a target that moves. One stage, with
learned functions in place of the proximal maps of a tensor method, each of which sees all frames:

    x = D − T − N        B = A(x) + P(x, L(x) − x)     A: local mean, L: low rank over unfolded space × time
    x = T + D − B − N    T = x − ε·S(x)
    x = N + D − B − T    N = x − σ·R(x)                where there is noise
    D = x + M(x), x = B + T + N

A is the mean of 6 × 6 pixels of a frame, so that what a training starts from as T stands out of its neighbourhood.
P, S, R and M are convolutions of all frames at once.

L unfolds every frame into patches of s × s pixels and their projections f to c features. At each place these are a
c × n matrix, and L gives one of rank r in its place, a product of r background features, each a mean of the frames by
weights of its own (over time they add up to 1), and of the share that each frame has in them (over the r they add up to
1). Weights and shares are computed from the patch and its neighbours:

    uⱼ = Σₜ softmaxₜ(kⱼₜ)·fₜ        L(x)ₜ = fold(Σⱼ softmaxⱼ(qₜⱼ)·uⱼ)

First all frames are moved onto the reported one by whole pixels (:func:`align`), so that what is still lies still.

Shape legend: every variable is folded, (B, 4n, H/2, W/2): oldest frame first, the 2 × 2 pixels of a place as channels,
for speed.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from drpca.errors import UserError
from drpca.registry import MODELS, TRANSFORMS

from .layers import conv, conv_stack, initialise
from .unfolding import Stage, StageState, UnfoldingNetwork

_PLACES = ('causal', 'centred')
_PRIOR = 4.0
"""Minus the logit of a pixel at the start of a training: targets are rare."""
_FOLD = 2
_REACH, _BAND, _PERIOD, _GAIN = 16, 16, 4, 0.9
"""Of :func:`align`, in pixels: the longest shift, the width of a band, the length of the means along a profile; and the
share of the difference without a shift that must not be left."""
_FIRST_STEP = 0.1
"""What P, S, R, M and L add at the start, of what a usual initialisation adds: a stage begins near the identity."""


def align(window: Tensor, to: int) -> Tensor:
    """Moves every frame by whole pixels to where the background lies in one of them.

    Columns, then rows: every second band of 16 rows (columns) is averaged to a profile, over 4 columns (rows) more,
    in which the pattern of a sensor with several outputs drops out that does not move with the scene. Of the shifts of
    up to 16 pixels, a quarter of the side at most, that is taken at which the profiles of a frame differ least from
    those of frame ``to``, in mean absolute difference, each without its mean; a frame stays where that is not a tenth
    less than without a shift, as in noise. What a frame did not see is taken from frame ``to``: it counts as still. A
    long way along both axes at once may be missed.

    Args:
        window: (B, n, H, W) float, H and W at least 4.
        to: Place in the window of the frame that stays.

    Returns:
        (B, n, H, W).
    """
    sizes = torch.arange(-_REACH, _REACH + 1, device=window.device).abs()
    reported, inside = window[:, to : to + 1], []
    for axis in (3, 2):
        across = min(_BAND, window.shape[5 - axis])
        bands = F.avg_pool2d(window.float().transpose(axis, 3), (across, _PERIOD), stride=(2 * across, 1))
        padded = F.pad(bands, (_REACH, _REACH, 0, 0), mode='replicate')
        # Slices of the length of the bands, counted from the end: exports then take any size.
        moved = torch.stack([padded[..., k : k - 2 * _REACH or None] for k in range(2 * _REACH + 1)], dim=2)
        gaps = moved - bands[:, to : to + 1, None]
        costs = (gaps - gaps.mean(dim=4, keepdim=True)).abs().mean(dim=(3, 4)).nan_to_num(nan=0.0)
        costs = (costs + 1e-6 * sizes).masked_fill(4 * sizes > window.shape[axis], float('inf'))
        least, best = costs.min(dim=2, keepdim=True)  # of equal ones the smallest shift
        shift = (best - _REACH) * (least < _GAIN * costs[:, :, _REACH : _REACH + 1])
        own = torch.arange(window.shape[axis], device=window.device)
        places = torch.minimum((own + shift).clamp(min=0), own[-1])
        window = window.gather(axis, places.unsqueeze(5 - axis).expand_as(window))
        inside.append((places == own + shift).unsqueeze(5 - axis))
    return torch.where(inside[0] & inside[1], window, reported)


@TRANSFORMS.register_module()
class AlignFrames:
    """:func:`align` of whole windows, before crops are cut out of them for a training.

    Args:
        to: Place of the frame that stays; -1 for the last.
    """

    takes_windows = True

    def __init__(self, to: int = -1) -> None:
        self.to = to

    def __call__(self, sample: dict[str, Any]) -> dict[str, Any]:
        frames = torch.from_numpy(np.ascontiguousarray(np.moveaxis(sample['image'], -1, 0)))[None]
        moved = align(frames, self.to % frames.shape[1])[0].numpy()
        return sample | {'image': np.moveaxis(moved, 0, -1)}


class LowRankOverTime(nn.Module):
    """L: (B, 4n, H/2, W/2) → the same, H and W multiples of s.

    Args:
        frames: n.
        features: c.
        rank: r.
        patch: s, even.
    """

    def __init__(self, frames: int, features: int, rank: int, patch: int) -> None:
        super().__init__()
        self.frames, self.rank, self.step = frames, rank, patch // _FOLD
        self.unfold = nn.Conv2d(_FOLD**2, features, self.step, stride=self.step)
        self.weights = conv(features, 2 * rank, 3)
        self.fold = conv(features, patch**2, 1)

    def forward(self, x: Tensor) -> Tensor:
        features = self.unfold(x.unflatten(1, (self.frames, -1)).flatten(0, 1))
        keys, queries = self.weights(features).unflatten(0, (-1, self.frames)).chunk(2, dim=2)  # (B, n, r, h, w)
        features = features.unflatten(0, (-1, self.frames))
        shares, parts = torch.softmax(keys, dim=1), torch.softmax(queries, dim=2)
        lasting = [(shares[:, :, j, None] * features).sum(dim=1, keepdim=True) for j in range(self.rank)]
        low = sum(parts[:, :, j, None] * lasting[j] for j in range(self.rank))
        patches = self.fold(low.flatten(0, 1))  # type: ignore[union-attr]
        return F.pixel_shuffle(patches, self.step).unflatten(0, (-1, self.frames)).flatten(1, 2)


def _mapping(given: int, frames: int, channels: int, depth: int) -> nn.Sequential:
    """P, S, R or M of ``given`` variables."""
    widths = [given * _FOLD**2 * frames] + [channels] * (depth + 1)
    return nn.Sequential(*conv_stack(widths, normalise=True), conv(channels, _FOLD**2 * frames, 3))


class BackgroundStep(nn.Module):
    """B = A(x) + P(x, L(x) − x) with x = D − T − N."""

    def __init__(self, frames: int, channels: int, depth: int, rank: int, patch: int) -> None:
        super().__init__()
        self.low_rank = LowRankOverTime(frames, channels // 2, rank, patch)
        self.convs = _mapping(2, frames, channels, depth)

    def forward(self, state: StageState) -> Tensor:
        x = _rest(state, state.reconstruction, state.target, state.noise)
        places = x.unflatten(1, (-1, _FOLD**2))
        around = F.avg_pool2d(places.mean(dim=2), 3, stride=1, padding=1, count_include_pad=False)
        mean = around[:, :, None].expand_as(places).flatten(1, 2)
        return mean + self.convs(torch.cat([x, self.low_rank(x) - x], dim=1))


class SparseStep(nn.Module):
    """V = x − ε·S(x) with x = V + D − all others, ε learned: of the target, and of the noise."""

    def __init__(self, frames: int, channels: int, depth: int, of: str) -> None:
        super().__init__()
        self.of = of
        self.convs = _mapping(1, frames, channels, depth)
        self.epsilon = nn.Parameter(torch.ones(1))

    def forward(self, state: StageState) -> Tensor:
        own, other = (state.target, state.noise) if self.of == 'target' else (state.noise, state.target)
        x = _rest(state, own + state.reconstruction, state.background, other)
        return x - self.epsilon * self.convs(x)


class ReconstructionStep(nn.Module):
    """D = x + M(x) with x = B + T + N."""

    def __init__(self, frames: int, channels: int, depth: int) -> None:
        super().__init__()
        self.mapping = _mapping(1, frames, channels, depth)

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
    """Unfolded tensor robust PCA over a window, 80,250 parameters as it stands.

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
    program_min_size = 3 * _BAND
    """Of programs of torch.export, which do not take one band alone: :func:`align` then has two."""

    def __init__(
        self,
        frames: int = 8,
        placement: str = 'causal',
        num_stages: int = 2,
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
        self.pad_mode = 'replicate'  # an edge that stands still would hold the alignment
        initialise(self)
        with torch.no_grad():
            for step in self.modules():
                if isinstance(step, BackgroundStep | SparseStep):
                    step.convs[-1].weight.mul_(_FIRST_STEP)  # type: ignore[union-attr, operator]
                elif isinstance(step, ReconstructionStep):
                    step.mapping[-1].weight.mul_(_FIRST_STEP)  # type: ignore[union-attr, operator]
                elif isinstance(step, LowRankOverTime):
                    step.fold.weight.mul_(_FIRST_STEP)
            self.decos[-1].sparse.convs[-1].weight.div_(_FIRST_STEP)  # type: ignore[union-attr, index, operator]
        nn.init.constant_(self.decos[-1].sparse.convs[-1].bias, _PRIOR)  # type: ignore[union-attr, arg-type, index]

    def _shown(self, values: Tensor) -> Tensor:
        """The reported frame of a variable, (B, 1, H, W)."""
        first = self.reported[0] * _FOLD**2
        return F.pixel_shuffle(values[:, first : first + _FOLD**2], _FOLD)

    def _folded(self, image: Tensor) -> Tensor:
        """What enters the stages; in training windows are aligned before they are cut to crops."""
        return F.pixel_unshuffle(image if self.training else align(image, self.reported[0]), _FOLD)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Window (B, n, H, W) in [0, 1] → reconstruction and target logits of the reported frame, both (B, 1, H, W)."""
        reconstruction, target = super().forward(self._folded(image))
        return self._shown(reconstruction), self._shown(target)

    def detect(self, image: Tensor) -> Tensor:
        """Target logits of the reported frame alone, (B, 1, H, W)."""
        return self._shown(super().detect(self._folded(image)))

    def decompose(self, image: Tensor) -> list[StageState]:
        """The decomposition of the reported frame after every stage, variables of (B, 1, H, W)."""
        return [
            StageState(*(None if value is None else self._shown(value) for value in state))
            for state in self.unroll(self._folded(image))
        ]
