"""Paired bootstrap, seeds."""

import math

import numpy as np
import pytest

from drpca.errors import UserError
from drpca.evaluation import Evaluator, bootstrap
from drpca.evaluation.functional import mean_and_deviation


def records(quality, count=30, seed=0, names=None):
    """Targets found with probability ``quality``, the same images for the same seed."""
    rng = np.random.default_rng(seed)
    evaluator = Evaluator(['basicirstd'])
    for index in range(count):
        mask = np.zeros((30, 30), dtype=bool)
        row, column = rng.integers(4, 24, 2)
        mask[row : row + 3, column : column + 3] = True
        scores = mask * (0.9 if rng.random() < quality else 0.1)
        scores[0, 0] = 0.9
        evaluator.update(scores, mask, f'{index}' if names is None else names[index])
    return evaluator


def test_interval_holds_the_difference_and_tells_better_from_equal():
    good, bad = records(0.95), records(0.4)
    difference = bootstrap.paired_bootstrap(bad.records, good.records, 'basicirstd')
    figures = [e.compute()['basicirstd'] for e in (bad, good)]
    for key in bootstrap.COMPARED:
        assert difference[key].value == pytest.approx(figures[1][key] - figures[0][key]), key
        assert difference[key].low <= difference[key].value <= difference[key].high, key
    assert difference['Pd'].clear
    assert difference['Pd'].value > 0
    assert not difference['Fa'].clear
    same = bootstrap.paired_bootstrap(good.records, good.records, 'basicirstd')
    assert all((d.value, d.low, d.high) == (0, 0, 0) for d in same.values())


def test_interval_is_that_of_plain_resampling():
    good, bad = records(0.9).records, records(0.5).records
    rng = np.random.default_rng(11)
    hits = np.array([[r.counts['basicirstd'].hits for r in part] for part in (bad, good)])
    drawn = [np.mean(np.diff(hits[:, rng.integers(0, 30, 30)], axis=0)) for _ in range(4000)]
    expected = np.quantile(drawn, [0.025, 0.975])
    got = bootstrap.paired_bootstrap(bad, good, 'basicirstd', draws=4000)['Pd']
    assert (got.low, got.high) == pytest.approx(expected.tolist(), abs=0.05)


def test_order_of_the_images_does_not_matter_but_their_names_do():
    good, bad = records(0.9).records, records(0.5).records
    forth = bootstrap.paired_bootstrap(bad, good, 'basicirstd')
    assert forth == bootstrap.paired_bootstrap(bad, good[::-1], 'basicirstd')
    with pytest.raises(UserError, match='same images'):
        bootstrap.paired_bootstrap(bad, good[1:], 'basicirstd')
    with pytest.raises(UserError, match='same images'):
        bootstrap.paired_bootstrap([], [], 'basicirstd')


def test_undefined_figures_stay_undefined():
    evaluator = Evaluator(['basicirstd'])
    evaluator.update(np.zeros((8, 8)), np.zeros((8, 8)), 'a')
    difference = bootstrap.paired_bootstrap(evaluator.records, evaluator.records, 'basicirstd')
    assert math.isnan(difference['Pd'].value)
    assert math.isnan(difference['IoU'].low)
    assert difference['Fa'].value == 0


@pytest.mark.parametrize(
    ('first', 'second'),
    [
        ('runs/rpcanet_seed0/SIRSTv1', 'runs/rpcanet_seed12/SIRSTv1'),
        ('seed=1/SIRSTv1', 'seed=2/SIRSTv1'),
        ('out/Seed-3', 'out/Seed-4'),
    ],
)
def test_seeds_are_grouped(first, second):
    assert bootstrap.seed_group(first) == bootstrap.seed_group(second)


def test_other_names_are_not_grouped():
    names = ['runs/rpcanet', 'runs/drpcanet', 'seedling/a', 'out/SIRSTv1', 'out/SIRSTv2']
    assert len({bootstrap.seed_group(name) for name in names}) == len(names)


def test_mean_and_deviation_over_runs():
    spread = mean_and_deviation([{'IoU': 0.7}, {'IoU': 0.8}, {'IoU': 0.9}])
    assert spread['IoU'] == pytest.approx((0.8, 0.1))
    assert math.isnan(mean_and_deviation([{'IoU': 0.7}])['IoU'][1])
