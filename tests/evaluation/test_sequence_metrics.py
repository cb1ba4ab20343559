"""Figures of sequences: those of the tensor literature, DTUM's rule, tracks."""

from __future__ import annotations

import json

import numpy as np
import pytest

from drpca.evaluation import sequences as S
from drpca.evaluation.functional import Roc3dCounts, connected_components, roc_3d_counts, roc_3d_figures
from tests.support import DATA

FIXTURES = json.loads((DATA / 'multiframe_reference.json').read_text(encoding='utf-8'))['fixtures']
NAMES = {
    'AUC_FPD': 'AUC_FaPd', 'AUC_tauPD': 'AUC_tauPd', 'AUC_tauFA': 'AUC_tauFa', 'OD': 'AUC_OD', 'TD': 'AUC_TD',
    'BS': 'AUC_BS', 'TDBS': 'AUC_TDBS', 'SNPR': 'AUC_SNPR',
}  # fmt: skip


@pytest.mark.parametrize(('key', 'shift'), [('metrics', -1), ('metrics_centred', 0)])
def test_reference_figures_of_a_rule_made_sequence(key: str, shift: int) -> None:
    """The toolbox takes labels from 1, so that its windows lie a pixel up and left of the target."""
    y, x = np.mgrid[:64, :64]
    total, gains = Roc3dCounts.zero(), []
    for f in range(4):
        row, column = 20 + 3 * f, 30 + 2 * f
        squares = (y - row) ** 2 + (x - column) ** 2
        image = 0.4 + 0.1 * np.sin(0.3 * y + 0.2 * x + f) + 0.3 * np.exp(-squares / 3)
        image = np.round(255 * np.clip(image, 0, 1)) / 255
        scores = np.exp(-squares / 2) + 0.2 * np.abs(np.sin(0.9 * y + 1.3 * x + f))
        if f != 2:
            scores = scores + 0.3 * np.exp(-((y - 50) ** 2 + (x - 12) ** 2) / 2)
        scores = scores / scores.max()
        point = np.array([[row, column]]) + shift
        total += roc_3d_counts(scores, S.point_targets(point, image.shape))
        gains.append(S.contrast_gains(image, scores, point))
    found = {**roc_3d_figures(total), **S.finite_means(np.concatenate(gains))}
    for name, expected in FIXTURES[key].items():
        if isinstance(expected, dict):
            assert found[name] == pytest.approx(expected['mean'], rel=1e-5)
            assert found[f'{name}_finite'] == expected['finite']
        elif name != 'rule':
            assert found[NAMES[name]] == pytest.approx(expected, rel=1e-5)


def test_a_clean_background_leaves_the_mean() -> None:
    image = np.random.default_rng(0).random((40, 40))
    scores = np.zeros((40, 40))
    assert np.isnan(S.contrast_gains(image, scores, np.array([[20, 20]]))).all()
    scores[20, 20] = 1
    clean = S.contrast_gains(image, scores, np.array([[20, 20]]))
    assert np.isinf(clean[0, [0, 1]]).all()
    scores[5:12, 5:12] = 0.5
    both = S.finite_means(np.concatenate([clean, S.contrast_gains(image, scores, np.array([[12, 12]]))]))
    assert (both['SCRG_finite'], both['CG_finite']) == (1, 2)
    assert S.finite_means(clean)['SCRG'] == float('inf')


def test_shooting_rule_and_its_border() -> None:
    scores = np.zeros((30, 30), np.float32)
    scores[10, 11] = 0.5  # hits the target at (10, 10)
    scores[14, 14] = 0.9  # protected by it
    scores[20, 20] = 0.9  # false
    scores[0, 25] = 0.9  # on the target at the top border
    scores[2, 21] = 0.9  # 2 rows and 4 columns from it
    targets = S.point_targets(np.array([[10, 10], [0, 25]]), scores.shape)
    (published,) = S.shooting_counts(scores, targets)
    assert (published.hits, published.targets, published.false_pixels) == (1, 2, 3)
    (meant,) = S.shooting_counts(scores, targets, empty_at_border=False)
    assert (meant.hits, meant.false_pixels) == (2, 1)
    assert (published + meant).figures() == {'Pd': 0.75, 'Fa': 4 / 1800}
    assert np.isnan(S.ShootingCounts().figures()['Pd'])


def test_shooting_rule_takes_masks_too() -> None:
    mask = np.zeros((20, 20), bool)
    mask[8:10, 8:10] = True
    scores = np.zeros((20, 20), np.float32)
    scores[10, 10] = 1
    (found,) = S.shooting_counts(scores, connected_components(mask))
    assert found.hits == 1


def test_points_become_targets_of_their_own() -> None:
    targets = S.point_targets(np.array([[3.5, 4.4], [4, 5], [-1, 2], [9, 30]]), (8, 9))
    assert targets.centroids.tolist() == [[4, 4], [4, 5]], 'they touch, and lie inside the frame'
    assert len(S.point_targets(np.zeros((0, 2)), (8, 9))) == 0


def test_tracks() -> None:
    points = [np.array([[10.0, 10 + t], [30.0, 30]]) if t > 1 else np.array([[10.0, 10 + t]]) for t in range(6)]
    reports = [[], [(7, 10, 11.0)], [(7, 10, 12.5), (9, 50, 50)], [], [(8, 11, 14)], [(4, 50, 52), (9, 51, 50)]]
    found = S.track_figures(reports, points, rate=2, within=0)
    assert (found.targets, found.found, found.found_in_time, found.delay) == (2, 1, 0, 1)
    assert (found.fragments, found.false_tracks, found.false_per_minute) == (1, 2, 2 / 3 * 60)
    assert S.track_figures(reports, points, rate=2, within=1).found_in_time == 1
    nothing = S.track_figures([[]] * 6, points, rate=2)
    assert nothing.found == 0
    assert np.isnan(nothing.delay)


def test_area_over_the_fifty_thresholds_of_dtum() -> None:
    """Against the rule written plainly, threshold by threshold; float32 scores, as networks give them."""
    assert (len(S.SHOOTING_THRESHOLDS), *S.SHOOTING_THRESHOLDS[::49]) == (50, 0, 1)
    assert list(S.SHOOTING_THRESHOLDS) == sorted(set(S.SHOOTING_THRESHOLDS))
    rng = np.random.default_rng(0)
    total: list[S.ShootingCounts] = []
    for points in ([[10, 10], [2, 15]], [[0, 3]], np.zeros((0, 2))):
        scores = rng.random((24, 20), np.float32) ** 30
        targets = S.point_targets(np.array(points), scores.shape)
        curve = S.shooting_counts(scores, targets, S.SHOOTING_THRESHOLDS)
        total = [a + b for a, b in zip(total, curve)] if total else curve
    pd, fa = (np.array([counts.figures()[name] for counts in total]) for name in ('Pd', 'Fa'))
    assert S.shooting_auc(total) == pytest.approx(np.trapezoid(pd[::-1], fa[::-1]))
    assert 0.3 < S.shooting_auc(total) < 2 / 3, 'the target in the first row cannot be hit, and pixels are protected'
    assert np.isnan(S.shooting_auc(curve))
