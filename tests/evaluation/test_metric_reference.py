"""Figures that the published definitions give on the reference cases of tests/data/metric_*."""

import json
from pathlib import Path

import numpy as np
import pytest

from drpca.evaluation import Evaluator, functional

DATA = Path(__file__).parents[1] / 'data'
EXPECTED = json.loads((DATA / 'metric_expected.json').read_text())
CASES = [name for name in EXPECTED if not name.startswith('real')]
ERROR_PARTS = {
    'seg_IoU': 'seg_iou', 'seg_merge': 'seg_mrg_err', 'seg_interference': 'seg_itf_err',
    'seg_perception': 'seg_pcp_err', 'loc_IoU': 'loc_iou', 'loc_interference': 'loc_itf_err',
    'loc_perception': 'loc_pcp_err', 'loc_multiple_to_single': 'loc_m2s_err', 'loc_single_to_multiple': 'loc_s2m_err',
}  # fmt: skip


@pytest.fixture(scope='module')
def maps():
    with np.load(DATA / 'metric_cases.npz') as file:
        return dict(file)


def evaluate(maps, case):
    evaluator = Evaluator(['rpcanet', 'drpca', 'basicirstd', 'shooting', 'opdc'])
    for scores, mask in zip(maps[f'{case}/pred'], maps[f'{case}/mask']):
        evaluator.update(scores, mask)
    return evaluator


def assert_figures(got, expected):
    for key, value in expected.items():
        assert got[key] == pytest.approx(value, rel=1e-9, abs=0), key


def test_3d_roc_of_the_toolbox():
    """TensorISTD's figures of four frames made by rule, windows on the target pixel (multiframe_reference.json)."""
    total = functional.Roc3dCounts.zero()
    y, x = np.mgrid[:64, :64]
    for frame in range(4):
        row, column = 20 + 3 * frame, 30 + 2 * frame
        distance = (y - row) ** 2 + (x - column) ** 2
        values = np.exp(-distance / 2) + 0.2 * abs(np.sin(0.9 * y + 1.3 * x + frame))
        values += 0.3 * np.exp(-((y - 50) ** 2 + (x - 12) ** 2) / 2) * (frame != 2)
        scores = (np.round(255 * values / values.max()) / 255).astype(np.float32)
        total += functional.roc_3d_counts(scores, functional.connected_components(distance == 0))
    expected = {
        'AUC_FaPd': 1.0, 'AUC_tauPd': 0.995, 'AUC_tauFa': 0.115942, 'AUC_OD': 1.87906, 'AUC_TD': 1.995,
        'AUC_BS': 0.884058, 'AUC_TDBS': 0.879058, 'AUC_SNPR': 8.58188, 'AUC_ODP': 0.995 + 1 - 0.115942,
    }  # fmt: skip
    assert functional.roc_3d_figures(total) == pytest.approx(expected, rel=5e-6)


def test_3d_roc_of_empty_maps_and_targets_at_the_edge():
    """Both are dropped as the toolbox does: the map from the false-alarm rate alone, the target from Pd."""
    mask = np.zeros((8, 8), dtype=bool)
    mask[4, 4] = mask[0, 4] = True
    targets = functional.connected_components(mask)
    blank = functional.roc_3d_counts(np.zeros((8, 8), np.float32), targets)
    assert (blank.outside, blank.targets, blank.hits[0]) == (0, 1, 1)
    seen = functional.roc_3d_counts(mask.astype(np.float32), targets)
    assert (seen.outside, seen.targets, seen.false_pixels[1]) == (64 - 9, 1, 1)
    assert np.isnan(functional.roc_3d_figures(functional.Roc3dCounts.zero())['AUC_FaPd'])


@pytest.mark.parametrize('case', CASES)
class TestReferenceFigures:
    def test_max_normalised(self, maps, case):
        figures, expected = evaluate(maps, case).compute(), EXPECTED[case]['max_normalised_0_5']
        pixels = {key: expected[key] for key in ('IoU', 'precision', 'recall', 'F1')}
        assert_figures(figures['rpcanet'], pixels | expected['overlap'])
        assert_figures(figures['drpca'], pixels | expected['centroid_area_value'])
        assert figures['drpca']['images'] == EXPECTED[case]['images']

    def test_fixed_threshold(self, maps, case):
        figures, expected = evaluate(maps, case).compute(), EXPECTED[case]['fixed_0_5']
        pixels = {key: expected[key] for key in ('IoU', 'nIoU')}
        assert_figures(figures['basicirstd'], pixels | expected['centroid'])

    def test_published_roc(self, maps, case):
        evaluator, expected = evaluate(maps, case), EXPECTED[case]['roc']
        counts = sum((record.roc for record in evaluator.records), functional.RocCounts.zero())
        rates = functional.roc(counts)
        np.testing.assert_allclose(rates[0][::20], expected['fpr'], rtol=1e-9)
        np.testing.assert_allclose(rates[1][::20], expected['tpr'], rtol=1e-9)
        assert functional.roc_auc(counts) == pytest.approx(expected['auc'], rel=1e-9)

    def test_pyirstdmetrics(self, maps, case):
        figures, expected = evaluate(maps, case).compute(), EXPECTED[case]['pyirstdmetrics_1_0_2_fixed_0_5']
        for preset, key in (('shooting', 'shooting'), ('basicirstd', 'centroid_distance'), ('opdc', 'opdc')):
            rates = expected[key]
            assert_figures(figures[preset], {'Pd': rates['probability_detection'], 'Fa': rates['false_alarm']})
        opdc = {name: expected['opdc_errors'][part] for name, part in ERROR_PARTS.items()}
        opdc['hIoU'] = expected['opdc']['hiou']
        if expected['images_with_empty_side']:
            # One target and no prediction: the package adds a phantom false alarm and halves these two.
            assert case == 'low_confidence'
            opdc |= {'loc_interference': 0.0, 'loc_perception': 1.0}
        assert_figures(figures['opdc'], opdc)
