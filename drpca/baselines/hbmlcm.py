"""High-boost-based multiscale local contrast measure (Shi et al., IEEE GRSL 15(1), 2018)."""

from __future__ import annotations

from typing import Any

import numpy as np

from drpca.baselines.base import Baseline
from drpca.baselines.windows import box_mean, box_sum
from drpca.errors import UserError
from drpca.registry import BASELINES


@BASELINES.register_module()
class HBMLCM(Baseline):
    """High-boost image, then centre against surround at several centre sizes:

        X = f ∘ max(f − mean_w(f), 0),
        d_k = mean of X over k × k − mean of X over the surround window without it,
        T = (max_k |d_k| − min_k |d_k|)².

    The border is replicated. T reaches 1e8.

    Parameters: ``boost``, w; ``centres``, the k; ``surround``, side of the outer window; all in pixels, odd.
    """

    boost: int
    centres: tuple[int, ...]
    surround: int
    ODD = ('boost', 'centres', 'surround')
    PRESETS = {
        'paper': {'input_size': None, 'boost': 5, 'centres': (3, 5, 7, 9), 'surround': 15},
        'leaderboard': {'input_size': (256, 256), 'boost': 5, 'centres': (3, 5, 7, 9), 'surround': 15},
    }

    def __init__(self, preset: str = 'leaderboard', **overrides: Any) -> None:
        super().__init__(preset, **overrides)
        if self.surround <= max(self.centres):
            raise UserError(f'HBMLCM: expected a surround larger than the centres {self.centres}, got {self.surround}.')

    def detect(self, frame: np.ndarray) -> np.ndarray:
        boosted = frame * np.maximum(frame - box_mean(frame, self.boost), 0)
        around = box_sum(boosted, self.surround)
        contrasts = []
        for k in self.centres:
            centre = box_sum(boosted, k)
            contrasts.append(np.abs(centre / k**2 - (around - centre) / (self.surround**2 - k**2)))
        return (np.max(contrasts, axis=0) - np.min(contrasts, axis=0)) ** 2
