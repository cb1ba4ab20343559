"""Facet kernel and random walker (Qin, Bruzzone, Gao, Li, IEEE TGRS 57(9), 2019)."""

from __future__ import annotations

import cv2
import numpy as np

from drpca.baselines.base import Baseline
from drpca.registry import BASELINES

FACET = np.array(
    [[-4, -1, 0, -1, -4], [-1, 2, 3, 2, -1], [0, 3, 4, 3, 0], [-1, 2, 3, 2, -1], [-4, -1, 0, -1, -4]], float
)
DISK = (np.hypot(*np.mgrid[-2:3, -2:3]) <= 2).astype(np.uint8)
SIDE = 11
REACH = SIDE // 2
CENTRE = SIDE * REACH + REACH

_NUMBERS = np.arange(SIDE * SIDE).reshape(SIDE, SIDE)
_BORDER = np.ones((SIDE, SIDE), bool)
_BORDER[1:-1, 1:-1] = False
_EDGES = np.concatenate(
    [
        np.stack([_NUMBERS[:, :-1].ravel(), _NUMBERS[:, 1:].ravel()]),
        np.stack([_NUMBERS[:-1].ravel(), _NUMBERS[1:].ravel()]),
    ],
    axis=1,
)  # (2, edges): the 4-connected pairs of a patch


@BASELINES.register_module()
class FKRW(Baseline):
    """Candidates from a facet filter, each judged by a random walker on the 11 × 11 patch around it.

    1. f/255; single bright pixels are cut to their brightest neighbour; 2 × 2 mean.
    2. Facet map F; candidates F ≥ mean + k·std, brightest first, unless an earlier one's region holds them.
    3. Random walker (Grady, IEEE TPAMI 28(11), 2006): the centre is one seed, the patch's border the other;
       the region is where the walk reaches the centre first with probability x > ½.
    4. Region pixels get mean x inside (without the centre) / mean x outside, times (t/r)⁶, where t is the
       mean intensity of the region and r the maximum on a ring around it (0 if r ≥ t).
    5. T = that map × F.

    Parameters: ``k``. The two presets agree.
    """

    k: float
    PRESETS = {'paper': {'input_size': None, 'k': 4.0}, 'leaderboard': {'input_size': None, 'k': 4.0}}

    def detect(self, frame: np.ndarray) -> np.ndarray:
        smoothed = self._smooth(frame / 255)
        facet = cv2.filter2D(smoothed, -1, FACET, borderType=cv2.BORDER_REFLECT_101)
        rows, columns = np.nonzero(facet >= facet.mean() + self.k * facet.std())
        order = np.argsort(-smoothed[rows, columns], kind='stable')
        padded = np.pad(smoothed, REACH, mode='reflect')
        contrast, taken = np.zeros_like(padded), np.zeros(padded.shape, bool)
        for row, column in zip(rows[order], columns[order]):
            if taken[row + REACH, column + REACH]:
                continue
            window = slice(row, row + SIDE), slice(column, column + SIDE)
            probability = walk(padded[window])
            region = probability > 0.5
            free = region & ~taken[window]
            contrast[window][free] = region_contrast(padded[window], probability, region)
            taken[window] |= region
        return contrast[REACH:-REACH, REACH:-REACH] * facet / (facet.max() + 1e-6)

    @staticmethod
    def _smooth(image: np.ndarray) -> np.ndarray:
        neighbours = np.ones((3, 3), np.uint8)
        neighbours[1, 1] = 0
        limited = np.minimum(image, cv2.dilate(image, neighbours, borderType=cv2.BORDER_REPLICATE))
        return cv2.blur(limited, (2, 2), anchor=(0, 0), borderType=cv2.BORDER_REPLICATE)


def walk(patch: np.ndarray) -> np.ndarray:
    """Probability that a random walk from each pixel reaches the centre before the border.

    4-connected weights w = exp(−200·|Δ|) + 1e-5 between neighbours; solves L_UU x = −L_US for the pixels U
    without seed. Inner pixels at exactly 1.0 count as border, as in the published code.

    Args:
        patch: (11, 11) intensities in [0, 1].

    Returns:
        (11, 11) in [0, 1].
    """
    values = patch.ravel()
    first, second = _EDGES
    weights = np.exp(-200 * np.abs(values[first] - values[second])) + 1e-5
    laplacian = np.zeros((values.size, values.size))
    laplacian[first, second] = laplacian[second, first] = -weights
    np.fill_diagonal(laplacian, -laplacian.sum(axis=1))
    free = ~(_BORDER.ravel() | (values == 1.0))
    free[CENTRE] = False
    probability = np.zeros(values.size)
    probability[CENTRE] = 1
    probability[free] = np.linalg.solve(laplacian[np.ix_(free, free)], -laplacian[free, CENTRE])
    return probability.reshape(SIDE, SIDE)


def region_contrast(patch: np.ndarray, probability: np.ndarray, region: np.ndarray) -> float:
    """Contrast of a region in probability times contrast in intensity; 0 if it is the centre alone.

    Args:
        patch: (11, 11) intensities in [0, 1].
        probability: (11, 11) from :func:`walk`.
        region: (11, 11) bool, holds the centre.
    """
    inner = region.copy()
    inner[REACH, REACH] = False
    if not inner.any():
        return 0.0
    near = cv2.dilate(region.astype(np.uint8), DISK)
    ring = (cv2.dilate(near, DISK) > 0) & (near == 0)
    inside = float(patch[region].mean())
    outside = float(patch[ring].max(initial=0))
    if outside >= inside:
        return 0.0
    spread = float(probability[inner].mean() / probability[~inner].mean())
    return spread * (inside / max(outside, 1e-6)) ** 6
