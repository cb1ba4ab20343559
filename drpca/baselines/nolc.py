"""Non-convex optimisation with an Lp-norm constraint (Zhang et al., Remote Sensing 11(5):559, 2019)."""

from __future__ import annotations

from typing import Any

import numpy as np

from drpca.baselines.proximal import lp_threshold
from drpca.baselines.rpca import USUAL, Parts, PatchRPCA, Records, admm
from drpca.errors import UserError
from drpca.registry import BASELINES


@BASELINES.register_module()
class NOLC(PatchRPCA):
    """min ‖B‖_* + λ‖T‖_p^p s.t. D = B + T, T ≥ 0, by :func:`drpca.baselines.rpca.admm` on values in [0, 1].

    λ = 1/√max(p·p, n) of a 30 × 30 patch is 1/30; ``weight`` sets it. 'paper' covers the whole image with
    patches; 'leaderboard' stops short of the far border.

    Parameters: ``power``, p in (0, 1); ``weight``, λ; the rest as in
    :class:`drpca.baselines.rpca.PatchRPCA`.
    """

    power: float
    weight: float
    scaling = 'unit'
    PRESETS = {
        'paper': {**USUAL, 'power': 0.6, 'weight': 1 / 30, 'patch_size': 30},
        'leaderboard': {**USUAL, 'power': 0.6, 'weight': 1 / 30, 'patch_size': 30, 'coverage': 'inside'},
    }

    def __init__(self, preset: str = 'leaderboard', **overrides: Any) -> None:
        super().__init__(preset, **overrides)
        if not 0 < self.power < 1:
            raise UserError(f'NOLC: expected a power between 0 and 1, got {self.power}; for 1 use IPI.')

    def solve(self, patches: np.ndarray, frame: np.ndarray, records: Records) -> Parts:
        return admm(
            patches,
            lambda values, rho: lp_threshold(values, self.weight / rho, self.power),
            lambda target: self.weight * float((target**self.power).sum()),
            False,
            self.svd,
            self.device,
            records,
        )
