"""Contrast of targets with what surrounds them.

The background of a target is the window of ``BACKGROUND_MARGIN`` pixels around its bounding box, cut at the border,
without the pixels of any target (Gao et al., IEEE TIP 2013, use the same window).
"""

from __future__ import annotations

import numpy as np

from drpca.evaluation.functional import Components

BACKGROUND_MARGIN = 20


def local_statistics(
    values: np.ndarray, targets: Components, margin: int = BACKGROUND_MARGIN
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean of each target, and mean and standard deviation of the background around it.

    Args:
        values: (H, W) image or score map.
        targets: Components of the mask.
        margin: Pixels around the bounding box.

    Returns:
        Three (n targets,) arrays. Mean and deviation of the background are NaN where the window holds targets
        only.
    """
    statistics = np.full((3, len(targets)), np.nan)
    for index, box in enumerate(targets.boxes):
        statistics[0, index] = values[box][targets.labels[box] == index + 1].mean(dtype=np.float64)
        window = tuple(slice(max(0, side.start - margin), side.stop + margin) for side in box)
        background = values[window][targets.labels[window] == 0]
        if background.size:
            flat = background.min() == background.max()  # rounding of the mean would leave a tiny deviation
            deviation = 0.0 if flat else background.std(dtype=np.float64)
            statistics[1:, index] = background.mean(dtype=np.float64), deviation
    return statistics[0], statistics[1], statistics[2]


def contrast_to_noise(mean: np.ndarray, background: np.ndarray, deviation: np.ndarray) -> np.ndarray:
    """Local signal-to-noise ratio |μ_target − μ_background| / σ_background of what :func:`local_statistics` gives.

    Returns:
        (n targets,): infinite on a flat background, NaN without one and for a target that does not stand out
        from a flat one.
    """
    with np.errstate(divide='ignore', invalid='ignore'):
        return np.divide(np.abs(mean - background), deviation)
