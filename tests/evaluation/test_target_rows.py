"""Rows per target and per false alarm, clutter figures, breakdowns."""

import math

import numpy as np
import pytest

from drpca.evaluation import target_rows as T
from drpca.evaluation.functional import connected_components
from drpca.evaluation.metrics import ImageCase
from drpca.evaluation.protocols import build_protocol
from drpca.inference.detections import find_targets

SHAPE = (60, 80)


@pytest.fixture
def scene():
    """A target hit one pixel off, one missed, one hit at the border, a false alarm; textured background."""
    rng = np.random.default_rng(5)
    image = (0.3 + 0.05 * rng.standard_normal(SHAPE)).clip(0, 1)
    mask, scores = np.zeros(SHAPE, dtype=bool), 0.01 * rng.random(SHAPE)
    for rows, columns, grey in ((slice(10, 13), slice(20, 23), 0.9), (slice(40, 42), slice(40, 42), 0.35)):
        mask[rows, columns], image[rows, columns] = True, grey
    mask[0:2, 77:80], image[0:2, 77:80] = True, 0.8
    scores[10:13, 21:24] = 0.9
    scores[0:2, 77:80] = 0.7
    scores[50:52, 5:10] = 0.8
    return image, scores.astype(np.float32), mask


def test_rows_say_what_was_found(scene):
    image, scores, mask = scene
    rows = T.target_rows(ImageCase(scores, mask, 'one'), image, build_protocol('basicirstd'))
    border, first, missed = rows  # in scan order
    assert [row.hit for row in rows] == [True, True, False]
    assert (first.row, first.column, first.area, first.image) == (11, 21, 9, 'one')
    assert first.centroid_error == pytest.approx(1)
    assert border.centroid_error == 0
    assert math.isnan(missed.centroid_error)
    assert all(math.isnan(row.off_centre) for row in rows), 'hits, and nothing near the miss'
    assert missed.score == pytest.approx(float(scores[40:42, 40:42].max()))
    assert first.snr > border.snr > missed.snr > 0


def test_a_miss_says_how_far_off_a_detection_is(scene):
    image, scores, mask = scene
    scores[44:46, 43:45] = 0.9  # its centroid is 4 rows and 3 columns from that of the missed target
    scores[40, 41:61] = 0.9
    rows = T.target_rows(ImageCase(scores, mask), image, build_protocol('basicirstd'))
    assert [row.off_centre for row in rows] == pytest.approx([math.nan, math.nan, 5], nan_ok=True)
    mask[11, 30] = True
    for preset in ('basicirstd', 'rpcanet', 'shooting'):
        neighbour = T.target_rows(ImageCase(scores, mask), image, build_protocol(preset))[2]
        assert not neighbour.hit
        assert math.isnan(neighbour.off_centre), 'the hit of another target, 8 pixels away'
    scores[44:46, 43:45] = 0
    (*_, missed) = T.target_rows(ImageCase(scores, mask), image, build_protocol('basicirstd'))
    assert missed.off_centre == pytest.approx(math.hypot(0.5, 10)), 'it lies on the target'


def test_clutter_figures_follow_their_definitions(scene):
    image, scores, mask = scene
    row = T.target_rows(ImageCase(scores, mask), image, build_protocol('basicirstd'))[1]
    window = np.zeros(SHAPE, dtype=bool)
    window[0:33, 0:43] = True  # 20 px around rows 10-12, columns 20-22
    background, target = window & ~mask, np.zeros(SHAPE, dtype=bool)
    target[10:13, 20:23] = True

    def scr(values):
        return abs(values[target].mean() - values[background].mean()) / values[background].std()

    wide = scores.astype(np.float64)
    assert row.contrast == pytest.approx(image[target].mean() - image[background].mean())
    assert row.snr == pytest.approx(scr(image))
    assert row.scrg == pytest.approx(scr(wide) / scr(image), rel=1e-6)
    assert row.bsf == pytest.approx(image[background].std() / wide[background].std(), rel=1e-6)


def test_other_targets_are_no_background():
    values, mask = np.zeros(SHAPE), np.zeros(SHAPE, dtype=bool)
    mask[10, 10] = mask[10, 14] = True
    values[mask] = 1
    mean, background, deviation = T.local_statistics(values, connected_components(mask))
    assert mean.tolist() == [1, 1]
    assert background.tolist() == deviation.tolist() == [0, 0]


def test_flat_background_and_nothing_but_target():
    mask = np.zeros((8, 8), dtype=bool)
    mask[3, 3] = True
    image = np.where(mask, 0.9, 0.2)
    row = T.target_rows(ImageCase(mask.astype(np.float32), mask), image, build_protocol('basicirstd'))[0]
    assert row.snr == math.inf
    assert math.isnan(row.scrg)
    full = np.ones((4, 4), dtype=bool)
    row = T.target_rows(ImageCase(full.astype(np.float32), full), full * 0.5, build_protocol('basicirstd'))[0]
    assert math.isnan(row.snr)
    assert row.hit


@pytest.mark.parametrize('preset', ['basicirstd', 'drpca', 'rpcanet', 'shooting', 'opdc'])
def test_false_alarms_under_every_preset(scene, preset):
    _, scores, mask = scene
    rows = T.false_alarm_rows(ImageCase(scores, mask, 'one'), build_protocol(preset))
    assert [(row.image, row.row, row.column, row.area) for row in rows] == [('one', 50.5, 7, 10)]
    assert rows[0].score == pytest.approx(0.8)


VERDICTS = {
    'basicirstd': ['fragment', 'hit', 'false alarm', 'false alarm', 'false alarm'],
    'opdc': ['fragment', 'hit', 'false alarm', 'false alarm', 'false alarm'],
    'rpcanet': ['fragment', 'hit', 'false alarm', 'false alarm', 'false alarm'],
    'shooting': ['fragment', 'hit', 'hit', 'not counted', 'false alarm'],
}


@pytest.mark.parametrize('preset', VERDICTS)
def test_every_detection_has_a_verdict(preset):
    """On one target a corner apart from the rest; beside a second one a pixel off, another 3 px off; one far away."""
    mask, scores = np.zeros((40, 40), dtype=bool), np.zeros((40, 40), dtype=np.float32)
    mask[5:11, 5:11] = mask[20:22, 20:22] = True
    scores[5, 5] = 0.6
    scores[7:11, 5:11] = 0.9
    scores[20:22, 22:30] = 0.8
    scores[25:27, 20] = 0.7
    scores[35, 35] = 0.6
    rows = T.detection_rows(ImageCase(scores, mask, 'one'), build_protocol(preset))
    assert [row.verdict for row in rows] == VERDICTS[preset]
    paired = preset in ('basicirstd', 'opdc')
    assert [row.is_false for row in rows] == [
        row.verdict == 'false alarm' or (paired and row.verdict == 'fragment') for row in rows
    ]
    assert (rows[0].image, rows[0].area, rows[0].score) == ('one', 1, pytest.approx(0.6))


def test_rules_without_pairs_measure_the_nearest_prediction(scene):
    image, scores, mask = scene
    rows = T.target_rows(ImageCase(scores, mask), image, build_protocol('rpcanet'))
    assert rows[1].centroid_error == pytest.approx(1)


def test_images_without_targets_or_predictions_have_no_rows():
    empty = np.zeros(SHAPE)
    case = ImageCase(empty, empty > 0)
    assert T.target_rows(case, empty, build_protocol('opdc')) == []
    assert T.false_alarm_rows(case, build_protocol('rpcanet')) == []
    assert all(math.isnan(value) for value in T.clutter_summary([]).values())


def test_breakdown_puts_every_target_in_one_bin(scene):
    image, scores, mask = scene
    rows = T.target_rows(ImageCase(scores, mask), image, build_protocol('basicirstd'))
    areas = T.breakdown(rows, 'area', (1, 5, 9, np.inf))
    assert [(b.targets, b.hits) for b in areas] == [(1, 0), (1, 1), (1, 1)]
    assert [b.pd for b in areas] == [0, 1, 1]
    assert sum(b.targets for b in T.breakdown(rows, 'snr', T.SNR_EDGES)) == 3
    assert math.isnan(T.breakdown([], 'snr', T.SNR_EDGES)[0].pd)
    assert T.breakdown(rows, 'area', (1, 9))[0].targets == 3  # the last bin has its upper edge


def test_medians_bear_infinite_values(scene):
    image, scores, mask = scene
    rows = T.target_rows(ImageCase(scores, mask), image, build_protocol('basicirstd'))
    clean = T.target_rows(ImageCase(mask.astype(np.float32), mask), image, build_protocol('basicirstd'))
    assert all(row.scrg == math.inf for row in clean)
    summary = T.clutter_summary([*rows, clean[0]])
    assert math.isfinite(summary['SCRG'])
    assert summary['BSF'] > 0


def test_detections_are_as_visible_as_targets(scene):
    image, _, mask = scene
    rows = T.target_rows(ImageCase(mask.astype(np.float32), mask), image, build_protocol('basicirstd'))
    found = find_targets(mask.astype(np.float32), image, mask)
    assert [target.snr for target in found] == [row.snr for row in rows]
