"""Figures of sequences with point labels: distance, DTUM's rule, contrast gains of the tensor literature, tracks.

Points are (row, column) of targets, (targets, 2), from 0. The 3D-ROC is that of :func:`roc_3d_counts`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass

import numpy as np

from drpca.evaluation.functional import Components, divide, ratio

CONTRAST = ('SCRG', 'BSF', 'CG', 'BSR')
"""Figures of :func:`contrast_gains`."""
HIT_RADIUS = 1
SAFE_RADIUS = 4
SHOOTING_THRESHOLDS = (
    0.0, 1e-30, *(10.0**power for power in range(-20, 0)), *(step / 20 for step in range(3, 20)),
    0.975, 0.98, 0.985, 0.99, 0.995, 0.999, 0.9999, 0.99999, 0.999999, 1 - 1e-7, 1.0,
)  # fmt: skip
"""The 50 of DTUM. Between 0.975 and 1 − 1e-7 eight are known by their number alone: these are a choice."""
_PAD = 11
_REACH = 10
_TARGET = 2


def point_targets(points: np.ndarray, shape: tuple[int, int]) -> Components:
    """Each point as a target of its own, also where two touch.

    Args:
        points: (n, 2); rounded half up to pixels, those outside the frame are left out.
        shape: (H, W).
    """
    pixels = np.floor(np.asarray(points, float).reshape(-1, 2) + 0.5).astype(int)
    pixels = np.unique(pixels[((pixels >= 0) & (pixels < shape)).all(axis=1)], axis=0)
    labels = np.zeros(shape, int)
    labels[tuple(pixels.T)] = np.arange(1, len(pixels) + 1)
    return Components(labels, np.ones(len(pixels), int), pixels.astype(float))


@dataclass(frozen=True)
class ShootingCounts:
    """What one frame, or the sum over several, adds to Pd and Fa by the 'shooting rules' of DTUM.

    Attributes:
        hits: Targets hit.
        targets: All of them.
        false_pixels: Pixels at or above the threshold that no target protects.
        pixels: Of the frames.
    """

    hits: int = 0
    targets: int = 0
    false_pixels: int = 0
    pixels: int = 0

    def __add__(self, other: ShootingCounts) -> ShootingCounts:
        return ShootingCounts(*(a + b for a, b in zip(astuple(self), astuple(other))))

    def figures(self) -> dict[str, float]:
        """``Pd`` = hits / targets and ``Fa`` = false pixels / pixels; NaN without any."""
        pixels = ratio(self.false_pixels, self.pixels, self.pixels)
        return {'Pd': ratio(self.hits, self.targets, self.targets), 'Fa': pixels}


def shooting_counts(
    scores: np.ndarray, targets: Components, thresholds: Sequence[float] = (0.5,), empty_at_border: bool = True
) -> list[ShootingCounts]:
    """Counts of one frame at each threshold (Li et al., IEEE TNNLS 36(1), 2025, published code).

    A target is hit by a pixel ≥ threshold at most 1 row and column from one of its pixels; pixels ≥ threshold that are
    farther than 4 from all target pixels are false.

    Args:
        scores: (H, W) in [0, 1].
        targets: Components of the label.
        thresholds: Compared by ≥.
        empty_at_border: As published, where the window of a pixel that reaches beyond the top or left border is empty:
            such a pixel is never hit (1 pixel from it) and protects nothing (4 pixels). False: cut windows instead.
    """
    best, free = (np.sort(values) for values in _shot(scores, targets, empty_at_border))
    values = np.array(thresholds, scores.dtype)
    hits, false = (len(part) - np.searchsorted(part, values) for part in (best, free))
    return [ShootingCounts(int(h), len(targets), int(f), scores.size) for h, f in zip(hits, false)]


def shooting_auc(curve: Sequence[ShootingCounts]) -> float:
    """Area of Pd over Fa between counts at ``SHOOTING_THRESHOLDS``, or their sums over frames, by the trapezoid rule.

    Neither end is continued: Fa begins at that of threshold 1 and ends below 1, since pixels near targets are never
    false. NaN without targets.
    """
    pd, fa = (np.array([counts.figures()[name] for counts in curve]) for name in ('Pd', 'Fa'))
    return float(np.sum((pd[:-1] + pd[1:]) / 2 * -np.diff(fa)))


def _shot(scores: np.ndarray, targets: Components, empty_at_border: bool) -> tuple[np.ndarray, np.ndarray]:
    """The highest score that hits each target, −∞ where nothing can; and the scores that no target protects."""
    safe = np.zeros(scores.shape, bool)
    best = np.full(len(targets), -np.inf, scores.dtype)
    for row, column in zip(*np.nonzero(targets.labels)):
        number = targets.labels[row, column] - 1
        near = min(row, column)
        if not empty_at_border or near >= HIT_RADIUS:
            best[number] = max(best[number], scores[_around(row, column, HIT_RADIUS)].max())
        if not empty_at_border or near >= SAFE_RADIUS:
            safe[_around(row, column, SAFE_RADIUS)] = True
    return best, scores[~safe]


def _around(row: int, column: int, radius: int) -> tuple[slice, slice]:
    return (slice(max(row - radius, 0), row + radius + 1), slice(max(column - radius, 0), column + radius + 1))


def contrast_gains(image: np.ndarray, scores: np.ndarray, points: np.ndarray) -> np.ndarray:
    """SCRG, BSF, CG and BSR of each target, as TensorISTD measures them.

    Both maps are continued by 11 pixels at the border. In the 21 × 21 window at a target, the middle 5 × 5 are the
    target and the other 416 pixels the background: S = |highest target − mean background|, C = deviation of the
    background (n − 1). SCRG = (S/C)_scores / (S/C)_image, BSF = C_image / C_scores, CG = S_scores / S_image,
    BSR = ln(mean_image / mean_scores) of the background.

    Args:
        image: (H, W) in [0, 1].
        scores: (H, W) in [0, 1], rounded to 8 bits here.
        points: (n, 2) inside the frame; rounded half up.

    Returns:
        (n, 4); infinite or NaN on a clean background, and all NaN of a map that is 0 throughout.
    """
    levels = np.round(255 * np.asarray(scores, float)) / 255
    pixels = np.floor(np.asarray(points, float).reshape(-1, 2) + 0.5).astype(int)
    if not levels.any():
        return np.full((len(pixels), len(CONTRAST)), np.nan)
    statistics = []
    for values in (np.asarray(image, float), levels):
        padded = np.pad(values, _PAD, mode='edge')
        for row, column in pixels + _PAD:
            window = padded[row - _REACH : row + _REACH + 1, column - _REACH : column + _REACH + 1]
            middle = slice(_REACH - _TARGET, _REACH + _TARGET + 1)
            is_background = np.ones(window.shape, bool)
            is_background[middle, middle] = False
            background = window[is_background]
            flat = background.min() == background.max()  # rounding of the mean would leave a tiny deviation
            mean = background.mean()
            deviation = 0.0 if flat else background.std(ddof=1)
            statistics.append((abs(window[middle, middle].max() - mean), deviation, mean))
    before, after = np.array(statistics).reshape(2, len(pixels), 3)
    with np.errstate(divide='ignore', invalid='ignore'):
        return np.stack(
            [
                (after[:, 0] / after[:, 1]) / (before[:, 0] / before[:, 1]),
                before[:, 1] / after[:, 1],
                after[:, 0] / before[:, 0],
                np.log(before[:, 2] / after[:, 2]),
            ],
            axis=1,
        )


def finite_means(gains: np.ndarray) -> dict[str, float]:
    """Mean of each figure of :func:`contrast_gains` over the targets where it is finite, and their number.

    A clean background removes its frame, so a mean says little without the number it is over.

    Args:
        gains: (targets, 4).

    Returns:
        ``SCRG``, ``SCRG_finite``, … ; infinite where none is finite.
    """
    figures: dict[str, float] = {}
    for name, column in zip(CONTRAST, np.reshape(gains, (-1, len(CONTRAST))).T):
        finite = column[np.isfinite(column)]
        figures[name] = float(finite.mean()) if finite.size else float('inf')
        figures[f'{name}_finite'] = finite.size
    return figures


@dataclass(frozen=True)
class TrackFigures:
    """How tracks follow targets.

    Attributes:
        targets: Targets of the sequence.
        found: Of them, those that a track reports at all.
        found_in_time: Of them, those reported at most ``within`` frames after they appear.
        delay: Mean frames from appearance to the first report, of those found; NaN without any.
        fragments: Tracks beyond the first of each target found: 0 where each is one track.
        false_tracks: Tracks that never report a target.
        false_per_minute: The same per minute of the sequence.
    """

    targets: int
    found: int
    found_in_time: int
    delay: float
    fragments: int
    false_tracks: int
    false_per_minute: float


def track_figures(
    tracked: Iterable[Sequence[tuple[int, float, float]]],
    points: Sequence[np.ndarray],
    rate: float,
    within: int = 10,
    distance: float = 3.0,
) -> TrackFigures:
    """Figures of reported tracks. A target is the k-th point of every frame that has so many.

    Args:
        tracked: Of every frame, (track, row, column) of what is reported.
        points: Of every frame, (targets, 2); NaN of a target that is not there though one behind it is.
        rate: Frames a second.
        within: Frames.
        distance: A report nearer than this to a target is of the target, in pixels.
    """
    appeared: dict[int, int] = {}
    first: dict[int, int] = {}
    tracks: dict[int, set[int]] = {}
    seen: set[int] = set()
    true: set[int] = set()
    for time, (reports, places) in enumerate(zip(tracked, points, strict=True)):
        is_there = ~np.isnan(np.reshape(places, (-1, 2))).any(axis=1)
        for target in np.flatnonzero(is_there).tolist():
            appeared.setdefault(target, time)
        for track, row, column in reports:
            seen.add(track)
            distances = np.linalg.norm(np.reshape(places, (-1, 2)) - (row, column), axis=1)
            distances[~is_there] = np.inf
            if distances.size and distances.min() < distance:
                target = int(distances.argmin())
                first.setdefault(target, time)
                tracks.setdefault(target, set()).add(track)
                true.add(track)
    delays = [first[target] - appeared[target] for target in first]
    false = len(seen - true)
    return TrackFigures(
        len(appeared), len(first), sum(delay <= within for delay in delays),
        float(divide(np.array(sum(delays)), len(delays))), sum(len(found) - 1 for found in tracks.values()), false,
        float(divide(np.array(60 * rate * false), len(points))),
    )  # fmt: skip
