"""What the confirmation over m of n frames gains on synthetic sequences of known truth.

A single frame is judged at the threshold at which it has
the Pd of the filter, so that the false alarms can be compared. Pd and Fa are those of DNANet's protocol: a target
is hit if a detection's centroid is nearer than 3 pixels, and the pixels of all other detections are false alarms.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from drpca.baselines.top_hat import TopHat
from drpca.datasets.synthetic_sequence import generate_sequence
from drpca.evaluation.functional import Components, connected_components, match_centroid, unmatched_area
from drpca.inference.detections import Detection
from drpca.inference.detector import Detector
from drpca.inference.mappers import FrameMapper
from drpca.inference.temporal import TemporalFilter

TOP_HAT_RANGE = 96.0
"""Grey levels of the top-hat's response that stand for a score of 1, the same in all frames."""
_AROUND = 12


class TopHatMapper(FrameMapper):
    """Scores of the top-hat transform on a fixed scale."""

    def __init__(self) -> None:
        super().__init__(None)
        self.method = TopHat('paper')

    def score_batch(self, images: list[np.ndarray]) -> list[np.ndarray]:
        return [np.minimum(self.method.predict(image) / TOP_HAT_RANGE, 1) for image in images]


@dataclass(frozen=True)
class OperatingPoint:
    """Pd and Fa (pixels of false alarms over all pixels) on a sequence, and false detections per frame."""

    threshold: float
    pd: float
    fa: float
    false_per_frame: float


def operating_point(masks: Iterable[np.ndarray], targets: Sequence[Components], threshold: float) -> OperatingPoint:
    """Pd and Fa of detection masks.

    Args:
        masks: (H, W) bool of every frame.
        targets: Components of the label of every frame.
        threshold: That made the masks.
    """
    hits = area = alarms = pixels = 0
    for mask, truth in zip(masks, targets):
        predictions = connected_components(mask)
        matching = match_centroid(truth, predictions)
        hits += int(matching.hit.sum())
        area += unmatched_area(predictions, matching)
        alarms += int(matching.unmatched_predictions(len(predictions)).sum())
        pixels += mask.size
    return OperatingPoint(threshold, hits / sum(map(len, targets)), area / pixels, alarms / len(targets))


def at_equal_pd(
    detections: Sequence[Detection], gt_masks: np.ndarray, temporal: TemporalFilter
) -> tuple[OperatingPoint, OperatingPoint]:
    """The filter, and single frames at the threshold that gives the same Pd.

    Thresholds are taken from the highest scores of the targets, between which Pd does not change. It falls with
    the threshold, so that bisection finds the place; of the thresholds around it the nearest in Pd is returned.

    Args:
        detections: Of every frame, in order.
        gt_masks: (N, H, W) bool.
        temporal: The filter.

    Returns:
        Operating points of the filter and of single frames.
    """
    targets = [connected_components(mask) for mask in gt_masks]
    filtered = (detection.mask for detection in temporal(detections))
    confirmed = operating_point(filtered, targets, temporal.candidate_threshold)
    peaks = np.unique(
        [
            detection.scores[truth.labels == number + 1].max()
            for detection, truth in zip(detections, targets)
            for number in range(len(truth))
        ]
    )

    @cache
    def single(index: int) -> OperatingPoint:
        threshold = float(peaks[index])
        return operating_point((d.scores > threshold for d in detections), targets, threshold)

    place = bisect_left(range(len(peaks)), -confirmed.pd, key=lambda index: -single(index).pd)
    around = range(max(place - _AROUND, 0), min(place + _AROUND, len(peaks)))
    return confirmed, min(map(single, around), key=lambda point: (abs(point.pd - confirmed.pd), point.fa))


def confirmation_gain(
    seeds: Iterable[int] = range(5),
    *,
    confirm: tuple[int, int] = (3, 5),
    candidate_threshold: float = 0.22,
    contrast: float = 0.06,
    min_speed: float = 0.0,
) -> Iterator[tuple[int, OperatingPoint, OperatingPoint]]:
    """Compares the filter with single frames of equal Pd, sequence by sequence, under the top-hat transform.

    Args:
        seeds: Of the sequences.
        confirm: m and n.
        candidate_threshold: Scores above it count for the filter.
        contrast: Of the background.
        min_speed: Smallest motion of a target, in pixels per frame.

    Yields:
        Seed, operating point of the filter, operating point of single frames.

    Raises:
        UserError: A value out of range.
    """
    detector = Detector.from_mapper(TopHatMapper())
    for seed in seeds:
        sequence = generate_sequence(seed, contrast=contrast)
        temporal = TemporalFilter(*confirm, candidate_threshold, min_speed=min_speed)
        yield seed, *at_equal_pd(detector(sequence.frames), sequence.gt_masks, temporal)
