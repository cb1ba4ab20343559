"""Pure functions of evaluation: binary maps, pixel counts, components, matching, the published ROC.

Shapes: score maps (H, W) float in [0, 1]; binary maps and masks (H, W) bool. Positions are (row, column) in
pixels. Every ratio follows one rule for empty denominators, see :func:`ratio`.

A matching rule takes the targets and the predictions of one image (:class:`Components`) and gives a
:class:`Matching`. A false-alarm rule counts pixels. :mod:`drpca.evaluation.protocols` puts them together
under the names of the papers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
from scipy import integrate, ndimage, optimize
from typing_extensions import Self

from drpca.errors import UserError

ROC_THRESHOLDS = np.arange(201) / 200
"""The 201 thresholds i/200 of the ROC in the code published with RPCANet and DRPCA-Net."""

_EIGHT_NEIGHBOURS = np.ones((3, 3), dtype=bool)


def check_pair(scores: np.ndarray, gt_mask: np.ndarray, name: str = 'image') -> tuple[np.ndarray, np.ndarray]:
    """Checks one score map against its mask.

    Args:
        scores: (H, W) scores in [0, 1]; float, or integers 0 and 1.
        gt_mask: (H, W) bool, or numbers of which those above 0 are target.
        name: What the messages call the image.

    Returns:
        ``scores`` as floating point and ``gt_mask`` as bool, both (H, W).

    Raises:
        UserError: The two differ in size, are not 2-D or empty, or the scores hold NaN, infinity or values
            outside [0, 1].
    """
    scores, gt_mask = np.asarray(scores), np.asarray(gt_mask)
    if scores.ndim != 2 or scores.size == 0:
        raise UserError(f'{name}: expected a score map of shape (H, W), got shape {scores.shape}.')
    if scores.shape != gt_mask.shape:
        raise UserError(
            f'{name}: the score map is {shape_text(scores.shape)} and the mask {shape_text(gt_mask.shape)} '
            '(height x width); resize one of them first.'
        )
    if not np.issubdtype(scores.dtype, np.floating):
        scores = scores.astype(np.float32)
    low, high = float(scores.min()), float(scores.max())
    if np.isnan(low) or np.isnan(high):
        raise UserError(f'{name}: the score map holds NaN; look at the network or the file that produced it.')
    if low < 0 or high > 1:
        raise UserError(f'{name}: expected scores in [0, 1], got values from {low:g} to {high:g}; apply the sigmoid.')
    return scores, gt_mask if gt_mask.dtype == bool else gt_mask > 0


def shape_text(shape: tuple[int, ...]) -> str:
    """Height and width as people write them: '256x256'."""
    return 'x'.join(str(n) for n in shape)


# Binary maps


def normalise_by_maximum(scores: np.ndarray) -> np.ndarray:
    """Divides a score map by its own maximum; an all-zero map (0/0 in the published code) stays zero."""
    high = scores.max()
    return scores / high if high > 0 else scores


def binarise(scores: np.ndarray, threshold: float = 0.5, normalise: bool = False) -> np.ndarray:
    """Scores strictly above a threshold.

    Args:
        scores: (H, W) in [0, 1].
        threshold: In [0, 1], rounded to the precision of the map, so that a float32 0.7 is not above 0.7.
        normalise: Divide by the map's own maximum first ('max-normalised'). Every map but an all-zero one
            then holds a detection, so that images without targets turn into false alarms.

    Returns:
        (H, W) bool.
    """
    return (normalise_by_maximum(scores) if normalise else scores) > scores.dtype.type(threshold)


# Pixels


def pixel_counts(pred_mask: np.ndarray, gt_mask: np.ndarray) -> tuple[int, int, int]:
    """True positive, false positive and false negative pixels of two (H, W) bool maps."""
    tp = int(np.count_nonzero(pred_mask & gt_mask))
    return tp, int(np.count_nonzero(pred_mask)) - tp, int(np.count_nonzero(gt_mask)) - tp


def ratio(numerator: float, denominator: float, total: float) -> float:
    """``numerator / denominator`` with a meaning for empty denominators.

    Where the denominator is 0 the ratio is 0.0 if there was anything to judge (``total`` > 0: for instance
    the precision where targets were there and nothing was predicted), and NaN, 'undefined', if there was
    nothing (no target and no prediction anywhere; Pd without targets; Fa without images).
    """
    if total == 0:
        return float('nan')
    return float(numerator / denominator) if denominator else 0.0


def divide(numerator: np.ndarray, denominator: np.ndarray | int) -> np.ndarray:
    """Elementwise quotients in float64; over 0 infinite or NaN, without a warning."""
    with np.errstate(invalid='ignore', divide='ignore'):
        return numerator / np.asarray(denominator, dtype=np.float64)


def pixel_scores(tp: int, fp: int, fn: int) -> dict[str, float]:
    """IoU, F1, precision and recall of the foreground from (pooled) pixel counts; F1 = 2 IoU / (1 + IoU).

    NaN where neither target nor prediction has a pixel.
    """
    union = tp + fp + fn
    return {
        'IoU': ratio(tp, union, union),
        'F1': ratio(2 * tp, 2 * tp + fp + fn, union),
        'precision': ratio(tp, tp + fp, union),
        'recall': ratio(tp, tp + fn, union),
    }


def normalised_iou(tp: np.ndarray, fp: np.ndarray, fn: np.ndarray) -> float:
    """nIoU: mean over images of the IoU of each.

    Args:
        tp: (N,) true positive pixels of each image; ``fp`` and ``fn`` alike.

    Returns:
        The mean over images with a target or a prediction. An image with neither has no IoU and is left out
        (a false alarm on an image without targets counts as 0); NaN if none is left.
    """
    union = np.asarray(tp) + fp + fn
    judged = union > 0
    return float(np.mean(np.asarray(tp)[judged] / union[judged])) if judged.any() else float('nan')


# Components


@dataclass(frozen=True)
class Components:
    """8-connected components of a binary map, numbered 0 … n−1 in scan order (row by row, by their first
    pixel).

    Attributes:
        labels: (H, W) int, 0 is background, component k has k + 1.
        areas: (n,) int, pixels of each.
        centroids: (n, 2) float, mean (row, column) of the pixels of each.
    """

    labels: np.ndarray
    areas: np.ndarray
    centroids: np.ndarray

    def __len__(self) -> int:
        return len(self.areas)

    @cached_property
    def mask(self) -> np.ndarray:
        """(H, W) bool: the binary map itself."""
        return self.labels > 0

    @cached_property
    def boxes(self) -> list[tuple[slice, slice]]:
        """Rows and columns that each component spans."""
        return ndimage.find_objects(self.labels)


def connected_components(mask: np.ndarray | Components) -> Components:
    """Labels the 8-connected components of a (H, W) bool map; those that are known already stay as they are."""
    if isinstance(mask, Components):
        return mask
    return _components(*ndimage.label(mask, structure=_EIGHT_NEIGHBOURS))


def numbered_components(numbers: np.ndarray) -> Components:
    """Targets that are told apart by numbers, also where they touch: (H, W) int, 0 elsewhere."""
    known, first = np.unique(numbers, return_index=True)
    ordered = known[np.argsort(first)]
    ordered = ordered[ordered > 0]
    new = np.zeros(int(known[-1]) + 1, dtype=np.int32)
    new[ordered] = np.arange(1, len(ordered) + 1)
    return _components(new[numbers], len(ordered))


def _components(labels: np.ndarray, count: int) -> Components:
    where = np.flatnonzero(labels)
    of_pixel = labels.ravel()[where] - 1
    areas = np.bincount(of_pixel, minlength=count)
    rows, columns = np.divmod(where, labels.shape[1])
    sums = [np.bincount(of_pixel, weights=position, minlength=count) for position in (rows, columns)]
    return Components(labels, areas, np.stack(sums, axis=1) / areas[:, None])


def overlap_areas(targets: Components, predictions: Components) -> np.ndarray:
    """(n targets, n predictions) int: pixels that each pair of components shares."""
    where = np.flatnonzero(targets.labels)
    target, prediction = targets.labels.ravel()[where] - 1, predictions.labels.ravel()[where] - 1
    pairs = (target * len(predictions) + prediction)[prediction >= 0]
    counts = np.bincount(pairs, minlength=len(targets) * len(predictions))
    return counts.reshape(len(targets), len(predictions))


# Matching: when is a target detected, and which pixels are false alarms


@dataclass(frozen=True)
class Matching:
    """Outcome of a matching rule on one image.

    Attributes:
        hit: (n targets,) bool, which targets are detected.
        partner: (n targets,) int, the prediction each is matched to, −1 for none. The rules without pairs
            (overlap, box) leave it at −1.
    """

    hit: np.ndarray
    partner: np.ndarray

    def unmatched_predictions(self, count: int) -> np.ndarray:
        """(count,) bool: which of the ``count`` predictions belong to no target."""
        free = np.ones(count, dtype=bool)
        free[self.partner[self.partner >= 0]] = False
        return free


def _hits_only(hit: np.ndarray) -> Matching:
    return Matching(hit, np.full(len(hit), -1))


def _pairs(partner: np.ndarray) -> Matching:
    return Matching(partner >= 0, partner)


def _contains(targets: Components, mask: np.ndarray) -> np.ndarray:
    """(n targets,) bool: which targets have a pixel in ``mask``."""
    return np.bincount(targets.labels[mask], minlength=len(targets) + 1)[1:] > 0


def centroid_distances(targets: Components, predictions: Components) -> np.ndarray:
    """(n targets, n predictions) float: Euclidean distance of the centroids in pixels."""
    return np.linalg.norm(targets.centroids[:, None] - predictions.centroids[None], axis=2)


def pair_iou(targets: Components, predictions: Components) -> np.ndarray:
    """(n targets, n predictions) float: IoU of each target with each prediction."""
    shared = overlap_areas(targets, predictions)
    return shared / (targets.areas[:, None] + predictions.areas[None] - shared)


def match_overlap(targets: Components, pred_mask: np.ndarray) -> Matching:
    """A target is detected when any predicted pixel lies on it (RPCANet)."""
    return _hits_only(_contains(targets, pred_mask))


def match_box(targets: Components, pred_mask: np.ndarray, radius: int = 1) -> Matching:
    """A target is detected when a predicted pixel lies in the ``radius`` box of one of its pixels (DTUM)."""
    return _hits_only(_contains(targets, dilate(pred_mask, radius)))


def match_centroid(targets: Components, predictions: Components, distance: float = 3.0) -> Matching:
    """Targets in scan order take the *first* free prediction in scan order that is near enough.

    Near enough: the centroids are less than ``distance`` pixels apart. The rule of DNANet, BasicIRSTD and
    DRPCA-Net. 'First' is not 'nearest': the order of the components decides.
    """
    near = centroid_distances(targets, predictions) < distance
    partner = np.full(len(targets), -1)
    for target in np.flatnonzero(near.any(axis=1)):
        candidates = np.flatnonzero(near[target])
        if candidates.size:
            partner[target] = candidates[0]
            near[:, candidates[0]] = False
    return _pairs(partner)


def match_optimal(
    targets: Components, predictions: Components, overlap: float = 0.5, distance: float = 3.0
) -> Matching:
    """Optimal assignment with overlap priority and distance compensation (OPDC).

    Pang et al., arXiv 2509.16888:

    1. Assign targets to predictions with the least total centroid distance, keep pairs with IoU ≥
       ``overlap``.
    2. Do the same with those left over, keep pairs nearer than ``distance``.

    As published, the assignment minimises the total over *all* pairs, also those too far apart to be kept, so
    that a distant false alarm together with a distant miss can cost a pair that would have been valid alone.
    """
    partner = np.full(len(targets), -1)
    if len(targets) == 0 or len(predictions) == 0:
        return _pairs(partner)
    distances = centroid_distances(targets, predictions)
    for valid in (pair_iou(targets, predictions) >= overlap, distances < distance):
        rows = np.flatnonzero(partner < 0)
        columns = np.setdiff1d(np.arange(len(predictions)), partner)
        row, column = optimize.linear_sum_assignment(distances[np.ix_(rows, columns)])
        kept = valid[rows[row], columns[column]]
        partner[rows[row[kept]]] = columns[column[kept]]
    return _pairs(partner)


# False alarms, in pixels


def dilate(mask: np.ndarray, radius: int) -> np.ndarray:
    """Pixels within the square box of ``radius`` around any pixel of a (H, W) bool map."""
    return ndimage.maximum_filter(mask, size=2 * radius + 1, mode='constant', cval=False)


def unmatched_area(predictions: Components, matching: Matching) -> int:
    """Area of the predictions without a target."""
    return int(predictions.areas[matching.unmatched_predictions(len(predictions))].sum())


def unmatched_area_by_value(predictions: Components, matching: Matching) -> int:
    """Area of the predictions whose *area value* no matched prediction has (DNANet, DRPCA-Net).

    A slip of the published code: areas are compared instead of components, so that a false alarm exactly as
    large as a hit in the same image vanishes.
    """
    free = matching.unmatched_predictions(len(predictions))
    return int(predictions.areas[~np.isin(predictions.areas, predictions.areas[~free])].sum())


def area_outside_boxes(targets: Components, pred_mask: np.ndarray, radius: int = 4) -> int:
    """Predicted pixels outside the boxes of ``radius`` around all target pixels (DTUM)."""
    if len(targets) == 0:
        return int(np.count_nonzero(pred_mask))
    return int(np.count_nonzero(pred_mask & ~dilate(targets.mask, radius)))


# Error decomposition


@dataclass(frozen=True)
class ErrorCounts:
    """What one image adds to hIoU and its error decomposition (Pang et al., arXiv 2509.16888).

    Segmentation sums run over matched pairs, each in parts of the union of target and prediction;
    localisation counts over components.

    Attributes:
        matched: Matched pairs.
        unmatched_predictions: Predictions without a target.
        unmatched_targets: Targets without a prediction.
        iou: Sum of the IoU of the pairs.
        merge: Predicted pixels on *other* targets.
        interference: Predicted pixels on no target.
        perception: Target pixels not predicted.
        lone_predictions: Predictions near no target at all (interference).
        lone_targets: Targets near no prediction at all (perception).
    """

    matched: int = 0
    unmatched_predictions: int = 0
    unmatched_targets: int = 0
    iou: float = 0.0
    merge: float = 0.0
    interference: float = 0.0
    perception: float = 0.0
    lone_predictions: int = 0
    lone_targets: int = 0


def error_counts(
    targets: Components, predictions: Components, matching: Matching, overlap: float = 0.5, distance: float = 3.0
) -> ErrorCounts:
    """Splits the errors of one image by cause.

    A prediction and a target are 'near' when their IoU is ≥ ``overlap`` or their centroids are nearer than
    ``distance``. An unmatched prediction near a target is a multiple-to-single error (several predictions on
    one target), an unmatched target near a prediction a single-to-multiple error (one prediction on several
    targets).
    """
    target = np.flatnonzero(matching.hit)
    prediction = matching.partner[target]
    shared = overlap_areas(targets, predictions)
    on_this = shared[target, prediction]
    on_any = shared.sum(axis=0)[prediction]
    target_area, prediction_area = targets.areas[target], predictions.areas[prediction]
    union = target_area + prediction_area - on_this
    near = (pair_iou(targets, predictions) >= overlap) | (centroid_distances(targets, predictions) < distance)
    return ErrorCounts(
        matched=len(target),
        unmatched_predictions=len(predictions) - len(target),
        unmatched_targets=len(targets) - len(target),
        iou=float(np.sum(on_this / union)),
        merge=float(np.sum((on_any - on_this) / union)),
        interference=float(np.sum((prediction_area - on_any) / union)),
        perception=float(np.sum((target_area - on_this) / union)),
        lone_predictions=int(np.count_nonzero(~near.any(axis=0))),
        lone_targets=int(np.count_nonzero(~near.any(axis=1))),
    )


# Published ROC


class _Summed:
    """Counts over thresholds: two arrays and two numbers, which add up over images."""

    THRESHOLDS: ClassVar[int]

    def __add__(self, other: Self) -> Self:
        mine, others = vars(self), vars(other)
        return type(self)(**{name: mine[name] + others[name] for name in mine})

    @classmethod
    def zero(cls) -> Self:
        """The counts of no image."""
        nothing = np.zeros(cls.THRESHOLDS, dtype=np.int64)
        return cls(nothing, nothing, 0, 0)  # type: ignore[call-arg]


@dataclass(frozen=True)
class RocCounts(_Summed):
    """What one image, or the sum over several, adds to the published ROC.

    Attributes:
        false_pixels: (201,) background pixels at or above each threshold.
        hits: (201,) targets with a pixel at or above each threshold.
        background: Pixels outside targets.
        targets: Number of targets.
    """

    false_pixels: np.ndarray
    hits: np.ndarray
    background: int
    targets: int
    THRESHOLDS: ClassVar[int] = len(ROC_THRESHOLDS)


def quantise(values: np.ndarray, thresholds: np.ndarray, strict: bool = False) -> np.ndarray:
    """Level of each value: how many of the ascending ``thresholds`` it reaches (≥), or exceeds (>) if
    ``strict``.

    Args:
        values: Any shape, floating point; the thresholds are rounded to its precision.
        thresholds: (K,) ascending.
        strict: Count those exceeded.

    Returns:
        Levels 0 … K as int16, of the shape of ``values``. Most pixels of a score map lie below the second
        threshold and are settled by two comparisons.
    """
    thresholds = thresholds.astype(values.dtype)
    compare = np.greater if strict else np.greater_equal
    levels = compare(values, thresholds[0]).astype(np.int16)
    above = compare(values, thresholds[min(1, len(thresholds) - 1)])
    levels[above] = np.searchsorted(thresholds, values[above], side='left' if strict else 'right')
    return levels


def count_from_level(levels: np.ndarray, count: int) -> np.ndarray:
    """How many of ``levels`` are at least 1, 2, … ``count``: (count,) int."""
    return np.cumsum(np.bincount(levels.ravel(), minlength=count + 1)[:0:-1])[::-1]


def roc_counts(scores: np.ndarray, targets: Components) -> RocCounts:
    """Counts of one image for the ROC of the published code (RPCANet, DRPCA-Net).

    The map is divided by its own maximum and compared by ≥ with i/200, i = 0 … 200. A target is hit when any
    of its pixels is reached; false alarms are background pixels. An image without targets adds nothing, and
    on an all-zero map nothing is detected at any threshold.

    Args:
        scores: (H, W) in [0, 1].
        targets: Components of the mask.
    """
    if len(targets) == 0:
        return RocCounts.zero()
    background = int(targets.labels.size - targets.areas.sum())
    if not scores.max() > 0:
        nothing = RocCounts.zero()
        return RocCounts(nothing.false_pixels, nothing.hits, background, len(targets))
    count = len(ROC_THRESHOLDS)
    levels = quantise(normalise_by_maximum(scores), ROC_THRESHOLDS)
    where = np.flatnonzero(targets.labels)
    on_targets = levels.ravel()[where]
    best = np.zeros(len(targets), dtype=levels.dtype)
    np.maximum.at(best, targets.labels.ravel()[where] - 1, on_targets)
    false_pixels = count_from_level(levels, count) - count_from_level(on_targets, count)
    return RocCounts(false_pixels, count_from_level(best, count), background, len(targets))


def roc(counts: RocCounts) -> tuple[np.ndarray, np.ndarray]:
    """False-alarm rate over background pixels and detection rate over targets: (201,) each.

    NaN without targets.
    """
    return divide(counts.false_pixels, counts.background), divide(counts.hits, counts.targets)


def roc_auc(counts: RocCounts) -> float:
    """Area under the published ROC by the trapezoid rule, end points not added; NaN without targets."""
    false_alarm_rate, detection_rate = roc(counts)
    return float(-integrate.trapezoid(detection_rate, false_alarm_rate))


# 3D-ROC


ROC_3D = (
    'AUC_FaPd', 'AUC_tauPd', 'AUC_tauFa', 'AUC_TD', 'AUC_BS', 'AUC_TDBS', 'AUC_SNPR', 'AUC_OD', 'AUC_ODP',
)  # fmt: skip
"""Figures of :func:`roc_3d_figures`."""


@dataclass(frozen=True)
class Roc3dCounts(_Summed):
    """What one image, or the sum over several, adds to the 3D-ROC. Thresholds k/99, k = 0 … 100.

    Attributes:
        false_pixels: (101,) pixels outside the windows of the targets at or above each threshold.
        hits: (101,) targets with a pixel of their window at or above it.
        outside: Pixels outside the windows, of images that are not 0 throughout.
        targets: Number of targets.
    """

    false_pixels: np.ndarray
    hits: np.ndarray
    outside: int
    targets: int
    THRESHOLDS: ClassVar[int] = 101


def roc_3d_counts(scores: np.ndarray, targets: Components) -> Roc3dCounts:
    """Counts of one image for the 3D-ROC of the tensor literature, as TensorISTD counts them.

    The map is rounded to 8 bits. A target is the window of 3 × 3 pixels at its centroid, rounded half up; targets whose
    window does not lie inside the image are left out. A map that is 0 throughout misses its targets and leaves the
    false-alarm rate.

    Args:
        scores: (H, W) in [0, 1].
        targets: Components of the mask.
    """
    levels = np.round(255 * scores).astype(np.int64) * 99 // 255  # of v, the highest k with v/255 >= k/99
    places = np.floor(targets.centroids + 0.5).astype(np.int64)
    places = places[((places >= 1) & (places < np.array(scores.shape) - 1)).all(axis=1)]
    windows = [(slice(row - 1, row + 2), slice(column - 1, column + 2)) for row, column in places.tolist()]
    outside = np.ones(scores.shape, dtype=bool)
    for window in windows:
        outside[window] = False
    best = np.array([levels[window].max() for window in windows], dtype=np.int64)
    size = int(np.count_nonzero(outside)) if levels.any() else 0
    false_pixels, hits = (
        np.append(count_from_level(part + 1, 100), 0) for part in (levels[outside] if size else best[:0], best)
    )
    return Roc3dCounts(false_pixels, hits, size, len(windows))


def roc_3d_figures(counts: Roc3dCounts) -> dict[str, float]:
    """Areas under the curves of the 3D-ROC by the trapezoid rule, and what is derived from them (Chang, IEEE TGRS
    59(6), 2021).

    With τ = k/100 on the axis: ``AUC_FaPd`` (Pd over Fa), ``AUC_tauPd`` (Pd over τ), ``AUC_tauFa`` (Fa over τ);
    ``TD`` = FaPd + tauPd, ``BS`` = FaPd − tauFa, ``TDBS`` = tauPd − tauFa, ``SNPR`` = tauPd / tauFa, ``OD`` =
    FaPd + tauPd − tauFa, ``ODP`` = tauPd + 1 − tauFa (TensorISTD prints OD under that name). NaN without targets.
    """
    fa, pd = divide(counts.false_pixels, counts.outside), divide(counts.hits, counts.targets)
    fa_pd = float(-integrate.trapezoid(pd, fa))
    tau_pd, tau_fa = (float(integrate.trapezoid(rate, dx=0.01)) for rate in (pd, fa))
    derived = (
        fa_pd + tau_pd, fa_pd - tau_fa, tau_pd - tau_fa, tau_pd / tau_fa if tau_fa else float('nan'),
        fa_pd + tau_pd - tau_fa, tau_pd + 1 - tau_fa,
    )  # fmt: skip
    return dict(zip(ROC_3D, (fa_pd, tau_pd, tau_fa, *derived)))


def mean_and_deviation(figures: Sequence[dict[str, float]]) -> dict[str, tuple[float, float]]:
    """Mean and sample standard deviation (n − 1) of each figure over runs; NaN deviation of a single run."""
    result = {}
    for key in figures[0]:
        values = np.array([run[key] for run in figures], dtype=np.float64)
        deviation = float(values.std(ddof=1)) if len(values) > 1 else float('nan')
        result[key] = (float(values.mean()), deviation)
    return result
