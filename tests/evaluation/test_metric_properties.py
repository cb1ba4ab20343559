"""Properties that hold for any input, and agreement with the loops of straightforward_metrics.py."""

from itertools import permutations

import numpy as np
import pytest
import straightforward_metrics as oracle
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from skimage import measure

from drpca.evaluation import Evaluator, functional
from drpca.evaluation.metrics import ImageCase
from drpca.evaluation.protocols import build_protocol

PRESETS = ['rpcanet', 'drpca', 'basicirstd', 'shooting', 'opdc']
SIDE = 28


def random_pair(seed, side=SIDE, margin=0, max_blobs=4):
    """Blobs of random value near random targets and some false alarms, on a coarse grid of values."""
    rng = np.random.default_rng(seed)
    scores, mask = np.zeros((side, side), dtype=np.float32), np.zeros((side, side), dtype=bool)

    def draw(array, row, column, value):
        height, width = rng.integers(1, 5, 2)
        rows = slice(max(margin, row), min(side - margin, row + height))
        columns = slice(max(margin, column), min(side - margin, column + width))
        array[rows, columns] = np.maximum(array[rows, columns], value)

    for _ in range(rng.integers(0, max_blobs)):
        row, column = rng.integers(margin, side - margin, 2)
        draw(mask, row, column, True)
        if rng.random() < 0.8:
            draw(scores, *(np.array([row, column]) + rng.integers(-2, 3, 2)), rng.integers(1, 21) / 20)
    for _ in range(rng.integers(0, max_blobs)):
        draw(scores, *rng.integers(margin, side - margin, 2), rng.integers(1, 21) / 20)
    return scores, mask


def compute(pairs, presets=PRESETS):
    evaluator = Evaluator(presets)
    for scores, mask in pairs:
        evaluator.update(scores, mask)
    return evaluator.compute()


def assert_equal(first, second):
    for preset, figures in first.items():
        for key, value in figures.items():
            assert second[preset][key] == pytest.approx(value, rel=1e-12, nan_ok=True), (preset, key)


seeds = st.integers(0, 2**32 - 1)


@given(seeds)
@settings(max_examples=60, deadline=None)
def test_agrees_with_the_straightforward_loops(seed):
    pairs = [random_pair(seed + i, max_blobs=3) for i in range(3)]
    got = compute(pairs)
    targets = sum(len(oracle.regions(mask)) for _, mask in pairs)
    for preset in PRESETS:
        preds = [oracle.binary(scores, preset) for scores, _ in pairs]
        parts = [oracle.hits_and_false_pixels(p, mask, preset) for p, (_, mask) in zip(preds, pairs)]
        hits, false, pixels = np.sum(parts, axis=0)
        tp = sum((p & mask).sum() for p, (_, mask) in zip(preds, pairs))
        union = sum((p | mask).sum() for p, (_, mask) in zip(preds, pairs))
        assert got[preset]['Pd'] == pytest.approx(hits / targets if targets else np.nan, nan_ok=True)
        assert got[preset]['Fa'] == pytest.approx(false / pixels if pixels else np.nan, nan_ok=True)
        assert got[preset]['IoU'] == pytest.approx(tp / union if union else np.nan, nan_ok=True)
        assert got[preset]['targets'] == targets


@given(seeds)
@settings(max_examples=30, deadline=None)
def test_roc_agrees_with_one_comparison_per_threshold(seed):
    rng = np.random.default_rng(seed)
    pairs = []
    for i in range(2):
        scores, mask = random_pair(seed + i)
        if rng.random() < 0.5:
            scores = np.clip(scores + rng.random(scores.shape).astype(np.float32) / 4, 0, 1)
        pairs.append((scores, mask))
    assume(any(mask.any() for _, mask in pairs))
    cases = [ImageCase(scores, mask) for scores, mask in pairs]
    counts = sum((functional.roc_counts(c.scores, c.targets) for c in cases), functional.RocCounts.zero())
    for got, expected in zip(functional.roc(counts), oracle.published_roc(pairs)):
        np.testing.assert_allclose(got, expected, rtol=1e-12)


@given(seeds, st.permutations(range(5)), st.integers(0, 5))
@settings(max_examples=25, deadline=None)
def test_order_and_batching_do_not_matter(seed, order, cut):
    pairs = [random_pair(seed + i) for i in range(5)]
    whole = compute(pairs)
    assert_equal(whole, compute([pairs[i] for i in order]))
    first, second = Evaluator(PRESETS), Evaluator(PRESETS)
    for i, pair in enumerate(pairs):
        (first if i < cut else second).update(*pair)
    assert_equal(whole, first.merge(second).compute())


@given(seeds, st.integers(-6, 6), st.integers(-6, 6))
@settings(max_examples=40, deadline=None)
def test_translation_away_from_borders_does_not_matter(seed, rows, columns):
    scores, mask = random_pair(seed, side=48, margin=12)
    case = ImageCase(scores, mask)
    for preset in ('drpca', 'basicirstd', 'opdc'):
        distances = functional.centroid_distances(case.targets, case.predictions(build_protocol(preset)))
        assume(not np.any(np.abs(distances - 3) < 1e-9))  # there, rounding of the centroid decides
    assume(len(case.targets) < 3)  # the optimal assignment may have ties, which rounding decides as well
    moved = [np.roll(array, (rows, columns), axis=(0, 1)) for array in (scores, mask)]
    assert_equal(compute([(scores, mask)]), compute([moved]))


@given(seeds)
@settings(max_examples=25, deadline=None)
def test_f1_follows_from_iou(seed):
    for figures in compute([random_pair(seed + i) for i in range(3)]).values():
        iou, precision, recall = figures['IoU'], figures['precision'], figures['recall']
        assert figures['F1'] == pytest.approx(2 * iou / (1 + iou), nan_ok=True)
        if precision > 0:
            assert figures['F1'] == pytest.approx(2 * precision * recall / (precision + recall))


@given(seeds, st.floats(0, 0.99), st.floats(0, 0.99))
@settings(max_examples=40, deadline=None)
def test_pd_falls_with_the_threshold_under_the_rules_of_pixels(seed, first, second):
    """Holds for overlap and box: fewer predicted pixels cannot hit more targets."""
    pairs = [random_pair(seed + i) for i in range(3)]
    low, high = sorted((first, second))
    for preset in ('rpcanet', 'shooting'):
        loose, strict = (compute(pairs, [{'type': preset, 'threshold': t}])[preset] for t in (low, high))
        if loose['targets']:
            assert strict['Pd'] <= loose['Pd']
        assert not strict['recall'] > loose['recall']


def test_pd_may_rise_with_the_threshold_under_the_rules_of_centroids():
    """A higher threshold can free a target from a large component whose centroid lies elsewhere."""
    scores, mask = np.zeros((2, 20, 40), dtype=np.float32)
    mask[10, 5] = scores[10, 5] = 1
    scores[10, 6:30] = 0.6
    for preset in ('basicirstd', 'opdc'):
        specs = [{'type': preset, 'name': f'{t}', 'threshold': t} for t in (0.5, 0.7)]
        assert [figures['Pd'] for figures in compute([(scores, mask > 0)], specs).values()] == [0, 1]


@given(seeds)
@settings(max_examples=60, deadline=None)
def test_components_are_those_of_scikit_image_in_scan_order(seed):
    rng = np.random.default_rng(seed)
    mask = rng.random((rng.integers(1, 30), rng.integers(1, 30))) < rng.random()
    components, expected = functional.connected_components(mask), oracle.regions(mask)
    np.testing.assert_array_equal(components.labels, measure.label(mask.astype(int), connectivity=2))
    assert components.areas.tolist() == [region.area for region in expected]
    np.testing.assert_array_equal(components.centroids, np.reshape([r.centroid for r in expected], (-1, 2)))


@given(seeds, st.integers(1, 5), st.integers(1, 5))
@settings(max_examples=60, deadline=None)
def test_optimal_matching_is_the_best_of_all_assignments(seed, rows, columns):
    """Single pixels at random places: no assignment has a smaller total distance in either pass."""
    rng = np.random.default_rng(seed)
    gt, pred = np.zeros((2, 12, 12), dtype=bool)
    gt.flat[rng.choice(144, rows, replace=False)] = True
    pred.flat[rng.choice(144, columns, replace=False)] = True
    targets, predictions = map(functional.connected_components, (gt, pred))
    near = functional.centroid_distances(targets, predictions)
    got = functional.match_optimal(targets, predictions)
    pairs = oracle.match_opdc(oracle.regions(gt), oracle.regions(pred))
    overlap = functional.pair_iou(targets, predictions)
    first = [pair for pair in pairs if overlap[pair] >= 0.5]
    left = np.setdiff1d(np.arange(len(targets)), [a for a, _ in first])
    free = np.setdiff1d(np.arange(len(predictions)), [b for _, b in first])
    assume(has_one_optimum(near) and has_one_optimum(near[np.ix_(left, free)]))
    assert sorted((i, j) for i, j in enumerate(got.partner.tolist()) if j >= 0) == sorted(pairs)


def has_one_optimum(table):
    """Whether exactly one assignment reaches the least total."""
    table = table if table.shape[0] <= table.shape[1] else table.T
    choices = permutations(range(table.shape[1]), table.shape[0])
    totals = np.array([sum(table[i, j] for i, j in enumerate(choice)) for choice in choices])
    return np.sum(totals < totals.min() + 1e-9) == 1


@given(seeds)
@settings(max_examples=40, deadline=None)
def test_error_decomposition_adds_up(seed):
    figures = compute([random_pair(seed + i) for i in range(4)], ['opdc'])['opdc']
    assume(figures['targets'])
    segmentation = sum(value for key, value in figures.items() if key.startswith('seg_'))
    localisation = sum(value for key, value in figures.items() if key.startswith('loc_'))
    assert localisation == pytest.approx(1)
    assert segmentation == pytest.approx(1 if figures['Pd'] else 0)
    assert figures['hIoU'] == pytest.approx(figures['seg_IoU'] * figures['loc_IoU'])
