"""Max-median filter (Deshpande, Er, Venkateswarlu, Chan, SPIE 3809, 1999)."""

from __future__ import annotations

import numpy as np

from drpca.baselines.base import Baseline
from drpca.baselines.windows import LINES, line_values, median_of
from drpca.registry import BASELINES


@BASELINES.register_module()
class MaxMedian(Baseline):
    """T = max(f − B, 0), where B is the largest of the medians along a row, a column and two diagonals.

    Edges and lines survive in B, points do not. The border is mirrored.

    Parameters: ``taps``, pixels on each line, odd.
    """

    taps: int
    ODD = ('taps',)
    PRESETS = {'paper': {'input_size': None, 'taps': 15}, 'leaderboard': {'input_size': (256, 256), 'taps': 15}}

    def detect(self, frame: np.ndarray) -> np.ndarray:
        frame = frame.astype(np.float32)
        background = np.max([median_of(line_values(frame, self.taps, line)) for line in LINES], axis=0)
        return frame - background
