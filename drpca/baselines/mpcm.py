"""Multiscale patch-based contrast measure (Wei, You, Li, Pattern Recognition 58, 2016)."""

from __future__ import annotations

import numpy as np

from drpca.baselines.base import Baseline
from drpca.baselines.windows import box_mean, ring
from drpca.registry import BASELINES


@BASELINES.register_module()
class MPCM(Baseline):
    """At scale s the mean m_0 of the cell at a pixel meets the means m_1 … m_8 of the cells around it:

        d_i = m_0 − m_i,   C_s = min over the four opposite pairs of d_i · d_{i+4},   T = max_s C_s.

    Two negative d multiply to a positive, so dark spots respond too unless ``bright_only`` sets negative d
    to zero first. The border is replicated.

    Parameters: ``scales``, odd sides of the cells in pixels; ``bright_only``.
    """

    scales: tuple[int, ...]
    bright_only: bool
    ODD = ('scales',)
    PRESETS = {
        'paper': {'input_size': None, 'scales': (3, 5, 7, 9), 'bright_only': True},
        'leaderboard': {'input_size': (256, 256), 'scales': (3, 5, 7, 9), 'bright_only': False},
    }

    def detect(self, frame: np.ndarray) -> np.ndarray:
        return np.max([self._contrast(frame, scale) for scale in self.scales], axis=0)

    def _contrast(self, frame: np.ndarray, scale: int) -> np.ndarray:
        margin = scale + scale // 2
        means = box_mean(np.pad(frame, margin, mode='edge'), scale)
        centre = means[margin:-margin, margin:-margin]
        differences = [centre - around for around in ring(means, margin, scale)]
        if self.bright_only:
            differences = [np.maximum(d, 0) for d in differences]
        return np.min([differences[i] * differences[i + 4] for i in range(4)], axis=0)
