"""Fully connected tensor network with spatial and temporal prior (STPA-FCTN of TensorISTD, UESTC, 2025)."""

from __future__ import annotations

import itertools

import numpy as np

from drpca.baselines.tensor_ring import USUAL, PatchTensor
from drpca.baselines.windows import DIRECTIONS, line_values
from drpca.registry import BASELINES

BLOCK = 64
"""Side of a block that is looked for in another frame, in pixels."""
REACH = 8
"""Pixels that a block may move from one frame to the next."""
_LINE = (0, 0, 0, 0.004, 0.992, 0.004, -0.274, -0.452, -0.274)


def spatial_contrast(frame: np.ndarray) -> np.ndarray:
    """How much a pixel differs from all eight sides: the smallest of |0.992 I(0) + 0.004 (I(1) + I(−1)) − 0.274 (I(2) +
    I(4)) − 0.452 I(3)| along the eight directions, over the largest of the frame; (H, W) in [0, 1]."""
    lines = (np.stack(line_values(frame, len(_LINE), direction)) for direction in DIRECTIONS)
    return _over_largest(np.min([np.abs(np.tensordot(_LINE, line, 1)) for line in lines], axis=0))


def displacement(frame: np.ndarray, other: np.ndarray, reach: int) -> tuple[int, int]:
    """Rows and columns by which a frame's content lies further in the other one.

    Mean over three blocks of 64² pixels (half the frame, if that is less) at ¼, ½ and ¾ of the diagonal, each at its
    smallest mean absolute difference up to ``reach`` pixels away, of equal ones the nearest.
    """
    side = min(BLOCK, min(frame.shape) // 2)
    reach = min(reach, (min(frame.shape) - side) // 2)
    steps = range(-reach, reach + 1)
    moves = sorted(itertools.product(steps, steps), key=lambda move: move[0] ** 2 + move[1] ** 2)
    found = []
    for share in (0.25, 0.5, 0.75):
        row, column = (int(np.clip(share * n - side / 2, reach, n - side - reach)) for n in frame.shape)
        block = frame[row : row + side, column : column + side]
        near = other[row - reach : row + side + reach, column - reach : column + side + reach]
        views = np.lib.stride_tricks.sliding_window_view(near, (side, side))
        found.append(
            moves[np.argmin([np.abs(views[down + reach, right + reach] - block).sum() for down, right in moves])]
        )
    down, right = np.rint(np.mean(found, axis=0)).astype(int)
    return int(down), int(right)


def temporal_contrast(frames: np.ndarray, number: int) -> np.ndarray:
    """max(I − m, 0) over its largest value, m = ⅜(I₋₁ + I₊₁) + ⅛(I₋₂ + I₊₂) of the neighbours moved onto the frame.

    Args:
        frames: (n, H, W).
        number: Which one, with two frames before and behind it.
    """
    frame = frames[number]
    expected = np.zeros_like(frame)
    for distance, weight in ((-2, 0.125), (-1, 0.375), (1, 0.375), (2, 0.125)):
        other = frames[number + distance]
        moved = displacement(frame, other, REACH * abs(distance))
        rows, columns = (np.clip(np.arange(n) + by, 0, n - 1) for n, by in zip(frame.shape, moved))
        expected += weight * other[np.ix_(rows, columns)]
    return _over_largest(np.maximum(frame - expected, 0))


def _over_largest(values: np.ndarray) -> np.ndarray:
    high = values.max()
    return values / high if high > 0 else values


def spatial_temporal_prior(frames: np.ndarray) -> np.ndarray:
    """P of consecutive frames, (n, H, W) in [0, 1]: the product of both contrasts, of the first and last two frames the
    spatial one, each frame brought from its range to [0, 1]."""
    found = []
    for number, frame in enumerate(frames):
        prior = spatial_contrast(frame)
        if 2 <= number < len(frames) - 2:
            prior = prior * temporal_contrast(frames, number)
        found.append(_over_largest(prior - prior.min()))
    return np.stack(found)


@BASELINES.register_module()
class STPAFCTN(PatchTensor):
    """The problem of :mod:`drpca.baselines.unfoldings` without N and with λ₁‖Ω∘T‖₁, with the unfoldings of a fully
    connected tensor network, α = ⅓ each:

        (row, column) × (frame, patch),   (frame, row) × (column, patch),   (column, frame) × (row, patch).

    Ω = 1 at first, then min(1/((|T| + 0.01)P), 100) after each step of T, P from :func:`spatial_temporal_prior`.

    Written after a description of the published code and checked against no run of it. Chosen here, where that leaves
    it open: borders mirrored (of the lines) and repeated (of moved frames); where the three blocks lie; that P has the
    range [0, 1] in each frame; that 'the first and last two frames' are those of a block.

    Parameters: as :class:`drpca.baselines.tensor_ring.PatchTensor`, without ``noise_weight``.
    """

    UNFOLDINGS = (((0, 1, 2, 3), 2), ((2, 0, 1, 3), 2), ((1, 2, 0, 3), 2))
    PRESETS = {
        'toolbox': {
            **{name: value for name, value in USUAL.items() if name != 'noise_weight'},
            'patch_size': 70, 'step': 70, 'sparsity': 0.015, 'tolerance': 1e-3, 'max_iterations': 200,
        }
    }  # fmt: skip
    noise_weight = None

    def prior(self, frames: np.ndarray) -> np.ndarray:
        return spatial_temporal_prior(frames)
