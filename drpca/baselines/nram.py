"""Non-convex rank approximation minimisation (Zhang et al., Remote Sensing 10(11):1821, 2018)."""

from __future__ import annotations

from functools import partial

import numpy as np

from drpca.baselines.base import IterationRecord
from drpca.baselines.proximal import shrink_columns, shrink_gamma
from drpca.baselines.rpca import MAX_ITERATIONS, USUAL, Parts, PatchRPCA, Records
from drpca.baselines.svd import map_singular_values
from drpca.registry import BASELINES


@BASELINES.register_module()
class NRAM(PatchRPCA):
    """min ‖B‖_γ + λ‖W∘T‖_1 + β‖N‖_{2,1} s.t. D = B + T + N, D min-max normalised.

    ‖B‖_γ = Σ (1 + γ)σ_i/(γ + σ_i); λ = 1/√min(m, n), β = 3/√min(m, n); W is refreshed in every iteration:

        B ← γ-shrinkage of D − T − N − Y/μ (:func:`drpca.baselines.proximal.shrink_gamma`, warm-started),
        T ← soft(Q, λW/μ), Q = D − B − N − Y/μ, W = (√min(m, n)/2.5)/(|Q| + 0.04),
        N ← column shrinkage of D − B − T − Y/μ by β/μ,
        Y ← Y + μ(B + T + N − D),   μ ← 1.1·μ, μ_0 = 3√max(m, n).

    'leaderboard' follows the published code: its threshold for negative entries of T lacks the 1/μ, so few
    of them survive, and later patches overwrite earlier ones. 'paper' does without both.

    Parameters: ``gamma``, γ; ``negative_threshold``, 'scaled' by 1/μ or 'unscaled'; the rest as in
    :class:`drpca.baselines.rpca.PatchRPCA`.
    """

    gamma: float
    negative_threshold: str
    scaling = 'minmax'
    CHOICES = {**PatchRPCA.CHOICES, 'negative_threshold': ('scaled', 'unscaled')}
    PRESETS = {
        'paper': {**USUAL, 'gamma': 0.002, 'negative_threshold': 'scaled', 'patch_size': 50},
        'leaderboard': {
            **USUAL, 'gamma': 0.002, 'negative_threshold': 'unscaled', 'patch_size': 50, 'aggregation': 'last',
        },
    }  # fmt: skip

    def solve(self, patches: np.ndarray, frame: np.ndarray, records: Records) -> Parts:
        root = float(np.sqrt(min(patches.shape)))
        norm = float(np.linalg.norm(patches))
        mu = 3 * np.sqrt(max(patches.shape))
        target, noise, scaled_dual = (np.zeros_like(patches) for _ in range(3))  # T, N, Y/μ
        sigma, rank = np.zeros(min(patches.shape)), None
        for _ in range(MAX_ITERATIONS):
            shifted = patches - scaled_dual
            background, positive = map_singular_values(
                shifted - target - noise,
                partial(shrink_gamma, threshold=1 / mu, gamma=self.gamma, start=sigma),
                self.svd,
                self.device,
                rank,
            )
            rank = len(positive)
            sigma = np.pad(positive, (0, min(patches.shape) - rank))
            shifted -= background
            rest = shifted - noise
            weight = 1 / (2.5 * (np.abs(rest) + 0.04))  # λW
            threshold = weight / mu
            down = threshold if self.negative_threshold == 'scaled' else weight
            target = np.maximum(rest - threshold, 0) + np.minimum(rest + down, 0)
            shifted -= target
            noise = shrink_columns(shifted, 3 / root / mu)
            shifted -= noise  # −(Y + μ(B + T + N − D))/μ
            residual = float(np.linalg.norm(shifted + scaled_dual)) / norm
            if records is not None:
                objective = (
                    float(((1 + self.gamma) * positive / (self.gamma + positive)).sum())
                    + float((weight * np.abs(target)).sum())
                    + 3 / root * float(np.linalg.norm(noise, axis=0).sum())
                )
                records.append(IterationRecord(residual, objective, rank, int(np.count_nonzero(target))))
            scaled_dual = shifted / -1.1
            mu *= 1.1
            if residual < 1e-7:
                break
        return Parts(background, target, noise)
