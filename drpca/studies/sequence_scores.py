"""What a detector finds in labelled sequences: by frame, by sequence, by signal-to-noise ratio, and its tracks."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from drpca.datasets.sequences import FrameSequence, LabelKind, find_sequences
from drpca.errors import UserError
from drpca.evaluation import functional as F
from drpca.evaluation.curves import CURVE_FIGURES, CurveSum
from drpca.evaluation.local_contrast import contrast_to_noise, local_statistics
from drpca.evaluation.sequences import (
    SHOOTING_THRESHOLDS,
    ShootingCounts,
    contrast_gains,
    finite_means,
    point_targets,
    shooting_auc,
    shooting_counts,
    track_figures,
)
from drpca.inference.detections import Detection
from drpca.inference.detector import Detector
from drpca.inference.temporal import TemporalFilter
from drpca.names import simplify

LOW_SNR = 3.0
NUDT_MIRSDT = 'NUDT-MIRSDT'
NUDT_MIRSDT_LOW = (47, 56, 59, 76, 92, 101, 105, 119)
"""Test sequences of NUDT-MIRSDT with a signal-to-noise ratio up to 3, as its authors list them."""
NUDT_MIRSDT_TEST = (*range(85, 98), *NUDT_MIRSDT_LOW)
ALL, LOW, HIGH = 'all', 'SNR <= 3', 'SNR > 3'


@dataclass(frozen=True)
class FrameScore:
    """One frame at the detector's threshold, by distance: a target is hit if a detection's centroid is nearer than 3
    pixels.

    Attributes:
        name: Of the frame.
        targets: Labelled targets.
        hits: Those hit.
        false_alarms: Detections that hit none.
        false_pixels: Their area.
    """

    name: str
    targets: int
    hits: int
    false_alarms: int
    false_pixels: int


@dataclass(frozen=True)
class SequenceScore:
    """Figures of a sequence or of a group of them.

    Attributes:
        name: Of the sequence, or ``'all'``, ``'SNR <= 3'``, ``'SNR > 3'``.
        frames: Number of frames.
        targets: Labelled targets, frame by frame.
        snr: Mean local signal-to-noise ratio of the targets in the frames, |mean − mean around| / deviation around.
        seconds: Of the processor, a frame; all threads.
        figures: ``Pd`` and ``Fa`` at the detector's threshold by distance, ``pd_at_fa_1e-5``, … of all thresholds,
            of logits where there are any;
            ``shooting_Pd``, ``shooting_Fa``, ``shooting_AUC``; the 3D-ROC; ``SCRG``, ``SCRG_finite``, …; and, with a
            filter, ``confirmed_Pd``, ``confirmed_Fa``, ``confirmed_pd_at_fa_1e-5``, … of the scores that it leaves,
            and ``track_…`` (:class:`drpca.evaluation.sequences.TrackFigures`).
        rows: One of each frame; empty of a group.
    """

    name: str
    frames: int
    targets: int
    snr: float
    seconds: float
    figures: dict[str, float]
    rows: list[FrameScore] = field(default_factory=list)


@dataclass
class _Sums:
    curve: CurveSum = field(default_factory=CurveSum)
    roc_3d: F.Roc3dCounts = field(default_factory=F.Roc3dCounts.zero)
    shooting: ShootingCounts = field(default_factory=ShootingCounts)
    shots: list[ShootingCounts] = field(default_factory=list)
    gains: list[np.ndarray] = field(default_factory=list)
    snr: list[np.ndarray] = field(default_factory=list)
    counts: np.ndarray = field(default_factory=lambda: np.zeros(6))  # hits, targets, false pixels, pixels, frames, s
    confirmed: np.ndarray = field(default_factory=lambda: np.zeros(2))  # hits, false pixels
    confirmed_curve: CurveSum = field(default_factory=CurveSum)
    tracks: list[dict[str, float]] = field(default_factory=list)

    def figures(self, with_tracks: bool) -> dict[str, float]:
        hits, targets, false_pixels, pixels, *_ = self.counts
        curve = self.curve.curve()
        figures = {'Pd': F.ratio(hits, targets, targets), 'Fa': F.ratio(false_pixels, pixels, pixels)}
        figures |= dict(zip(CURVE_FIGURES, curve.figures().values()))
        figures |= {f'shooting_{name}': value for name, value in self.shooting.figures().items()}
        figures['shooting_AUC'] = shooting_auc(self.shots)
        figures |= F.roc_3d_figures(self.roc_3d)
        figures |= finite_means(np.concatenate(self.gains) if self.gains else np.zeros((0, 4)))
        if with_tracks:
            figures |= {
                'confirmed_Pd': F.ratio(self.confirmed[0], targets, targets),
                'confirmed_Fa': F.ratio(self.confirmed[1], pixels, pixels),
            }
            confirmed = self.confirmed_curve.curve().figures().values()
            figures |= {f'confirmed_{name}': value for name, value in zip(CURVE_FIGURES, confirmed)}
            for name in self.tracks[0]:
                values = np.array([tracks[name] for tracks in self.tracks])
                is_mean = name in ('delay', 'false_per_minute')
                known = values[~np.isnan(values)]
                whole = known.mean() if known.size else np.nan
                figures[f'track_{name}'] = float(whole if is_mean else values.sum())
        return figures


def score_sequences(
    detector: Detector,
    root: str | Path,
    *,
    names: Sequence[str] = (),
    limit: int | None = None,
    confirm: tuple[int, int] | None = None,
    candidate_threshold: float = 0.25,
    min_speed: float = 0.0,
    stabilise: bool = False,
    rate: float = 25.0,
    within: int = 10,
) -> list[SequenceScore]:
    """Scores a detector, of single frames or of windows of them, on sequences with points, masks or boxes as labels.

    Of several kinds points count, text before ``masks_centroid``, else masks, else boxes.

    Args:
        detector: Its score maps and its threshold are judged.
        root: Folder of sequences (:mod:`drpca.datasets.sequences`).
        names: Of the sequences; default: all.
        limit: Only so many frames of each, from its beginning.
        confirm: m and n of a :class:`drpca.inference.temporal.TemporalFilter`, whose tracks are judged too.
        candidate_threshold: Of the filter.
        min_speed: Likewise, in pixels per frame.
        stabilise: Likewise: take out shifts of the whole picture.
        rate: Frames a second, for false tracks a minute.
        within: A target counts as found in time up to so many frames after it appears.

    Returns:
        One score of each sequence; then of all, and of those with a signal-to-noise ratio up to 3 and above it, where
        there are both.

    Raises:
        UserError: No sequences, or none of that name; one without labels, or, for a detector that looks at several
            frames, with fewer of them or of several sizes; as the detector.
    """
    found = {sequence.name: sequence for sequence in find_sequences(root)}
    for name in names:
        if name not in found:
            raise UserError(f'{root} has no sequence {name!r}: expected one of {", ".join(found)}.')
    chosen = [found[name] for name in names] or list(found.values())
    for sequence in chosen:  # what is wrong with the labels is told before the first frame
        sequence.check_labels(_kind(sequence), _count(sequence, limit))
    if detector.frames > 1:
        for sequence in chosen:
            sequence.check_window(detector.frames, _count(sequence, limit))
    groups: dict[str, _Sums] = {ALL: _Sums(), LOW: _Sums(), HIGH: _Sums()}
    scores = []
    for sequence in chosen:
        temporal = None
        if confirm is not None:
            temporal = TemporalFilter(*confirm, candidate_threshold, min_speed=min_speed, stabilise=stabilise)
        sums = _Sums()
        rows: list[FrameScore] = []
        _add_frames(detector, sequence, limit, temporal, rate, within, sums, rows)
        snr = _mean(sums.snr)
        for name in (ALL, LOW if _is_low(sequence, snr) else HIGH):
            _join(groups[name], sums)
        scores.append(_score(sequence.name, sums, temporal is not None, rows))
    wanted = [name for name, sums in groups.items() if sums.counts[4]]
    return scores + [
        _score(name, groups[name], confirm is not None) for name in wanted if len(wanted) > 2 or name == ALL
    ]


def _read_targets(sequence: FrameSequence, place: int, shape: tuple[int, int]) -> tuple[F.Components, np.ndarray, bool]:
    """Targets of a frame, their (row, column) in the order of the labels, and whether they are points."""
    kind = _kind(sequence)
    places = sequence.read_places(place, kind)
    if sequence.points and places is not None:
        return point_targets(sequence.read_points_in(place, shape), shape), places, True
    numbers = sequence.read_numbers(place, kind, shape, radius=0)
    targets = F.connected_components(numbers > 0) if kind == 'masks' else F.numbered_components(numbers)
    return targets, targets.centroids if places is None else places, kind == 'points'


def _kind(sequence: FrameSequence) -> LabelKind:
    return 'points' if 'points' in sequence.labels else (*sequence.labels, 'points')[0]


def _count(sequence: FrameSequence, limit: int | None) -> int:
    return len(sequence) if limit is None else min(limit, len(sequence))


def _is_low(sequence: FrameSequence, snr: float) -> bool:
    """By the list of its authors where it is a test sequence of NUDT-MIRSDT, else as measured."""
    number = sequence.name.rpartition('/')[2].lower().removeprefix('sequence')
    first = sequence.frames[0]
    folders = {simplify(part) for path in (first.absolute(), first.resolve()) for part in path.parts}
    if simplify(NUDT_MIRSDT) in folders and number.isdecimal() and int(number) in NUDT_MIRSDT_TEST:
        return int(number) in NUDT_MIRSDT_LOW
    return snr <= LOW_SNR


def _mean(parts: list[np.ndarray]) -> float:
    values = np.concatenate(parts) if parts else np.zeros(0)
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if finite.size else float('nan')


def _score(name: str, sums: _Sums, with_tracks: bool, rows: list[FrameScore] | None = None) -> SequenceScore:
    *_, frames, seconds = sums.counts
    targets = int(sums.counts[1])
    figures = sums.figures(with_tracks)
    return SequenceScore(name, int(frames), targets, _mean(sums.snr), seconds / frames, figures, rows or [])


def _join(group: _Sums, sums: _Sums) -> None:
    if not group.counts[4]:
        group.curve, group.confirmed_curve = (CurveSum(sums.curve.scale) for _ in range(2))
    group.curve.merge(sums.curve)
    group.confirmed_curve.merge(sums.confirmed_curve)
    group.roc_3d += sums.roc_3d
    group.shooting += sums.shooting
    group.shots = _added(group.shots, sums.shots)
    group.gains += sums.gains
    group.snr += sums.snr
    group.counts = group.counts + sums.counts
    group.confirmed = group.confirmed + sums.confirmed
    group.tracks += sums.tracks


def _added(total: list[ShootingCounts], more: list[ShootingCounts]) -> list[ShootingCounts]:
    return [a + b for a, b in zip(total, more)] if total else more


class _Timed:
    """What a detector finds in a sequence, frame by frame, and the processor time it takes, without that of reading."""

    def __init__(self, detector: Detector, sequence: FrameSequence, count: int) -> None:
        self.detector, self.sequence, self.count = detector, sequence, count
        self.seconds = 0.0

    def _frames(self) -> Iterator[tuple[str, np.ndarray]]:
        for place in range(self.count):
            started = time.process_time()
            frame = self.sequence.read_frame(place)
            self.seconds -= time.process_time() - started
            yield f'{self.sequence.name}/{self.sequence.frames[place].stem}', frame

    def __iter__(self) -> Iterator[Detection]:
        found = self.detector.stream(self._frames())
        while True:
            started = time.process_time()
            detection = next(found, None)
            self.seconds += time.process_time() - started
            if detection is None:
                return
            yield detection


def _add_frames(
    detector: Detector,
    sequence: FrameSequence,
    limit: int | None,
    temporal: TemporalFilter | None,
    rate: float,
    within: int,
    sums: _Sums,
    rows: list[FrameScore],
) -> None:
    points: list[np.ndarray] = []
    reports: list[list[tuple[int, float, float]]] = []
    detections = _Timed(detector, sequence, _count(sequence, limit))
    for place, detection in enumerate(detections):
        image, scores = detection.image, detection.scores
        targets, places, are_points = _read_targets(sequence, place, (scores.shape[0], scores.shape[1]))
        points.append(places)
        predictions = F.connected_components(detection.mask)
        matching = F.match_centroid(targets, predictions)
        free = matching.unmatched_predictions(len(predictions))
        hits, area = int(matching.hit.sum()), F.unmatched_area(predictions, matching)
        rows.append(FrameScore(detection.name.rpartition('/')[2], len(targets), hits, int(free.sum()), area))
        if not sums.counts[4] and detection.logits is not None:
            # they tell scores of exactly 1 apart
            sums.curve, sums.confirmed_curve = CurveSum('logit'), CurveSum('logit')
        values = scores if detection.logits is None else detection.logits
        sums.curve.update(values, targets)
        sums.roc_3d += F.roc_3d_counts(scores, targets)
        shooting, *shots = shooting_counts(scores, targets, (detector.threshold, *SHOOTING_THRESHOLDS))
        sums.shooting += shooting
        sums.shots = _added(sums.shots, shots)
        sums.gains.append(contrast_gains(image, scores, targets.centroids))
        areas = F.connected_components(F.dilate(targets.mask, 1)) if are_points else targets
        sums.snr.append(contrast_to_noise(*local_statistics(image, areas)))
        sums.counts = sums.counts + (hits, len(targets), area, scores.size, 1, 0)
        if temporal is not None:
            kept = temporal.step(detection)
            left = F.connected_components(kept.mask)
            sums.confirmed_curve.update(np.where(kept.mask, values, values.min()), targets)
            confirmed = F.match_centroid(targets, left)
            sums.confirmed = sums.confirmed + (confirmed.hit.sum(), F.unmatched_area(left, confirmed))
            reports.append([(int(target.track or 0), target.row, target.column) for target in kept.targets])
    sums.counts[5] += detections.seconds
    if temporal is not None:
        figures = vars(track_figures(reports, points, rate, within))
        sums.tracks.append({name: float(value) for name, value in figures.items()})
