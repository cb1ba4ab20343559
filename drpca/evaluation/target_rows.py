"""One row per target and per detection: what was found, how visible it was, how well the background was
suppressed.

The clutter figures are local, see :mod:`drpca.evaluation.local_contrast`.

    SCR = |μ_target − μ_background| / σ_background
    SCRG = SCR of the score map / SCR of the image
    BSF = σ_background of the image / σ_background of the score map
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np

from drpca.evaluation.functional import Components, Matching, centroid_distances, dilate, divide, overlap_areas
from drpca.evaluation.local_contrast import contrast_to_noise, local_statistics
from drpca.evaluation.metrics import ImageCase
from drpca.evaluation.protocols import Protocol

AREA_EDGES = (1, 10, 25, 50, 80, np.inf)
"""Bins of target size in pixels; 80 is the usual limit of a small target (SPIE: 0.12 % of 256²)."""
NEAR = 10.0
"""Pixels: a detection nearer than this to a miss may well be of it."""
SNR_EDGES = (0, 2, 4, 8, 16, np.inf)
"""Bins of the local signal-to-noise ratio of the image."""


@dataclass(frozen=True)
class TargetRow:
    """One target.

    Attributes:
        image: Name of the image.
        row: Row of its centroid in pixels.
        column: Column of its centroid.
        area: Pixels.
        contrast: μ_target − μ_background of the image, grey values in [0, 1].
        snr: SCR of the image; infinite over a flat background.
        hit: Whether it was detected.
        score: Highest score on it.
        centroid_error: Distance to the prediction that it is matched to, or, under a rule without pairs, to
            the nearest one; NaN for a miss.
        scrg: SCR gain; NaN where both SCR are infinite or both 0.
        bsf: Background suppression factor; infinite where the score map is flat around the target.
        logit: Highest logit on it, which tells scores of 1.000 apart; NaN without logits.
        off_centre: Of a miss: how far the centroid of the nearest detection is that lies on it or is nearer than
            ``NEAR`` pixels, so that one place counts as a miss and a false alarm; NaN where there is none but those of
            targets that are found.
    """

    image: str
    row: float
    column: float
    area: int
    contrast: float
    snr: float
    hit: bool
    score: float
    centroid_error: float
    scrg: float
    bsf: float
    logit: float = math.nan
    off_centre: float = math.nan


Verdict = Literal['hit', 'fragment', 'false alarm', 'not counted']
"""Of a detection. 'fragment': it lies on a target that is found by another one. 'not counted': under 'box', near a
target that it does not find."""


@dataclass(frozen=True)
class DetectionRow:
    """One predicted component.

    Attributes:
        image: Name of the image.
        row: Row of its centroid in pixels.
        column: Column of its centroid.
        area: Pixels.
        score: Its highest score.
        logit: Its highest logit; NaN without logits.
        verdict: What it is.
        is_false: It belongs to no target and counts as a false alarm; under matching rules with pairs so do fragments.
    """

    image: str
    row: float
    column: float
    area: int
    score: float
    logit: float
    verdict: Verdict
    is_false: bool


def target_rows(case: ImageCase, image: np.ndarray, protocol: Protocol) -> list[TargetRow]:
    """Describes the targets of one image.

    Args:
        case: Scores and mask at the scoring size.
        image: (H, W) grey values in [0, 1] at the same size.
        protocol: What counts as detected.
    """
    targets = case.targets
    matching = case.match(protocol)
    mean, background, deviation = local_statistics(image, targets)
    mean_out, background_out, deviation_out = local_statistics(case.scores, targets)
    snr = contrast_to_noise(mean, background, deviation)
    scrg = divide(contrast_to_noise(mean_out, background_out, deviation_out), snr)
    bsf = divide(deviation, deviation_out)
    errors = _centroid_errors(case, matching, protocol)
    off_centre = _off_centre(case, matching, protocol)
    peaks = [case.peak(targets, i) for i in range(len(targets))]
    return [
        TargetRow(
            image=case.name,
            row=float(targets.centroids[i, 0]),
            column=float(targets.centroids[i, 1]),
            area=int(targets.areas[i]),
            contrast=float(mean[i] - background[i]),
            snr=float(snr[i]),
            hit=bool(matching.hit[i]),
            score=score,
            centroid_error=float(errors[i]),
            scrg=float(scrg[i]),
            bsf=float(bsf[i]),
            logit=logit,
            off_centre=float(off_centre[i]),
        )
        for i, (score, logit) in enumerate(peaks)
    ]


def _off_centre(case: ImageCase, matching: Matching, protocol: Protocol) -> np.ndarray:
    predictions = case.predictions(protocol)
    distances, shared = centroid_distances(case.targets, predictions), _shared(case, protocol)
    is_taken = ~matching.unmatched_predictions(len(predictions)) | (shared[matching.hit] > 0).any(axis=0)
    is_of = ((distances < NEAR) | (shared > 0)) & ~is_taken
    nearest = np.where(is_of, distances, np.inf).min(axis=1, initial=np.inf)
    return np.where(matching.hit | np.isinf(nearest), np.nan, nearest)


def _centroid_errors(case: ImageCase, matching: Matching, protocol: Protocol) -> np.ndarray:
    errors = np.full(len(case.targets), np.nan)
    if matching.hit.any():
        distances = centroid_distances(case.targets, case.predictions(protocol))
        partner = np.where(matching.partner >= 0, matching.partner, distances.argmin(axis=1))
        hit = np.flatnonzero(matching.hit)
        errors[hit] = distances[hit, partner[hit]]
    return errors


def detection_rows(case: ImageCase, protocol: Protocol) -> list[DetectionRow]:
    """Describes the detections of one image, in the order of its components.

    False under matching rules with pairs are the unmatched components; under 'overlap' those on no target, under 'box'
    those without a pixel within ``clear_radius`` of one. Where a rule without pairs finds a target by several, the one
    with the most pixels on it, or within ``hit_radius`` of it, is the hit.
    """
    predictions, matching = case.predictions(protocol), case.match(protocol)
    count = len(predictions)
    if count == 0:
        return []
    shared = _shared(case, protocol)
    if protocol.matching == 'box':
        near = dilate(case.gt_mask, protocol.clear_radius)
        free = np.bincount(predictions.labels[near], minlength=count + 1)[1:] == 0
    else:
        is_paired = protocol.matching != 'overlap'
        free = matching.unmatched_predictions(count) if is_paired else shared.sum(axis=0) == 0
    has_pairs = (matching.partner >= 0).any()
    found_by = set((matching.partner if has_pairs else shared.argmax(axis=1))[matching.hit].tolist())
    on_found = (shared[matching.hit] > 0).any(axis=0)

    def verdict(index: int) -> Verdict:
        if index in found_by:
            return 'hit'
        return 'fragment' if on_found[index] else 'false alarm' if free[index] else 'not counted'

    rows = []
    for index, (row, column) in enumerate(predictions.centroids.tolist()):
        score, logit = case.peak(predictions, index)
        area = int(predictions.areas[index])
        rows.append(DetectionRow(case.name, row, column, area, score, logit, verdict(index), bool(free[index])))
    return rows


def _shared(case: ImageCase, protocol: Protocol) -> np.ndarray:
    """(n targets, n predictions) int: pixels of each prediction on each target, under 'box' in the boxes around it."""
    predictions = case.predictions(protocol)
    if protocol.matching == 'box':
        return _shared_boxes(case.targets, predictions, protocol.hit_radius)
    return overlap_areas(case.targets, predictions)


def _shared_boxes(targets: Components, predictions: Components, radius: int) -> np.ndarray:
    """(n targets, n predictions) int: pixels of each prediction in the boxes around the pixels of each target."""
    shared = np.zeros((len(targets), len(predictions)), dtype=np.int64)
    for index, box in enumerate(targets.boxes):
        window = tuple(slice(max(0, side.start - radius), side.stop + radius) for side in box)
        near = dilate(targets.labels[window] == index + 1, radius)
        shared[index] = np.bincount(predictions.labels[window][near], minlength=len(predictions) + 1)[1:]
    return shared


def false_alarm_rows(case: ImageCase, protocol: Protocol) -> list[DetectionRow]:
    """Describes the false alarms of one image, see :func:`detection_rows`."""
    return [row for row in detection_rows(case, protocol) if row.is_false]


@dataclass(frozen=True)
class Bin:
    """Targets whose value lies in [low, high).

    Attributes:
        low: Lower edge.
        high: Upper edge.
        targets: Number of targets.
        hits: Detected ones.
    """

    low: float
    high: float
    targets: int
    hits: int

    @property
    def pd(self) -> float:
        """Detected / all targets; NaN in an empty bin."""
        return self.hits / self.targets if self.targets else float('nan')


def breakdown(rows: Sequence[TargetRow], by: str, edges: Sequence[float]) -> list[Bin]:
    """Pd by bins of a column.

    Args:
        rows: Targets.
        by: Name of the column, 'area' or 'snr'.
        edges: Ascending; the last bin includes its upper edge. Values outside, and NaN, are in no bin.
    """
    values = np.array([getattr(row, by) for row in rows], dtype=np.float64)
    hits = np.array([row.hit for row in rows], dtype=bool)
    bins = []
    for number, (low, high) in enumerate(pairwise(edges)):
        inside = (values >= low) & ((values <= high) if number == len(edges) - 2 else (values < high))
        bins.append(Bin(low, high, int(inside.sum()), int((inside & hits).sum())))
    return bins


def clutter_summary(rows: Sequence[TargetRow]) -> dict[str, float]:
    """Medians over targets of ``SCRG`` and ``BSF``, which may be infinite; NaN without targets.

    The median, because a single target over a score map that is zero around it would make the mean infinite.
    """
    columns = {'SCRG': [row.scrg for row in rows], 'BSF': [row.bsf for row in rows]}
    defined = {key: np.array(values)[~np.isnan(values)] for key, values in columns.items()}
    return {key: float(np.median(v)) if v.size else float('nan') for key, v in defined.items()}
