"""Disturbances and what is made of the figures under them."""

import math

import numpy as np
import pytest

from drpca.datasets.io import ValueRange
from drpca.errors import UserError
from drpca.evaluation.protocols import build_protocol
from drpca.studies import robustness as R
from drpca.studies.corruptions import KINDS, Corruption, eight_bit, parse_corruptions

GREY = np.full((200, 300), 120, np.uint8)


def disturbed(kind, level, frame=GREY, name='a', seed=0):
    return Corruption(kind, level).apply(frame, name, seed)


@pytest.mark.parametrize('sigma', [10, 20, 30])
def test_gaussian_noise_has_its_mean_and_deviation(sigma):
    noise = disturbed('gaussian', sigma).astype(float) - 120
    assert noise.mean() == pytest.approx(0, abs=5 * sigma / np.sqrt(GREY.size))
    assert noise.std() == pytest.approx(sigma, rel=0.01)


@pytest.mark.parametrize('percent', [1, 3, 5])
def test_salt_and_pepper_hit_equal_shares(percent):
    frame = disturbed('salt_pepper', percent)
    tolerance = 5 * np.sqrt(percent / 200 / GREY.size)
    assert np.mean(frame == 0) == pytest.approx(percent / 200, abs=tolerance)
    assert np.mean(frame == 255) == pytest.approx(percent / 200, abs=tolerance)
    assert set(np.unique(frame)) == {0, 120, 255}


def test_speckle_grows_with_the_grey_value():
    for grey in (40, 120):
        noise = disturbed('speckle', 10, np.full((200, 300), grey, np.uint8)).astype(float) - grey
        assert noise.std() == pytest.approx(np.hypot(0.1 * grey, np.sqrt(1 / 12)), rel=0.02)


def test_stripes_are_one_offset_per_column():
    frame = disturbed('stripes', 8, np.full((20, 4000), 120, np.uint8)).astype(float)
    assert (frame == frame[0]).all()
    assert frame[0].std() == pytest.approx(8, rel=0.05)


def test_dead_pixels_are_black():
    frame = disturbed('dead_pixels', 1)
    assert np.mean(frame == 0) == pytest.approx(0.01, abs=5 * np.sqrt(0.01 / GREY.size))
    assert set(np.unique(frame)) == {0, 120}


def test_blur_spreads_a_point_as_a_gaussian():
    frame = np.zeros((41, 41), np.uint8)
    frame[20, 20] = 255
    assert disturbed('blur', 2, frame)[20, 20] == pytest.approx(255 / (2 * np.pi * 4), abs=0.6)


def test_contrast_loss_keeps_the_mean():
    frame = np.tile(np.array([[100, 140]], np.uint8), (10, 10))
    assert set(np.unique(disturbed('contrast', 75, frame))) == {115, 125}
    assert set(np.unique(disturbed('contrast', 100, frame))) == {120}


def test_jpeg_loses_more_at_a_higher_level():
    frame = np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)
    losses = [np.abs(disturbed('jpeg', level, frame).astype(int) - frame).mean() for level in (10, 50, 80)]
    assert 0 < losses[0] < losses[1] < losses[2]


@pytest.mark.parametrize('kind', KINDS)
def test_the_draw_depends_on_seed_and_name_alone(kind):
    frame = np.random.default_rng(1).integers(60, 200, (40, 50), dtype=np.uint8)
    level = KINDS[kind].levels[-1]
    first = disturbed(kind, level, frame)
    disturbed(kind, level, frame, name='b')
    again = disturbed(kind, level, frame)
    assert first.dtype == np.uint8
    assert first.shape == frame.shape
    assert np.array_equal(first, again)
    random = kind not in ('blur', 'contrast', 'jpeg')
    assert np.array_equal(first, disturbed(kind, level, frame, name='b')) != random
    assert np.array_equal(first, disturbed(kind, level, frame, seed=1)) != random


def test_a_stronger_disturbance_is_the_same_one_stronger():
    few, many = (disturbed('salt_pepper', percent) != 120 for percent in (1, 5))
    assert few.any()
    assert (many | ~few).all()
    weak, strong = (disturbed('gaussian', sigma).astype(float) - 120 for sigma in (5, 20))
    # Rounding of the weak one, times four, and of the strong one.
    assert np.abs(strong - 4 * weak).max() <= 2.5


def test_sixteen_bit_frames_are_stretched_to_eight():
    frame = np.array([[1000, 1500], [2000, 1250]], np.uint16)
    assert eight_bit(frame).tolist() == [[0, 128], [255, 64]]
    assert disturbed('contrast', 50, frame).dtype == np.uint8


def test_parsing():
    assert parse_corruptions(['gaussian=20,5', 'blur']) == [
        Corruption('gaussian', 5),
        Corruption('gaussian', 20),
        *(Corruption('blur', level) for level in KINDS['blur'].levels),
    ]
    assert {c.kind for c in parse_corruptions([])} == set(KINDS)


@pytest.mark.parametrize(
    ('texts', 'message'),
    [
        (['gausian'], "Did you mean 'gaussian'"),
        (['gaussian=much'], 'expected numbers after gaussian='),
        (['gaussian='], 'expected numbers after gaussian='),
        (['gaussian=0'], 'above 0'),
        (['gaussian=nan'], 'above 0'),
        (['salt_pepper=120'], 'up to 100'),
        (['blur', 'blur=3'], 'named twice'),
    ],
)
def test_bad_corruptions(texts, message):
    with pytest.raises(UserError, match=message):
        parse_corruptions(texts)


def result(detector, corruption, iou):
    figures = {'IoU': iou, 'nIoU': iou, 'F1': iou, 'Pd': float('nan'), 'Fa': 1e-6}
    return R.CorruptionScore(detector, corruption, {'p': figures})


CORRUPTIONS = [None, Corruption('gaussian', 10), Corruption('gaussian', 20), Corruption('blur', 1)]
IOUS = {'a': (0.8, 0.6, 0.2, 0.7), 'b': (0.5,) * 4}
RESULTS = [result(name, *pair) for name, ious in IOUS.items() for pair in zip(CORRUPTIONS, ious)]


def test_mean_weighs_kinds_alike():
    mean = R.mean_corrupted(RESULTS, 'a', 'p')
    assert mean['IoU'] == pytest.approx(((0.6 + 0.2) / 2 + 0.7) / 2)
    assert math.isnan(mean['Pd'])


def test_rows_put_detectors_side_by_side():
    rows = R.rows(RESULTS, 'p')
    assert [row[:2] for row in rows[:4]] == [
        ['none', 'a'], ['none', 'b'], ['Gaussian noise 10 grey levels', 'a'], ['Gaussian noise 10 grey levels', 'b'],
    ]  # fmt: skip
    assert rows[2][-1] == '20.00'
    assert rows[0][-1] == ''
    assert rows[-2] == [R.MEAN, 'a', '55.00', '55.00', '55.00', '-', '1.00', '25.00']


def test_json_has_no_nan():
    assert RESULTS[0].as_json()['figures']['p']['Pd'] is None
    assert RESULTS[3].as_json() | {'figures': None} == {
        'detector': 'a', 'corruption': 'blur', 'level': 1, 'unit': 'px', 'figures': None,
    }  # fmt: skip


class Listener:
    """A detector that keeps the frames it is shown and finds nothing."""

    grey = 'opencv'
    values = ValueRange((20, 220))

    def __init__(self):
        self.seen = []

    def score_maps(self, frames):
        for name, frame in frames:
            frame = self.values.level(frame).image  # which leaves alone what is on its scale
            self.seen.append(frame)
            yield name, np.zeros(frame.shape, np.float32)


class TwoFrames:
    """A split of two equal frames."""

    def read_image(self, name, grey):
        return GREY

    def read_mask(self, name):
        return np.eye(*GREY.shape, dtype=bool)


def test_the_detector_sees_the_disturbed_frames():
    corruption = Corruption('gaussian', 20)
    listener = Listener()
    protocols = [build_protocol('basicirstd')]
    results = list(R.score_corrupted('d', listener, TwoFrames(), ['a', 'b'], [corruption], protocols, 7))
    assert [result.corruption for result in results] == [None, corruption]
    assert results[1].figures['basicirstd']['targets'] == 2
    seen = np.full_like(GREY, 128)  # half of 20 … 220
    expected = [seen, seen, *(corruption.apply(seen, name, 7) for name in 'ab')]
    assert all(np.array_equal(*pair) for pair in zip(listener.seen, expected, strict=True))
