"""Confirmation over m of n frames: the rule on tracks drawn by hand, and its gain on sequences of known truth."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from drpca.datasets.synthetic_sequence import generate_sequence
from drpca.errors import UserError
from drpca.inference import temporal
from drpca.inference.detections import Detection
from drpca.inference.detector import Detector
from drpca.inference.temporal import TemporalFilter
from drpca.studies.sequences import TopHatMapper, at_equal_pd

SIZE = 96


def frame(*spots: tuple[int, int], level: float = 0.4, index: int | None = None) -> Detection:
    """A frame whose candidates are 2 × 2 squares with these upper left corners."""
    scores = np.zeros((SIZE, SIZE), np.float32)
    for row, column in spots:
        scores[row : row + 2, column : column + 2] = level
    return Detection('f', np.zeros_like(scores), scores, scores > 0.5, index=index)


def corners(detection: Detection) -> list[tuple[int, int]]:
    return [target.box[:2] for target in detection.targets]


def test_a_moving_target_is_confirmed_and_clutter_is_not() -> None:
    clutter = [(70, 10), (5, 80), (50, 60), (30, 90), (80, 40), (10, 10)]
    track = [(20 + index, 20 + 2 * index) for index in range(6)]
    found = list(TemporalFilter(3, 5)([frame(*both) for both in zip(track, clutter)]))
    assert [corners(detection) for detection in found] == [[], [], *([place] for place in track[2:])]
    (number,) = {target.track for detection in found for target in detection.targets}
    assert number is not None
    assert np.argwhere(found[-1].mask).tolist() == [[25, 30], [25, 31], [26, 30], [26, 31]]
    assert found[-1].scores[11, 11] == np.float32(0.4), 'scores are left as they are'


@pytest.mark.parametrize(('m', 'n'), [(1, 1), (2, 3), (3, 4), (3, 6)])
def test_m_of_n_counts_the_frames_with_a_candidate(m: int, n: int) -> None:
    seen = [1, 0, 1, 1, 0, 0, 1, 1, 1, 0, 1, 0, 0, 1, 1, 1, 1]
    frames = [frame(*([(40, 10 + index)] if there else [])) for index, there in enumerate(seen)]
    expected, run = [], []  # written out anew: a gap of more than n − m frames starts another track
    for index, there in enumerate(seen):
        if there:
            run = [old for old in run if old > index - n] if run and index - run[-1] <= n - m + 1 else []
            run.append(index)
        expected.append(bool(there) and len(run) >= m)
    assert [bool(detection.targets) for detection in TemporalFilter(m, n)(frames)] == expected
    assert 0 < sum(expected) <= sum(seen)


def moving(step: int, count: int = 6, **options: float) -> list[int]:
    frames = [frame((40, 4 + step * index)) for index in range(count)]
    return [len(detection.targets) for detection in TemporalFilter(3, 5, **options)(frames)]


def test_limits_of_speed() -> None:
    assert moving(3) == [0, 0, 1, 1, 1, 1]
    assert moving(5) == [0] * 6
    assert moving(5, max_speed=6) == [0, 0, 1, 1, 1, 1]
    assert moving(0) == [0, 0, 1, 1, 1, 1]
    assert moving(0, min_speed=0.5) == [0] * 6
    assert moving(1, min_speed=0.5) == [0, 0, 1, 1, 1, 1]


def test_a_turn_beyond_the_gate_breaks_the_track() -> None:
    frames = [frame((40, 10 + 3 * index)) for index in range(4)] + [frame((37, 22))]
    assert [len(d.targets) for d in TemporalFilter(3, 5, gate=4.0)(frames)] == [0, 0, 1, 1, 1]
    assert [len(d.targets) for d in TemporalFilter(3, 5, gate=2.0)(frames)] == [0, 0, 1, 1, 0]


def test_crossing_targets_keep_their_numbers() -> None:
    paths = [[(20 + 2 * index, 20 + 3 * index), (50 - 2 * index, 20 + 3 * index)] for index in range(14)]
    found = [detection.targets for detection in TemporalFilter(3, 5)([frame(*pair) for pair in paths])]
    assert all(len(targets) == 2 for targets in (found[3], found[-1]))
    (upper, lower), (upper_later, lower_later) = found[3], found[-1]
    assert (upper.track, lower.track) == (lower_later.track, upper_later.track)


def test_two_candidates_near_one_track_give_one_to_it() -> None:
    frames = [frame((40, 10 + 2 * index)) for index in range(4)] + [frame((40, 18), (43, 18))]
    *_, last = TemporalFilter(3, 5, gate=6.0)(frames)
    assert corners(last) == [(40, 18)]


def test_dropped_frames_count_as_time() -> None:
    numbers = (0, 3, 6, 9)
    told = [frame((40, 10 + 3 * index), index=index) for index in numbers]
    untold = [frame((40, 10 + 3 * index)) for index in numbers]
    assert [len(d.targets) for d in TemporalFilter(3, 5)(told)] == [0, 0, 1, 1]
    assert [len(d.targets) for d in TemporalFilter(3, 5)(untold)] == [0, 0, 0, 0]


def test_motion_of_the_camera() -> None:
    ground = cv2.GaussianBlur(np.random.default_rng(0).random((SIZE + 60, SIZE + 60), np.float32), (0, 0), 2)
    ground = (ground - ground.min()) / np.ptp(ground)
    frames = []
    for index in range(6):
        down, right = 5 * index, 7 * index
        spot = frame((20 + index + 50 - down, 60 + 12 - right))
        image = ground[down : down + SIZE, right : right + SIZE].copy()
        frames.append(Detection('f', image, spot.scores, spot.mask))
    assert [len(d.targets) for d in TemporalFilter(3, 5)(frames)] == [0] * 6
    before = [found.image.copy() for found in frames]
    assert [len(d.targets) for d in TemporalFilter(3, 5, stabilise=True)(frames)] == [0, 0, 1, 1, 1, 1]
    np.testing.assert_array_equal([found.image for found in frames], before)  # which windows of frames still look at


def test_the_strongest_candidates_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(temporal, 'MAX_CANDIDATES', 1)
    both = frame((10, 10))
    both.scores[40:42, 40:42] = 0.45
    assert corners(TemporalFilter(1, 1).step(both)) == [(40, 40)]
    logits = np.where(both.scores > 0, 30, -30).astype(np.float32)
    logits[40:42, 40:42] = 40
    equal = replace(both, scores=(logits > 0).astype(np.float32), logits=logits)
    assert corners(TemporalFilter(1, 1).step(equal)) == [(40, 40)], 'of equal scores that with the higher logit'


def test_sequences_do_not_mix() -> None:
    tracker = TemporalFilter(2, 3)
    assert [len(d.targets) for d in tracker([frame((9, 9)), frame((9, 9))])] == [0, 1]
    assert [len(d.targets) for d in tracker([frame((9, 9))])] == [0]


@pytest.mark.parametrize(
    'options',
    [{'m': 0, 'n': 3}, {'m': 4, 'n': 3}, {'candidate_threshold': 1.0}, {'gate': 0.0}, {'max_speed': -1.0},
     {'min_speed': 4.0}, {'max_speed': float('nan')}],
)  # fmt: skip
def test_bad_options(options: dict) -> None:
    with pytest.raises(UserError, match='Expected'):
        TemporalFilter(**options)


def test_frames_of_another_size() -> None:
    tracker = TemporalFilter()
    tracker.step(frame())
    small = np.zeros((8, 9), np.float32)
    with pytest.raises(UserError, match='one size'):
        tracker.step(Detection('g', small, small, small > 0))


# Sequences of known truth


def test_a_sequence_holds_what_it_says() -> None:
    sequence = generate_sequence(3, num_frames=40, size=64, spikes=0, noise=0.01, contrast=0.0)
    again = generate_sequence(3, num_frames=40, size=64, spikes=0, noise=0.01, contrast=0.0)
    assert np.array_equal(sequence.frames, again.frames)
    assert sequence.frames.shape == sequence.gt_masks.shape == (40, 64, 64)
    speeds = np.linalg.norm(np.diff(sequence.positions, axis=0), axis=2)
    assert speeds.max() <= 2.0 + 1e-9
    assert np.median(speeds) >= 0.5
    for image, mask, places in zip(sequence.frames, sequence.gt_masks, sequence.positions):
        assert all(mask[tuple(np.rint(place).astype(int))] for place in places)
        assert image[mask].mean() > image[~mask].mean() + 3
    with pytest.raises(UserError, match='at least one frame'):
        generate_sequence(num_frames=0)


@pytest.mark.parametrize('seed', [0, 1])
def test_fewer_false_alarms_at_the_same_pd(seed: int) -> None:
    sequence = generate_sequence(seed)
    detections = Detector.from_mapper(TopHatMapper())(sequence.frames)
    filtered, single = at_equal_pd(detections, sequence.gt_masks, TemporalFilter(3, 5, 0.22))
    assert abs(filtered.pd - single.pd) <= 0.01
    assert filtered.pd > 0.7
    assert filtered.fa < single.fa / 4
    assert filtered.false_per_frame < single.false_per_frame / 3


def test_another_video_is_another_sequence() -> None:
    frames = [frame((10, 10 + step)) for step in range(6)]
    names = [f'{video}_{step:06d}' for video in 'ab' for step in range(3)]
    told = [replace(one, name=name) for one, name in zip(frames, names)]
    assert [len(d.targets) for d in TemporalFilter(3, 5)(told)] == [0, 0, 1, 0, 0, 1]
