"""Every threshold of a curve agrees with a recount at that threshold alone."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy import ndimage
from scipy.special import expit, logit

from drpca.errors import UserError
from drpca.evaluation import Evaluator, curves
from drpca.evaluation.curves import Budget, CurveSum, build_component_tree, curve_of
from drpca.evaluation.functional import connected_components
from tests.evaluation.straightforward_metrics import fixed_threshold_counts
from tests.support import load_tool

seeds = st.integers(0, 2**32 - 1)


def textured_pair(seed, shape=(30, 34), levels=0):
    """A smooth random map, so that components split and merge over many thresholds, and random targets.

    Args:
        levels: So many values, for ties and plateaus; 0 for all different ones.
    """
    rng = np.random.default_rng(seed)
    scores = ndimage.gaussian_filter(rng.random(shape), rng.choice([0, 0.7, 1.5]))
    scores -= scores.min()
    scores = (scores / max(scores.max(), 1e-9)).astype(np.float32)
    if levels:
        scores = np.round(scores * levels) / np.float32(levels)
    mask = ndimage.gaussian_filter(rng.random(shape), 1.2)
    return scores, mask > np.quantile(mask, rng.choice([0.9, 0.97, 1.0]))


@given(seeds, st.sampled_from([1, 2, 7, 40]))
@settings(max_examples=30, deadline=None)
def test_tree_holds_the_components_of_every_threshold(seed, count):
    rng = np.random.default_rng(seed)
    scores, _ = textured_pair(seed, shape=tuple(rng.integers(1, 24, 2)))
    levels = np.ceil(scores * count).astype(int)
    tree = build_component_tree(levels)
    for level in range(count):
        expected = connected_components(levels > level)
        active = np.flatnonzero((tree.parent_level <= level) & (level < tree.level))
        active = active[np.argsort(tree.first[active])]
        np.testing.assert_array_equal(tree.area[active], expected.areas)
        np.testing.assert_array_equal(tree.centroid[active], expected.centroids)


@given(seeds, st.sampled_from([3, 12, 0]), st.booleans())
@settings(max_examples=12, deadline=None)
@example(0, 1, False)
def test_every_distinct_value_of_several_images_agrees_with_a_recount(seed, levels, logits):
    """Ties, plateaus, merging and splitting components, images without targets, thresholds at and between values."""
    pairs = [textured_pair(seed + i, (9, 11), levels) for i in range(2)]
    pairs.append((pairs[0][0][:5, :7], np.zeros((5, 7), dtype=bool)))
    if logits:
        pairs = [(100 * scores - 40, mask) for scores, mask in pairs]
    curve = curve_of(pairs, 'logit' if logits else 'score')
    distinct = np.unique(np.concatenate([values.ravel() for values, _ in pairs]))
    if not logits:
        distinct = distinct[distinct > 0]
    lower = np.append(-1000 if logits else 0, distinct[:-1])
    counted = {}
    for low, value in zip(lower.tolist(), distinct.tolist()):
        hits, false, alarms, tp, predicted = counted[value] = fixed_threshold_counts(pairs, np.float32(low))
        point = curve.at(low)
        assert point.fa == false / curve.pixels
        assert point.alarms_per_image == alarms / 3
        assert point.precision == tp / predicted
        if curve.targets:
            assert point.pd == hits / curve.targets
            assert point.recall == tp / curve.target_pixels
            assert point.iou == tp / (predicted + curve.target_pixels - tp)
        assert (point.logit if logits else point.score) == low
    for index, value in enumerate(curve.values.tolist()):  # the counts that are kept are those of their values
        kept = curve.hits[index], curve.predicted[index] - curve.matched[index], curve.alarms[index], curve.tp[index]
        assert [*kept, curve.predicted[index]] == counted[value]
    between = {value: counts for value, counts in counted.items() if value not in curve.values}
    for value, counts in between.items():  # and nothing happens in between but false alarms
        above = counted[min(curve.values[curve.values > value].tolist())]
        assert (counts[0], counts[3], counts[4] - counts[1]) == (above[0], above[3], above[4] - above[1])
    assert_best(curve, list(counted.values()))


def assert_best(curve, counted):
    """Figures within a budget, by trying all thresholds."""
    if not curve.targets:
        assert np.isnan([*curve.figures().values(), curve.average_precision()]).all()
        return
    for budget in (0, 3 / curve.pixels, 0.1, 1):
        within = [hits for hits, false, *_ in counted if false / curve.pixels <= budget]
        threshold = curve.threshold_for(Budget(budget))
        if not within:
            assert np.isnan(curve.pd_at(budget))
            assert threshold is None
            continue
        assert curve.pd_at(budget) == max(within) / curve.targets == curve.at(threshold).pd
        assert curve.at(threshold).fa <= budget
        least = curve.at(curve.threshold_for(Budget(budget), spend=False))
        assert least.pd == curve.at(threshold).pd
        assert least.fa == curve.fa[next(i for i in curve.best() if curve.pd[i] == least.pd)], 'nothing is spent'
    steps = sorted((false / curve.pixels, hits / curve.targets) for hits, false, *_ in counted)
    grid = np.linspace(0, 0.1, 5001)[1:] - 1e-5
    highest = [max((pd for fa, pd in steps if fa <= x), default=0) for x in grid]
    if steps[0][0] <= 0.1:
        assert curve.partial_auc(0.1) == pytest.approx(np.mean(highest), abs=2e-3)
    for per, whole in (('image', curve.images), ('megapixel', curve.pixels / 1e6)):
        within = [hits for hits, _, alarms, *_ in counted if alarms <= 4]
        threshold = curve.threshold_for(Budget(4 / whole, per))
        if threshold is None:
            assert not within
        else:
            assert curve.at(threshold).pd == max(within) / curve.targets
            assert curve.at(threshold).alarms_per_image * curve.images <= 4 + 1e-9
    f1 = [2 * tp / (predicted + curve.target_pixels) for *_, tp, predicted in counted]
    threshold, best = curve.best_f1()
    assert best == max(f1) == curve.at(threshold).f1


def test_points_are_the_figures_of_the_preset():
    pairs = [textured_pair(i) for i in range(2)]
    curve = curve_of(pairs)
    thresholds = [0, 0.2, 0.7, 0.95]
    evaluator = Evaluator([{'type': 'basicirstd', 'name': f'{t:g}', 'threshold': t} for t in thresholds])
    for pair in pairs:
        evaluator.update(*pair)
    for threshold, expected in zip(thresholds, evaluator.compute().values()):
        point = curve.at(threshold)
        assert (point.pd, point.fa, point.recall) == (expected['Pd'], expected['Fa'], expected['recall'])
        assert point.iou == pytest.approx(expected['IoU'])


def test_logits_tell_apart_what_scores_do_not():
    """Of a confident network, a false alarm above the first target, and one between the two."""
    mask = np.zeros((40, 40), dtype=bool)
    mask[5, 5] = mask[20, 20] = True
    logits = np.full((40, 40), -200, np.float32)
    logits[5, 5], logits[30, 5], logits[20, 20], logits[35, 35] = 90, 80, 40, 25
    scores = expit(logits)
    assert len(np.unique(scores)) == 2
    blind, seeing = curve_of([(scores, mask)]), curve_of([(logits, mask)], 'logit')
    assert np.isnan(blind.pd_at(1 / 1600)), 'not reached: all four come at once'
    assert [seeing.pd_at(fa) for fa in (0, 1 / 1600)] == [0.5, 1]
    assert seeing.threshold_for(Budget(0)) == 85
    assert seeing.threshold_for(Budget(1, 'image')) == pytest.approx(32.5)
    assert np.float32(seeing.at(32.5).score) == 1
    assert seeing.partial_auc(1 / 1600) == 0.5
    assert seeing.partial_auc(1 / 800) == 0.75


def test_what_is_not_reached_is_not_zero():
    mask = np.zeros((20, 20), dtype=bool)
    mask[5, 5] = True
    scores = np.zeros((20, 20), np.float32)
    scores[5, 5] = scores[15, 15] = 1
    curve = curve_of([(scores, mask)])
    assert np.isnan(list(curve.figures().values())).all()
    assert curve.pd_at(1 / 400) == 1
    assert curve.threshold_for(Budget(1e-3)) is None
    scores[15, 15] = 0.5
    scores[5, 5] = 0
    assert curve_of([(scores, mask)]).pd_at(1 / 400) == 0, 'something is predicted within the budget, and missed'
    nothing = curve_of([(np.zeros((20, 20), np.float32), mask)])
    assert np.isnan(nothing.pd_at(1))
    assert nothing.at(0).pd == nothing.at(0).fa == 0
    with pytest.raises(UserError, match='no score above 0'):
        nothing.best_f1()


@pytest.mark.parametrize('scale', ['score', 'logit'])
@pytest.mark.parametrize('wrong', [np.nan, np.inf])
def test_values_that_are_no_numbers_are_refused(scale, wrong):
    values = np.full((4, 4), 0.5)
    values[1, 1] = wrong
    with pytest.raises(UserError, match='NaN or infinity'):
        curve_of([(values, values > 1)], scale)
    with pytest.raises(UserError, match='size of its mask'):
        curve_of([(values, np.zeros((4, 5)))], scale)
    with pytest.raises(UserError, match='expected scores in'):
        curve_of([(np.full((4, 4), 2.0), np.zeros((4, 4)))])
    with pytest.raises(UserError, match='budget of at least 0'):
        Budget(wrong)


def test_memory_is_bounded_and_what_is_kept_is_exact():
    pairs = [textured_pair(i) for i in range(5)]
    whole = curve_of(pairs)
    small = curve_of(pairs, kept=900)
    assert len(small.pixel_values) <= 900
    assert 0 < small.lowest < 1
    for threshold in (small.lowest, (small.lowest + 1) / 2):
        assert small.at(threshold) == whole.at(threshold)
    for fa in (0, 1e-3, 1e-2):
        assert small.pd_at(fa) == pytest.approx(whole.pd_at(fa), nan_ok=True)
    with pytest.raises(UserError, match='Expected a threshold of at least'):
        small.at(0)
    total = CurveSum(kept=900)
    for values, mask in pairs:
        total.update(values, connected_components(mask))
        assert sum(map(len, total._parts['pixels'])) <= 1800 + values.size


def test_the_order_of_images_does_not_matter():
    pairs = [textured_pair(i, levels=9) for i in range(3)]
    forth, back = curve_of(pairs), curve_of(pairs[::-1])
    for name in ('values', 'hits', 'tp', 'matched', 'predicted', 'alarms', 'peaks'):
        np.testing.assert_array_equal(getattr(forth, name), getattr(back, name))
    assert forth.images == 3
    assert np.isnan(curve_of([]).at(0).fa)


def test_benchmark_finds_the_figures_of_the_straightforward_loop(capsys):
    benchmark = load_tool('benchmark_evaluation')
    images = [benchmark.make_image(index, 64, 3, 0.1) for index in range(2)]
    got, expected = benchmark.evaluate(images), benchmark.loop(images)
    assert got.keys() == expected.keys()
    assert got == pytest.approx(expected, rel=1e-9, abs=0, nan_ok=True)
    benchmark.main(['--images', '2', '--size', '64', '--targets', '2'])
    assert 'of which 0 differ' in capsys.readouterr().out


def test_average_precision_is_the_sum_over_thresholds():
    pairs = [textured_pair(1, levels=20), textured_pair(2, levels=20)]
    expected, last = 0.0, 0.0
    pixels = sum(mask.sum() for _, mask in pairs)
    for level in range(19, -1, -1):
        *_, tp, predicted = fixed_threshold_counts(pairs, np.float32(level / 20))
        expected += (tp / pixels - last) * tp / predicted
        last = tp / pixels
    assert curve_of(pairs).average_precision() == pytest.approx(expected)
    assert 0 < expected < 1


def test_a_perfect_map_has_full_area_and_any_threshold_will_do():
    mask = np.zeros((20, 20), dtype=bool)
    mask[3:6, 4:8] = mask[12:14, 12:14] = True
    curve = curve_of([(mask.astype(np.float32), mask)])
    assert curve.average_precision() == pytest.approx(1)
    assert curve.best_f1() == (0.5, 1.0)
    assert curve.figures() == dict.fromkeys(curves.CURVE_FIGURES, 1)
    assert curve.at(0.5).logit == logit(0.5)


def test_threshold_is_chosen_by_f1_and_normalisation_is_heeded():
    mask = np.zeros((20, 20), dtype=bool)
    mask[4:8, 4:8] = True
    scores = np.where(mask, 0.4, np.where(ndimage.binary_dilation(mask), 0.2, 0)).astype(np.float32)
    assert 0.2 <= curves.select_threshold([(scores, mask)]) < 0.4
    assert 0.5 <= curves.select_threshold([(scores, mask)], normalise=True) < 1
    with pytest.raises(UserError, match='no target'):
        curves.select_threshold([(scores, np.zeros_like(mask))])


def test_a_budget_of_pixels_is_a_ratio() -> None:
    with pytest.raises(UserError, match='such as 1e-5, got 10'):
        Budget(10)
    assert Budget(10, 'image').amount == 10
