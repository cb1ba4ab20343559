"""One row per target and per false alarm: what was found, how visible it was, how well the background was
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

import numpy as np

from drpca.evaluation.functional import Matching, centroid_distances, dilate, divide, overlap_areas
from drpca.evaluation.local_contrast import contrast_to_noise, local_statistics
from drpca.evaluation.metrics import ImageCase
from drpca.evaluation.protocols import Protocol

AREA_EDGES = (1, 10, 25, 50, 80, np.inf)
"""Bins of target size in pixels; 80 is the usual limit of a small target (SPIE: 0.12 % of 256²)."""
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


@dataclass(frozen=True)
class FalseAlarmRow:
    """One predicted component that belongs to no target.

    Attributes:
        image: Name of the image.
        row: Row of its centroid in pixels.
        column: Column of its centroid.
        area: Pixels.
        score: Its highest score.
        logit: Its highest logit; NaN without logits.
    """

    image: str
    row: float
    column: float
    area: int
    score: float
    logit: float = math.nan


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
        )
        for i, (score, logit) in enumerate(peaks)
    ]


def _centroid_errors(case: ImageCase, matching: Matching, protocol: Protocol) -> np.ndarray:
    errors = np.full(len(case.targets), np.nan)
    if matching.hit.any():
        distances = centroid_distances(case.targets, case.predictions(protocol))
        partner = np.where(matching.partner >= 0, matching.partner, distances.argmin(axis=1))
        hit = np.flatnonzero(matching.hit)
        errors[hit] = distances[hit, partner[hit]]
    return errors


def false_alarm_rows(case: ImageCase, protocol: Protocol) -> list[FalseAlarmRow]:
    """Describes the false alarms of one image.

    Under matching rules with pairs these are the unmatched components; under 'overlap' those on no target,
    under 'box' those without a pixel within ``clear_radius`` of one.
    """
    predictions = case.predictions(protocol)
    if protocol.matching == 'overlap':
        free = overlap_areas(case.targets, predictions).sum(axis=0) == 0
    elif protocol.matching == 'box':
        near = dilate(case.gt_mask, protocol.clear_radius)
        free = np.bincount(predictions.labels[near], minlength=len(predictions) + 1)[1:] == 0
    else:
        free = case.match(protocol).unmatched_predictions(len(predictions))
    return [
        FalseAlarmRow(
            image=case.name,
            row=float(predictions.centroids[i, 0]),
            column=float(predictions.centroids[i, 1]),
            area=int(predictions.areas[i]),
            score=score,
            logit=logit,
        )
        for i, (score, logit) in ((i, case.peak(predictions, i)) for i in np.flatnonzero(free).tolist())
    ]


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
