"""Three-layer local contrast measure (Han et al., IEEE GRSL 17(10), 2020)."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

from drpca.baselines.base import Baseline
from drpca.baselines.windows import largest_mean, ring
from drpca.errors import UserError
from drpca.registry import BASELINES


@BASELINES.register_module()
class TLLCM(Baseline):
    """Smoothed core G against the brightest pixels of the eight cells around it:

        S_i = mean of the K largest pixels of cell i,   C_s = min_i (G² / S_i − G) = G² / max_i S_i − G,
        T = max(0, max_s C_s).

    G is f filtered with [1 2 1; 2 4 2; 1 2 1] / 16, border replicated. Pixels outside the image count as 0.

    Parameters: ``scales``, odd sides s of the cells; ``largest``, K.
    """

    scales: tuple[int, ...]
    largest: int
    ODD = ('scales',)
    PRESETS = {
        'paper': {'input_size': None, 'scales': (5, 7, 9), 'largest': 9},
        'leaderboard': {'input_size': None, 'scales': (9,), 'largest': 9},
    }

    def __init__(self, preset: str = 'leaderboard', **overrides: Any) -> None:
        super().__init__(preset, **overrides)
        if self.largest > min(self.scales) ** 2:
            raise UserError(
                f'TLLCM: expected largest <= {min(self.scales) ** 2}, the pixels of the smallest cell, '
                f'got {self.largest}.'
            )

    def detect(self, frame: np.ndarray) -> np.ndarray:
        weights = np.array([1.0, 2.0, 1.0]) / 4
        core = cv2.sepFilter2D(frame, -1, weights, weights, borderType=cv2.BORDER_REPLICATE)
        return np.max([self._contrast(frame, core, scale) for scale in self.scales], axis=0)

    def _contrast(self, frame: np.ndarray, core: np.ndarray, scale: int) -> np.ndarray:
        padded = np.pad(frame.astype(np.float32), scale + scale // 2)
        brightest = np.max(ring(largest_mean(padded, scale, self.largest), scale, scale), axis=0)
        return np.where(brightest > 0, core**2 / np.where(brightest > 0, brightest, 1) - core, 0)
