"""Top-hat transform (Tom, Peli, Leung, Bondaryk, SPIE 1954, 1993)."""

from __future__ import annotations

import cv2
import numpy as np

from drpca.baselines.base import Baseline
from drpca.registry import BASELINES


@BASELINES.register_module()
class TopHat(Baseline):
    """T = f − opening(f, B): what is brighter than its surroundings and smaller than B.

    Parameters: ``size``, side of the square B in pixels.
    """

    size: int
    PRESETS = {'paper': {'input_size': None, 'size': 5}, 'leaderboard': {'input_size': (256, 256), 'size': 5}}

    def detect(self, frame: np.ndarray) -> np.ndarray:
        return cv2.morphologyEx(frame, cv2.MORPH_TOPHAT, np.ones((self.size, self.size), np.uint8))
