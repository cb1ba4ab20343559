"""Non-negative infrared patch-image model (Dai, Wu, Song, Guo, Infrared Phys. Technol. 81, 2017)."""

from __future__ import annotations

from functools import partial

import numpy as np

from drpca.baselines.base import IterationRecord
from drpca.baselines.proximal import nonnegative_soft_threshold, shrink_tail
from drpca.baselines.rpca import MAX_ITERATIONS, USUAL, Parts, PatchRPCA, Records
from drpca.baselines.svd import map_singular_values, singular_values
from drpca.registry import BASELINES

_PARAMETERS = {**USUAL, 'weight': 2.0, 'energy_ratio': 0.005, 'patch_size': 50}


@BASELINES.register_module()
class NIPPS(PatchRPCA):
    """min Σ_{i>N} σ_i(B) + λ‖T‖_1 s.t. D = B + T, T ≥ 0: the N largest singular values go free.

    N counts σ_i(D)/σ_1(D) ≥ ``energy_ratio``; λ = ``weight``/√min(m, n). Inexact augmented Lagrangian:

        T ← max(D − B + Y/μ − λ/μ, 0),   B ← partial SVT(D − T + Y/μ, 1/μ),   Y ← Y + μ(D − B − T),

    with Y_0 = D/max(σ_1, ‖D‖_∞/λ), μ_0 = 1.25/σ_1, ×1.5 up to 1e7·μ_0. Stops at ‖D − B − T‖/‖D‖ < 1e-7.

    Parameters: ``weight``; ``energy_ratio``; the rest as in :class:`drpca.baselines.rpca.PatchRPCA`. The two
    presets agree.
    """

    weight: float
    energy_ratio: float
    PRESETS = {'paper': _PARAMETERS, 'leaderboard': _PARAMETERS}

    def solve(self, patches: np.ndarray, frame: np.ndarray, records: Records) -> Parts:
        weight = self.weight / float(np.sqrt(min(patches.shape)))
        sigma = singular_values(patches, self.svd)
        keep = int(np.count_nonzero(sigma >= self.energy_ratio * sigma[0]))
        norm = float(np.linalg.norm(patches))
        mu = 1.25 / float(sigma[0])
        mu_end = mu * 1e7
        scaled_dual = patches / (max(sigma[0], np.abs(patches).max() / weight) * mu)  # Y/μ
        background = np.zeros_like(patches)
        sigma = sigma[:keep]
        for _ in range(MAX_ITERATIONS):
            shifted = patches + scaled_dual
            target = nonnegative_soft_threshold(shifted - background, weight / mu)
            shifted -= target
            background, sigma = map_singular_values(
                shifted, partial(shrink_tail, threshold=1 / mu, keep=keep), self.svd, self.device, len(sigma)
            )
            shifted -= background  # (Y + μ(D − B − T))/μ
            residual = float(np.linalg.norm(shifted - scaled_dual)) / norm
            previous, mu = mu, min(mu * 1.5, mu_end)
            scaled_dual = shifted * (previous / mu)
            if records is not None:
                objective = float(sigma[keep:].sum()) + weight * float(target.sum())
                records.append(IterationRecord(residual, objective, len(sigma), int(np.count_nonzero(target))))
            if residual < 1e-7:
                break
        return Parts(background, target)
