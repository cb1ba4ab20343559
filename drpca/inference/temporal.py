"""Confirmation of detections over time: what does not move like a target is not reported.

Track-before-detect with the m-of-n rule (Blackman and Popoli, 'Design and Analysis of Modern Tracking Systems',
Artech House 1999, chapter 6; Bar-Shalom, Willett and Tian, 'Tracking and Data Fusion', 2011, section 3.3). In
every frame k:

1. Candidates are the 8-connected components of scores > c, where c lies *below* the threshold of a single frame:
   zᵢ is the centroid of component i.
2. Every track predicts its place by a straight line, fitted by least squares to its candidates of the last n
   frames (constant velocity):  ẑ(k) = z̄ + v (k − t̄),  v = Σ(t − t̄)(z − z̄) / Σ(t − t̄)².
3. Candidate i may continue track j if ‖zᵢ − ẑⱼ‖ < r, with r = gate · Δ, where Δ is the number of frames since
   the track's last candidate; a track with one candidate has no velocity yet, and r = max_speed · Δ.
4. The pairs minimise Σ (‖zᵢ − ẑⱼ‖²/r² − 1) over all one-to-one assignments (global nearest neighbour): every
   such pair is worth more than leaving both alone.
5. A candidate without a track starts one. A track without a candidate for more than n − m frames ends.
6. A candidate is reported if its track has candidates in at least m of the last n frames, and ‖v‖ ≥ min_speed.

No frame is held back: the first m − 1 appearances of a target are not reported, later ones at once. An alarm that
stands still in the picture (a hot pixel, a lamp, an edge of a cloud) is as persistent as a target: only min_speed
removes it, together with every target as slow.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import cv2
import numpy as np
from scipy import ndimage
from scipy.optimize import linear_sum_assignment

from drpca.errors import UserError
from drpca.inference.detections import EIGHT_NEIGHBOURS, Detection, find_targets
from drpca.inference.frames import sequence_of

MAX_CANDIDATES = 500
"""Candidates per frame; of more, the strongest are taken."""


@dataclass
class _Hit:
    step: int  # frames that the filter has seen
    time: float  # frames of the source, which may have dropped some
    place: np.ndarray  # (row, column)


@dataclass
class _Track:
    number: int
    hits: list[_Hit] = field(default_factory=list)

    def line(self) -> tuple[float, np.ndarray, np.ndarray]:
        """Mean time, mean place and velocity per frame of the straight line through the hits."""
        times = np.array([hit.time for hit in self.hits])
        places = np.array([hit.place for hit in self.hits])
        offsets = times - times.mean()
        spread = offsets @ offsets
        velocity = offsets @ places / spread if spread > 0 else np.zeros(2)
        return float(times.mean()), places.mean(axis=0), velocity

    def predict(self, time: float) -> np.ndarray:
        """(row, column) on the line."""
        mean_time, mean_place, velocity = self.line()
        return mean_place + velocity * (time - mean_time)

    def speed(self) -> float:
        """Pixels per frame."""
        return float(np.linalg.norm(self.line()[2]))


class TemporalFilter:
    """Reports a detection once its track has candidates in m of the last n frames.

    >>> filter = TemporalFilter(m=3, n=5, candidate_threshold=0.2)
    >>> for detection in filter(detector.stream('flight.mp4')): ...

    Args:
        m: Candidates that a track needs.
        n: Frames among which they are counted.
        candidate_threshold: Scores above it are candidates; in [0, 1), below the detector's threshold.
        max_speed: Targets move less than this, in pixels per frame.
        gate: They appear nearer than this to the predicted place, in pixels per frame since the last candidate.
        min_speed: Smallest motion of a reported target, in pixels per frame.
        stabilise: Take out the motion of the camera: the shift between successive frames, found by phase
            correlation (Kuglin and Hines, 1975). Rotation and zoom are not.

    Raises:
        UserError: Not 1 <= m <= n, a threshold outside [0, 1), or a speed or gate out of range.
    """

    def __init__(
        self,
        m: int = 3,
        n: int = 5,
        candidate_threshold: float = 0.25,
        max_speed: float = 4.0,
        gate: float = 2.0,
        min_speed: float = 0.0,
        stabilise: bool = False,
    ) -> None:
        if not 1 <= m <= n:
            raise UserError(f'Expected 1 <= m <= n for a confirmation by m of n frames, got {m} of {n}.')
        if not 0 <= candidate_threshold < 1:
            raise UserError(f'Expected a candidate threshold in [0, 1), got {candidate_threshold}.')
        if not (max_speed > 0 and gate > 0 and 0 <= min_speed < max_speed):
            raise UserError(
                f'Expected a positive gate and 0 <= min_speed < max_speed, got {gate}, {min_speed} and {max_speed}.'
            )
        self.m, self.n = m, n
        self.candidate_threshold = candidate_threshold
        self.max_speed = max_speed
        self.gate = gate
        self.min_speed = min_speed
        self.stabilise = stabilise
        self.reset()

    def described(self) -> dict[str, Any]:
        """Its options, for files: m, n, the candidate threshold, and what differs from the defaults."""
        defaults = inspect.signature(TemporalFilter).parameters
        always = ('m', 'n', 'candidate_threshold')
        return {
            name: getattr(self, name)
            for name, parameter in defaults.items()
            if name in always or getattr(self, name) != parameter.default
        }

    def reset(self) -> None:
        """Forget all tracks: another sequence begins."""
        self._tracks: list[_Track] = []
        self._started = 0
        self._step = 0
        self._camera = np.zeros(2)
        self._last: np.ndarray | None = None

    def __call__(self, detections: Iterable[Detection]) -> Iterator[Detection]:
        """The detections, each as :meth:`step` returns it.

        Every sequence (:func:`drpca.inference.frames.sequence_of`) begins anew.
        """
        sequence = None
        for detection in detections:
            if (found := sequence_of(detection.name)) != sequence:
                self.reset()
                sequence = found
            yield self.step(detection)

    def step(self, detection: Detection) -> Detection:
        """Enter the next frame.

        Returns:
            The same frame and scores; ``mask`` and ``targets`` hold the confirmed candidates alone, at the
            candidate threshold, each target with the number of its ``track``.

        Raises:
            UserError: The frame's size differs from the one before.
        """
        if self._last is not None and self._last.shape != detection.image.shape:
            raise UserError(
                f'{detection.name} is {detection.image.shape[0]} × {detection.image.shape[1]} pixels, the frame '
                f'before it {self._last.shape[0]} × {self._last.shape[1]}: frames of a sequence have one size.'
            )
        if self.stabilise and self._last is not None:
            self._camera = self._camera + _shift(self._last, detection.image)
        self._last = detection.image
        mask = detection.scores > self.candidate_threshold
        labels, count = ndimage.label(mask, structure=EIGHT_NEIGHBOURS)
        candidates = find_targets(detection.scores, detection.image, mask, detection.logits)
        strongest = sorted(range(count), key=lambda index: -candidates[index].strength)[:MAX_CANDIDATES]
        places = np.array([(candidates[i].row, candidates[i].column) for i in strongest]).reshape(-1, 2)
        time = self._step if detection.index is None else detection.index
        tracks = self._assign(places - self._camera, time)
        confirmed = {index: track.number for index, track in zip(strongest, tracks) if self._is_confirmed(track)}
        is_confirmed = np.zeros(count + 1, bool)
        is_confirmed[[index + 1 for index in confirmed]] = True
        targets = [replace(candidates[index], track=confirmed[index]) for index in sorted(confirmed)]
        return replace(detection, mask=is_confirmed[labels], confirmed=targets)

    def _is_confirmed(self, track: _Track) -> bool:
        return len(track.hits) >= self.m and (not self.min_speed or track.speed() >= self.min_speed)

    def _assign(self, places: np.ndarray, time: float) -> list[_Track]:
        """Continue or start a track with each of the (n, 2) places; returns the track of each."""
        costs = np.zeros((len(places), len(self._tracks)))
        for column, track in enumerate(self._tracks):
            reach = self.max_speed if len(track.hits) == 1 else self.gate
            radius = reach * (time - track.hits[-1].time)
            distances = np.linalg.norm(places - track.predict(time), axis=1)
            costs[:, column] = np.minimum((distances / radius) ** 2 - 1, 0)
        pairs = zip(*linear_sum_assignment(costs))
        continued: dict[int, _Track] = {
            int(row): self._tracks[column] for row, column in pairs if costs[row, column] < 0
        }
        for row, place in enumerate(places):
            if row not in continued:
                self._started += 1
                continued[row] = _Track(self._started)
                self._tracks.append(continued[row])
            continued[row].hits.append(_Hit(self._step, time, place))
        self._step += 1
        self._forget()
        return [continued[row] for row in range(len(places))]

    def _forget(self) -> None:
        """Drop what lies more than n frames back, and tracks that have gone."""
        for track in self._tracks:
            track.hits = [hit for hit in track.hits if hit.step >= self._step - self.n]
        self._tracks = [
            track for track in self._tracks if track.hits and self._step - 1 - track.hits[-1].step <= self.n - self.m
        ]


def _shift(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """(rows, columns) by which the picture moved."""
    window = cv2.createHanningWindow(before.shape[::-1], cv2.CV_32F)
    (columns, rows), _ = cv2.phaseCorrelate(before.copy(), after.copy(), window)  # which writes into both
    return np.array([rows, columns])
