"""Non-convex spatial-temporal tensor with a capped nuclear norm (Wang, Tao, Kong, Peng, IEEE TGRS 60, 2021)."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from drpca.baselines.base import IterationRecord
from drpca.baselines.frame_windows import PatchStack, Placement, SolvedFrames, WindowBaseline
from drpca.baselines.patches import refuse_gaps
from drpca.baselines.proximal import nonnegative_soft_threshold
from drpca.baselines.rpca import Parts, Records
from drpca.baselines.tensor import map_tensor_singular_values
from drpca.registry import BASELINES

MAX_ITERATIONS = 500
TOLERANCE = 1e-2
GROWTH = 1.05
NEIGHBOURS = 9
CENTRE = 4
"""The patch itself among its 3 × 3 neighbours, row by row."""


class NeighbourTensor(WindowBaseline):
    """Base of the methods that stack, for each patch, its 3 × 3 neighbours in all frames of a window.

        min ‖B‖_capped + λ‖T‖₁   s.t. D = B + T, T ≥ 0

    over tensors (p, p, 9·window) of grey levels; the norm sums, over the Fourier slices, the singular values beyond
    the N_i largest of slice i. With a penalty μ that grows by 1.05 per iteration:

        B ← partial tensor SVT(D − T − Y/μ, 1/μ),   T ← max(D − B − Y/μ − λ/μ, 0),   Y ← Y + μ(B + T − D).

    Stops at ‖B + T − D‖/‖D‖ < 1e-2 or when the number of non-zero entries of T stays the same above 0. A neighbour that
    the image lacks is replaced by the nearest patch; overlapping patches are averaged.

    Parameters: ``window``, frames, odd; ``patch_size`` p and ``step`` in pixels.
    """

    patch_size: int
    step: int
    placement: ClassVar[Placement] = 'centred'
    ODD = ('window',)
    penalty: ClassVar[float]

    def __init__(self, preset: str = 'toolbox', **overrides: Any) -> None:
        super().__init__(preset, **overrides)
        self.min_size = self.patch_size
        refuse_gaps(type(self).__name__, self.patch_size, self.step)

    @property
    def sparse_weight(self) -> float:
        """λ."""
        raise NotImplementedError

    def ranks(self, background: np.ndarray, sigma: np.ndarray) -> np.ndarray | int:
        """N_i of the next iteration, (Fourier slices,), from B and the singular values of its Fourier slices."""
        raise NotImplementedError

    @property
    def order(self) -> list[int]:
        """Frames of the window in the order in which their slices are stacked."""
        return list(range(self.window))

    @property
    def filled(self) -> int:
        """Frames of that order that are filled in; the slices of the others stay 0."""
        return self.window

    @property
    def read(self) -> list[int]:
        """Place in that order from which the map of each frame is read."""
        return [self.order.index(frame) for frame in range(self.window)]

    def solve(self, frames: np.ndarray, records: Records) -> SolvedFrames:
        stack = PatchStack(frames.shape[1:], self.patch_size, self.step)
        corners = stack.grid.corners
        rows, columns = (sorted(set(places)) for places in zip(*corners))
        patches = stack.patches(frames)  # (p, p, window, patches), patches column by column
        found = []
        for place in range(len(corners)):
            column, row = divmod(place, len(rows))
            near = [
                min(max(column + right, 0), len(columns) - 1) * len(rows) + min(max(row + down, 0), len(rows) - 1)
                for down in (-1, 0, 1)
                for right in (-1, 0, 1)
            ]
            data = np.zeros((*patches.shape[:2], self.window, NEIGHBOURS))
            data[:, :, : self.filled] = patches[:, :, self.order[: self.filled]][..., near]
            parts = self.solve_tensor(data.reshape(*data.shape[:2], -1), records)
            middles = [NEIGHBOURS * self.order.index(frame) + CENTRE for frame in range(self.window)]
            read = [NEIGHBOURS * place + CENTRE for place in self.read]
            found.append((parts.background[:, :, middles], parts.target[:, :, middles], parts.target[:, :, read]))
        background, target, maps = (stack.frames(np.stack(part, axis=3)) for part in zip(*found))
        empty = self.order[self.filled :]
        background[empty], target[empty] = frames[empty], 0  # nothing is said of these
        return SolvedFrames(maps, Parts(background, target), 1.0)

    def solve_tensor(self, data: np.ndarray, records: Records = None) -> Parts:
        """B and T of one tensor (p, p, slices)."""
        norm = float(np.linalg.norm(data))
        weight, mu = self.sparse_weight, self.penalty
        keep: np.ndarray | int = self.first_rank
        target, scaled_dual = np.zeros_like(data), np.zeros_like(data)  # T, Y/μ
        background = data
        nonzeros = 0

        def shrink(sigma: np.ndarray) -> np.ndarray:
            kept = np.arange(sigma.shape[1]) < np.reshape(keep, (-1, 1))
            return np.where(kept, sigma, np.maximum(sigma - 1 / mu, 0))

        for _ in range(MAX_ITERATIONS if norm else 0):
            shifted = data - scaled_dual
            background, sigma = map_tensor_singular_values(shifted - target, shrink)
            objective = float(
                sigma[np.arange(sigma.shape[1]) >= np.reshape(keep, (-1, 1)) * np.ones((len(sigma), 1))].sum()
            )
            keep = self.ranks(background, sigma)
            shifted -= background
            target = nonnegative_soft_threshold(shifted, weight / mu)
            shifted -= target  # −(Y + μ(B + T − D))/μ
            residual = float(np.linalg.norm(shifted + scaled_dual)) / norm
            previous, nonzeros = nonzeros, int(np.count_nonzero(target))
            if records is not None:
                rank = int(np.count_nonzero(sigma, axis=1).max())
                records.append(IterationRecord(residual, objective + weight * float(target.sum()), rank, nonzeros))
            if residual < TOLERANCE or (nonzeros == previous and nonzeros > 0):
                break
            scaled_dual = shifted / -GROWTH
            mu *= GROWTH
        return Parts(background, target)

    first_rank: ClassVar[int]


@BASELINES.register_module()
class NPSTT(NeighbourTensor):
    """:class:`NeighbourTensor` with N_i = 1 at first, then the number of singular values above 3 of slice i of B;
    λ = 0.5/√(9 · window · p); the map of a frame is its own patch in the middle of the window.

    'toolbox' follows two slips of the published code: the frames after the middle one stay 0, so that the last three
    frames of a sequence have empty maps, and N_i is counted in the slices of B, not in its Fourier slices, to which it
    is applied. 'paper' does neither.

    Parameters: as :class:`NeighbourTensor`.
    """

    penalty = 1e-3
    first_rank = 1
    PRESETS = {name: {'input_size': None, 'window': 7, 'patch_size': 70, 'step': 70} for name in ('toolbox', 'paper')}

    @property
    def sparse_weight(self) -> float:
        return 0.5 / float(np.sqrt(NEIGHBOURS * self.window * self.patch_size))

    @property
    def filled(self) -> int:
        return self.window // 2 + 1 if self.preset == 'toolbox' else self.window

    def ranks(self, background: np.ndarray, sigma: np.ndarray) -> np.ndarray:
        if self.preset == 'toolbox':
            slices = background[:, :, : len(sigma)].transpose(2, 0, 1)
            sigma = np.linalg.svd(slices, compute_uv=False)
        return np.count_nonzero(sigma > 3, axis=1)
