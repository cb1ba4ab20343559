"""The curves agree, at each threshold, with the figures for that threshold alone."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from drpca.errors import UserError
from drpca.evaluation import Evaluator, curves
from drpca.evaluation.component_tree import build_component_tree
from drpca.evaluation.functional import connected_components, quantise
from tests.support import load_tool

seeds = st.integers(0, 2**32 - 1)


def textured_pair(seed, shape=(30, 34)):
    """A smooth random map, so that components split and merge over many thresholds, and random targets."""
    rng = np.random.default_rng(seed)
    scores = ndimage.gaussian_filter(rng.random(shape), rng.choice([0, 0.7, 1.5]))
    scores -= scores.min()
    scores = (scores / max(scores.max(), 1e-9)).astype(np.float32)
    mask = ndimage.gaussian_filter(rng.random(shape), 1.2)
    return scores, mask > np.quantile(mask, rng.choice([0.9, 0.97, 1.0]))


@given(seeds, st.sampled_from([1, 2, 7, 40]))
@settings(max_examples=40, deadline=None)
def test_tree_holds_the_components_of_every_threshold(seed, count):
    rng = np.random.default_rng(seed)
    scores, _ = textured_pair(seed, shape=tuple(rng.integers(1, 24, 2)))
    thresholds = np.arange(count) / count
    tree = build_component_tree(quantise(scores, thresholds, strict=True))
    for index, threshold in enumerate(thresholds):
        expected = connected_components(scores > np.float32(threshold))
        active = np.flatnonzero((tree.parent_level <= index) & (index < tree.level))
        active = active[np.argsort(tree.first[active])]
        np.testing.assert_array_equal(tree.area[active], expected.areas)
        np.testing.assert_array_equal(tree.centroid[active], expected.centroids)


@given(seeds)
@settings(max_examples=25, deadline=None)
def test_every_point_is_the_figure_of_its_threshold(seed):
    pairs = [textured_pair(seed + i) for i in range(2)]
    thresholds = np.arange(20) / 20
    counts = curves.sweep(pairs, thresholds)
    specs = [{'type': 'basicirstd', 'name': f'{t:g}', 'threshold': float(t)} for t in thresholds]
    evaluator = Evaluator(specs)
    for pair in pairs:
        evaluator.update(*pair)
    figures = list(evaluator.compute().values())
    assert counts.targets == figures[0]['targets']
    for index, expected in enumerate(figures):
        for key, got in (('Pd', counts.pd), ('Fa', counts.fa), ('recall', counts.recall)):
            if key == 'Fa' or counts.targets:
                assert got[index] == expected[key], (key, thresholds[index])
        if counts.predicted[index]:
            assert counts.precision[index] == expected['precision']
            assert counts.iou[index] == pytest.approx(expected['IoU'])
            assert counts.f1[index] == pytest.approx(expected['F1'])


def test_benchmark_finds_the_figures_of_the_straightforward_loop(capsys):
    benchmark = load_tool('benchmark_evaluation')
    images = [benchmark.make_image(index, 64, 3, 0.1) for index in range(2)]
    got, expected = benchmark.evaluate(images), benchmark.loop(images)
    assert got.keys() == expected.keys()
    assert got == pytest.approx(expected, rel=1e-9, abs=0, nan_ok=True)
    benchmark.main(['--images', '2', '--size', '64', '--targets', '2'])
    assert 'of which 0 differ' in capsys.readouterr().out


def test_average_precision_is_the_sum_over_thresholds():
    counts = curves.sweep([textured_pair(1), textured_pair(2)])
    expected, last = 0.0, 0.0
    for precision, recall in zip(counts.precision[::-1], counts.recall[::-1]):
        if recall > last:
            expected += (recall - last) * precision
            last = recall
    assert counts.average_precision() == pytest.approx(expected)
    assert 0 < counts.average_precision() < 1


def test_a_perfect_map_has_full_area_and_any_threshold_will_do():
    mask = np.zeros((20, 20), dtype=bool)
    mask[3:6, 4:8] = mask[12:14, 12:14] = True
    counts = curves.sweep([(mask.astype(np.float32), mask)])
    assert counts.average_precision() == pytest.approx(1)
    assert counts.best_f1() == (0.5, 1.0)
    assert counts.pd_at(0) == 1


def test_threshold_is_chosen_by_f1_and_normalisation_is_heeded():
    mask = np.zeros((20, 20), dtype=bool)
    mask[4:8, 4:8] = True
    scores = np.where(mask, 0.4, np.where(ndimage.binary_dilation(mask), 0.2, 0)).astype(np.float32)
    assert 0.2 <= curves.select_threshold([(scores, mask)]) < 0.4
    assert 0.5 <= curves.select_threshold([(scores, mask)], normalise=True) < 1
    with pytest.raises(UserError, match='no target'):
        curves.select_threshold([(scores, np.zeros_like(mask))])


def test_pd_at_a_false_alarm_rate():
    mask = np.zeros((40, 40), dtype=bool)
    mask[5, 5] = mask[20, 20] = True
    scores = np.zeros((40, 40), dtype=np.float32)
    scores[5, 5], scores[20, 20], scores[35, 35] = 0.9, 0.3, 0.6
    counts = curves.sweep([(scores, mask)])
    assert counts.pd_at(0) == 0.5
    assert counts.pd_at(1 / 1600) == 1
    empty = curves.sweep([(scores, np.zeros_like(mask))])
    assert np.isnan(empty.pd_at(1))
    assert np.isnan(empty.average_precision())


def test_sums_do_not_depend_on_the_order_and_need_one_grid():
    pairs = [textured_pair(i) for i in range(3)]
    forth, back = curves.sweep(pairs), curves.sweep(pairs[::-1])
    np.testing.assert_array_equal(forth.hits, back.hits)
    np.testing.assert_array_equal(forth.false_pixels, back.false_pixels)
    assert forth.images == 3
    with pytest.raises(UserError, match='different thresholds'):
        _ = forth + curves.CurveCounts.zero(np.array([0.5]))
    assert np.isnan(curves.CurveCounts.zero().fa).all()
