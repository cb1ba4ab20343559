"""When is a target detected, and which pixels are false alarms: the rules in use, as pure functions.

A matching rule takes the targets and the predictions of one image (:class:`Components`) and gives a
:class:`Matching`. A false-alarm rule counts pixels. :mod:`drpca.evaluation.protocols` puts them together
under the names of the papers.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage, optimize

from drpca.evaluation.functional import Components, overlap_areas


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


# Matching rules


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
    targets: Components,
    predictions: Components,
    matching: Matching,
    overlap: float = 0.5,
    distance: float = 3.0,
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
