"""Partial sum of the tensor nuclear norm (Zhang, Peng, Remote Sensing 11(4):382, 2019)."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from drpca.baselines.base import IterationRecord
from drpca.baselines.proximal import nonnegative_soft_threshold, shrink_tail
from drpca.baselines.rpca import Parts, PatchRPCA, Records
from drpca.baselines.structure import corner_edge_prior
from drpca.baselines.svd import singular_values
from drpca.baselines.tensor import map_tensor_singular_values
from drpca.registry import BASELINES

MAX_ITERATIONS = 500


_PAPER = {
    'input_size': None, 'rank_from': 'unfolding', 'drop_slice': False, 'quantise': False, 'patch_size': 40, 'step': 40,
    'coverage': 'flush', 'aggregation': 'mean',
}  # fmt: skip


@BASELINES.register_module()
class PSTNN(PatchRPCA):
    """min ‖B‖_PSTNN + λ‖Ω∘T‖_1 s.t. D = B + T, T ≥ 0 over patch tensors (p, p, n).

    The PSTNN sums all but the N largest singular values of the Fourier slices; λ = 0.7/√(p·n); Ω is refreshed
    in every iteration from the prior W (:func:`drpca.baselines.structure.corner_edge_prior`):

        B ← partial tensor SVT(D − T − Y/μ, 1/μ),   T ← max(D − B − Y/μ − Ω·λ/μ, 0),
        Ω ← N/(|T| + 0.01)/W,   Y ← Y + μ(B + T − D),   μ ← 1.05·μ, μ_0 = 0.002.

    N counts the singular values of the mode-3 unfolding (n × p·p) that are at least a tenth of the largest.
    Stops at ‖B + T − D‖/‖D‖ < 1e-3 or when the number of non-zero entries of T stays the same above 0.

    'leaderboard' follows three quirks: N from a column-major *reshape* of D to n × p·p, which mixes patches;
    the Fourier slice of the highest frequency is dropped where n is odd and n/2 rounds down to an even number
    (half-way cases rounded to even); the map is stretched to the image's maximum and rounded to integers.

    Parameters: ``rank_from``, 'unfolding' or 'reshape'; ``drop_slice`` and ``quantise``, the other two
    quirks; the rest as in :class:`drpca.baselines.rpca.PatchRPCA`.
    """

    rank_from: str
    drop_slice: bool
    quantise: bool
    CHOICES: ClassVar[dict[str, tuple[str, ...]]] = {**PatchRPCA.CHOICES, 'rank_from': ('unfolding', 'reshape')}
    PRESETS = {
        'paper': _PAPER,
        'leaderboard': {
            **_PAPER, 'input_size': (256, 256), 'rank_from': 'reshape', 'drop_slice': True, 'quantise': True,
            'aggregation': 'last',
        },
    }  # fmt: skip

    def detect(self, frame: np.ndarray) -> np.ndarray:
        target = super().detect(frame)
        if not self.quantise or target.max() == target.min():
            return target
        return np.round((target - target.min()) / np.ptp(target) * frame.max())

    def solve(self, patches: np.ndarray, frame: np.ndarray, records: Records) -> Parts:
        grid = self.grid(frame.shape)
        side, count = self.patch_size, len(grid)
        data = patches.reshape(side, side, count)
        prior = grid.patches(corner_edge_prior(frame))
        weight = 0.7 / float(np.sqrt(side * count))
        keep = self._rank(data)
        slices = round(count / 2) + (count % 2 == 0) if self.drop_slice else count // 2 + 1

        def shrink(values: np.ndarray) -> np.ndarray:
            shrunk = shrink_tail(values, 1 / mu, keep)
            shrunk[slices:] = 0
            return shrunk

        norm = float(np.linalg.norm(data))
        mu = 2e-3
        target, scaled_dual = np.zeros_like(data), np.zeros_like(data)  # T, Y/μ
        omega = np.ones_like(data)
        nonzeros = 0
        for _ in range(MAX_ITERATIONS):
            shifted = data - scaled_dual
            background, sigma = map_tensor_singular_values(shifted - target, shrink)
            shifted -= background
            target = nonnegative_soft_threshold(shifted, omega * (weight / mu))
            cost = float(np.multiply(omega, target, where=target > 0, out=np.zeros_like(data)).sum())
            with np.errstate(divide='ignore', over='ignore'):  # infinite where W = 0: T stays 0 there
                omega = keep / (np.abs(target) + 0.01) / prior
            shifted -= target  # −(Y + μ(B + T − D))/μ
            residual = float(np.linalg.norm(shifted + scaled_dual)) / norm
            scaled_dual = shifted / -1.05
            mu *= 1.05
            previous, nonzeros = nonzeros, int(np.count_nonzero(target))
            if records is not None:
                objective = float(sigma[:, keep:].sum()) + weight * cost
                rank = int(np.count_nonzero(sigma, axis=1).max())
                records.append(IterationRecord(residual, objective, rank, nonzeros))
            if residual < 1e-3 or (nonzeros == previous and nonzeros > 0):
                break
        return Parts(background, target)

    def _rank(self, data: np.ndarray) -> int:
        """N, at least 1."""
        count = data.shape[2]
        if self.rank_from == 'reshape':
            matrix = data.reshape(count, -1, order='F')
        else:
            matrix = data.reshape(-1, count)
        sigma = singular_values(matrix)
        return max(1, int(np.count_nonzero(sigma >= 0.1 * sigma[0])))
