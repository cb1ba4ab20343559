"""Infrared patch-image model (Gao et al., IEEE TIP 22(12), 2013)."""

from __future__ import annotations

from functools import partial
from typing import Any, ClassVar

import numpy as np

from drpca.baselines.base import IterationRecord
from drpca.baselines.proximal import nonnegative_soft_threshold, shrink_tail, soft_threshold
from drpca.baselines.rpca import MAX_ITERATIONS, USUAL, Parts, PatchRPCA, Records, admm
from drpca.baselines.svd import map_singular_values, singular_values
from drpca.registry import BASELINES


@BASELINES.register_module()
class IPI(PatchRPCA):
    """min ‖B‖_* + λ‖T‖_1 over patch matrices, λ = 1/√max(H, W).

    'paper': accelerated proximal gradient on min μ(‖B‖_* + λ‖T‖_1) + ½‖D − B − T‖²_F, D min-max normalised,
    patches aggregated by the median. 'leaderboard': ADMM with T ≥ 0 on grey values, see
    :func:`drpca.baselines.rpca.admm`; patches stop short of the far border, and the last patch over a pixel
    is left out of its mean.

    Parameters: ``solver``, 'apg' or 'admm'; the rest as in :class:`drpca.baselines.rpca.PatchRPCA`.
    """

    solver: str
    CHOICES: ClassVar[dict[str, tuple[str, ...]]] = {**PatchRPCA.CHOICES, 'solver': ('apg', 'admm')}
    PRESETS = {
        'paper': {**USUAL, 'solver': 'apg', 'patch_size': 50, 'coverage': 'fitting', 'aggregation': 'median'},
        'leaderboard': {
            **USUAL, 'input_size': (256, 256), 'solver': 'admm', 'patch_size': 30, 'coverage': 'inside',
            'aggregation': 'mean_without_last',
        },
    }  # fmt: skip

    def __init__(self, preset: str = 'leaderboard', **overrides: Any) -> None:
        super().__init__(preset, **overrides)
        self.scaling = 'minmax' if self.solver == 'apg' else 'grey'

    def solve(self, patches: np.ndarray, frame: np.ndarray, records: Records) -> Parts:
        weight = 1 / float(np.sqrt(max(frame.shape)))
        if self.solver == 'apg':
            return self._solve_apg(patches, weight, records)
        return admm(
            patches,
            lambda values, rho: nonnegative_soft_threshold(np.maximum(values, 0), weight / rho),
            lambda target: weight * float(target.sum()),
            True,
            self.svd,
            self.device,
            records,
        )

    def _solve_apg(self, data: np.ndarray, weight: float, records: Records) -> Parts:
        """Y = X_k + (t_{k−1} − 1)/t_k · (X_k − X_{k−1}) for X = (B, T), G = Y − ½(Y_B + Y_T − D), then

            B ← SVT(G_B, μ/2),   T ← soft(G_T, λμ/2),   t ← (1 + √(1 + 4t²))/2,   μ ← max(0.9μ, μ̄).

        μ_0 = σ_2(D), μ̄ = 0.005·σ_4(D). Stops when the step is small, when the rank has settled and T hardly
        changes, or when the rank passes 0.3·min(m, n).
        """
        sigma = singular_values(data, self.svd)
        mu, mu_end = float(sigma[min(1, len(sigma) - 1)]), 0.005 * float(sigma[min(3, len(sigma) - 1)])
        norm = float(np.linalg.norm(data))
        low_rank = np.zeros_like(data)
        sparse = np.zeros_like(data)
        last_low_rank, last_sparse = low_rank, sparse
        t_last = t = 1.0
        rank, nonzeros, steady = 0, 0, 0
        for _ in range(MAX_ITERATIONS):
            momentum = (t_last - 1) / t
            y_low_rank = low_rank + momentum * (low_rank - last_low_rank)
            y_sparse = sparse + momentum * (sparse - last_sparse)
            gap = (y_low_rank + y_sparse - data) / 2
            last_low_rank, last_sparse = low_rank, sparse
            low_rank, sigma = map_singular_values(
                y_low_rank - gap, partial(shrink_tail, threshold=mu / 2, keep=0), self.svd, self.device
            )
            sparse = soft_threshold(y_sparse - gap, weight * mu / 2)
            t_last, t = t, (1 + np.sqrt(1 + 4 * t**2)) / 2
            mu = max(0.9 * mu, mu_end)

            total = low_rank + sparse - y_low_rank - y_sparse
            slope = np.hypot(
                np.linalg.norm(2 * (y_low_rank - low_rank) + total), np.linalg.norm(2 * (y_sparse - sparse) + total)
            )
            size = np.hypot(np.linalg.norm(low_rank), np.linalg.norm(sparse))
            last_rank, rank = rank, len(sigma)
            last_nonzeros, nonzeros = nonzeros, int(np.count_nonzero(sparse))
            if records is not None:
                residual = float(np.linalg.norm(data - low_rank - sparse)) / norm
                objective = float(sigma.sum()) + weight * float(np.abs(sparse).sum())
                records.append(IterationRecord(residual, objective, rank, nonzeros))
            steady = steady + 1 if rank == last_rank else 0
            if (
                slope <= 2e-6 * max(1.0, float(size))
                or (steady > 10 and abs(nonzeros - last_nonzeros) < 20)
                or rank > 0.3 * min(data.shape)
            ):
                break
        return Parts(low_rank, sparse)
