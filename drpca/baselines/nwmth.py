"""New white top-hat transform (Bai, Zhou, Pattern Recognition 43(6), 2010)."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

from drpca.baselines.base import Baseline
from drpca.errors import UserError
from drpca.registry import BASELINES


@BASELINES.register_module()
class NWMTH(Baseline):
    """T = max(f − erode(dilate(f, ΔB), B_b), 0) with a ring ΔB for the dilation.

    The dilation sees only the surroundings of a pixel, so a spot that fits into the hole of the ring is
    replaced by them. ΔB is a square of side 2·outer + 1 without the square of side 2·inner + 1; B_b is a
    square of side ``erosion``, whose origin lies at (erosion − 1) // 2, as in MATLAB.

    Parameters: ``outer``, ``inner`` and ``erosion`` in pixels.
    """

    outer: int
    inner: int
    erosion: int
    PRESETS = {
        'paper': {'input_size': None, 'outer': 9, 'inner': 4, 'erosion': 4},
        'leaderboard': {'input_size': None, 'outer': 9, 'inner': 4, 'erosion': 4},
    }

    def __init__(self, preset: str = 'leaderboard', **overrides: Any) -> None:
        super().__init__(preset, **overrides)
        if self.inner >= self.outer:
            raise UserError(f'NWMTH: expected inner < outer, got {self.inner} and {self.outer}.')

    def detect(self, frame: np.ndarray) -> np.ndarray:
        side, hole = 2 * self.outer + 1, slice(self.outer - self.inner, self.outer + self.inner + 1)
        ring = np.ones((side, side), np.uint8)
        ring[hole, hole] = 0
        square, origin = np.ones((self.erosion, self.erosion), np.uint8), (self.erosion - 1) // 2
        # OpenCV's default borders: the smallest value for the dilation, the largest for the erosion.
        around = cv2.dilate(frame, ring)
        around = np.where(around < 0, frame, around)  # no pixel of the image on the ring
        return frame - cv2.erode(around, square, anchor=(origin, origin))
