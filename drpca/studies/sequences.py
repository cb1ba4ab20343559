"""What the confirmation over m of n frames gains on synthetic sequences of known truth.

``python -m drpca.studies.sequences`` prints a table. A single frame is judged at the threshold at which it has
the Pd of the filter, so that the false alarms can be compared. Pd and Fa are those of DNANet's protocol: a target
is hit if a detection's centroid is nearer than 3 pixels, and the pixels of all other detections are false alarms.
"""

from __future__ import annotations

import argparse
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from drpca.baselines.top_hat import TopHat
from drpca.datasets.synthetic_sequence import generate_sequence
from drpca.evaluation.functional import Components, connected_components
from drpca.evaluation.matching import match_centroid, unmatched_area
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


def operating_point(
    masks: Iterable[np.ndarray], targets: Sequence[Components], threshold: float
) -> OperatingPoint:
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


def main(argv: list[str] | None = None) -> int:
    """Prints the comparison for several sequences."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--seeds', type=int, nargs='+', default=[0, 1, 2, 3, 4])
    parser.add_argument('--confirm', type=int, nargs=2, default=(3, 5), metavar=('M', 'N'))
    parser.add_argument('--candidate-threshold', type=float, default=0.22)
    parser.add_argument('--contrast', type=float, default=0.06, help='of the background')
    parser.add_argument('--min-speed', type=float, default=0.0)
    args = parser.parse_args(argv)
    m, n = args.confirm
    detector = Detector.from_mapper(TopHatMapper())
    print('seed   Pd filter  Pd single   Fa filter  Fa single (x1e-6)   alarms per frame: filter  single')
    for seed in args.seeds:
        sequence = generate_sequence(seed, contrast=args.contrast)
        temporal = TemporalFilter(m, n, args.candidate_threshold, min_speed=args.min_speed)
        detections = detector(sequence.frames)
        filtered, single = at_equal_pd(detections, sequence.gt_masks, temporal)
        print(
            f'{seed:4d} {filtered.pd:11.3f} {single.pd:10.3f} {1e6 * filtered.fa:11.1f} {1e6 * single.fa:10.1f}'
            f' {filtered.false_per_frame:34.2f} {single.false_per_frame:7.2f}'
        )
    return 0


if __name__ == '__main__':
    raise SystemExit(main())
