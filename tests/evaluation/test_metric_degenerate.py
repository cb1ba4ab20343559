"""What images without targets, without predictions, with bad values or of differing sizes mean."""

import math

import numpy as np
import pytest

from drpca.errors import UserError
from drpca.evaluation import Evaluator, functional

PRESETS = ['rpcanet', 'drpca', 'basicirstd', 'shooting', 'opdc']
SHAPE = (32, 40)


def blob(row, column, radius=1, value=1.0):
    """(32, 40) map with one square."""
    array = np.zeros(SHAPE, dtype=np.float32)
    array[max(0, row - radius) : row + radius + 1, max(0, column - radius) : column + radius + 1] = value
    return array


EMPTY = np.zeros(SHAPE, dtype=np.float32)


components_of = functional.connected_components


def figures(*pairs):
    evaluator = Evaluator(PRESETS)
    for scores, mask in pairs:
        evaluator.update(scores, mask > 0)
    return evaluator.compute()


def test_no_image_is_undefined():
    for values in figures().values():
        assert values['images'] == values['targets'] == 0
        assert all(math.isnan(values[key]) for key in ('IoU', 'nIoU', 'F1', 'precision', 'Pd', 'Fa', 'AUC'))


def test_no_target_and_no_prediction_has_no_pd_but_a_fa_of_zero():
    for name, values in figures((EMPTY, EMPTY)).items():
        assert all(math.isnan(values[key]) for key in ('IoU', 'nIoU', 'Pd', 'AUC')), name
        if name == 'rpcanet':
            assert math.isnan(values['Fa'])  # images without targets are skipped: nothing to divide by
        else:
            assert values['Fa'] == 0
    assert math.isnan(figures((EMPTY, EMPTY))['opdc']['hIoU'])


def test_false_alarm_on_an_image_without_target():
    values = figures((blob(10, 10, value=0.9), EMPTY))
    for name in PRESETS:
        assert values[name]['IoU'] == values[name]['precision'] == values[name]['nIoU'] == 0
        assert math.isnan(values[name]['Pd'])
    for name in ('drpca', 'basicirstd', 'shooting', 'opdc'):
        assert values[name]['Fa'] == pytest.approx(9 / (32 * 40))
    assert math.isnan(values['rpcanet']['Fa'])
    assert values['opdc']['hIoU'] == 0
    assert values['opdc']['loc_interference'] == 1


def test_max_normalisation_turns_a_faint_map_without_target_into_a_false_alarm():
    values = figures((blob(10, 10, value=1e-3), EMPTY))
    assert values['drpca']['Fa'] == pytest.approx(9 / (32 * 40))
    assert values['basicirstd']['Fa'] == 0


def test_missed_target_with_an_all_zero_map():
    for name, values in figures((EMPTY, blob(10, 10))).items():
        for key in ('IoU', 'nIoU', 'F1', 'precision', 'recall', 'Pd', 'Fa', 'AUC'):
            assert values[key] == 0, (name, key)
    assert figures((EMPTY, blob(10, 10)))['opdc']['loc_perception'] == 1


def test_niou_leaves_out_images_with_neither_side():
    pairs = [(blob(10, 10), blob(10, 10)), (EMPTY, EMPTY)]
    assert figures(*pairs)['basicirstd']['nIoU'] == 1
    assert figures(*pairs, (blob(5, 5), EMPTY))['basicirstd']['nIoU'] == 0.5


@pytest.mark.parametrize('corner', [(0, 0), (0, 39), (31, 0), (31, 39)])
def test_target_in_a_corner_is_found(corner):
    for name, values in figures((blob(*corner), blob(*corner))).items():
        assert (values['IoU'], values['Pd'], values['Fa']) == (1, 1, 0), name


def test_boxes_are_cut_at_the_border_and_do_not_wrap_around():
    values = figures((blob(16, 39, radius=0), blob(16, 0, radius=0)))['shooting']
    assert values['Pd'] == 0
    assert values['Fa'] == pytest.approx(1 / (32 * 40))


def test_distance_limits_are_strict():
    target = blob(10, 10, radius=0)
    assert figures((blob(10, 13, radius=0), target))['basicirstd']['Pd'] == 0
    assert figures((blob(12, 12, radius=0), target))['basicirstd']['Pd'] == 1  # 2.83 px
    assert figures((blob(10, 11, radius=0), target))['shooting']['Pd'] == 1
    assert figures((blob(10, 12, radius=0), target))['shooting']['Pd'] == 0
    assert figures((blob(14, 14, radius=0), target))['shooting']['Fa'] == 0
    assert figures((blob(10, 15, radius=0), target))['shooting']['Fa'] > 0


def test_overlap_of_a_half_is_a_match_however_far_the_centroid():
    target, prediction = np.zeros((2, 20, 30), dtype=bool)
    target[5, :12] = prediction[5, :24] = True
    components = components_of(target), components_of(prediction)
    assert functional.match_optimal(*components).hit.tolist() == [True]
    assert functional.match_centroid(*components).hit.tolist() == [False]
    prediction[5, 24] = True
    components = components_of(target), components_of(prediction)
    assert functional.match_optimal(*components).hit.tolist() == [False]


def test_boxes_reach_one_and_four_pixels_by_default():
    target = components_of(blob(10, 10, radius=0) > 0)
    assert functional.match_box(target, blob(11, 11, radius=0) > 0).hit.tolist() == [True]
    assert functional.match_box(target, blob(12, 10, radius=0) > 0).hit.tolist() == [False]
    assert functional.area_outside_boxes(target, blob(14, 6, radius=0) > 0) == 0
    assert functional.area_outside_boxes(target, blob(15, 10, radius=0) > 0) == 1


def test_threshold_is_strict():
    half = blob(10, 10, value=0.5) + blob(20, 20, value=1.0)
    values = figures((half, blob(10, 10)))
    assert values['basicirstd']['recall'] == 0
    assert values['drpca']['recall'] == 0


def test_the_first_near_component_wins_over_the_nearest():
    targets = components_of(blob(10, 10, radius=0) > 0)
    predictions = components_of((blob(8, 10, radius=0) + blob(10, 11, radius=0)) > 0)
    assert functional.match_centroid(targets, predictions).partner.tolist() == [0]
    assert functional.match_optimal(targets, predictions).partner.tolist() == [1]


def test_one_prediction_serves_one_target_only():
    targets = components_of((blob(10, 10, radius=0) + blob(10, 12, radius=0)) > 0)
    prediction = components_of(blob(10, 11, radius=0) > 0)
    for rule in (functional.match_centroid, functional.match_optimal):
        assert rule(targets, prediction).hit.tolist() == [True, False]


@pytest.mark.parametrize(
    ('scores', 'message'),
    [
        (np.where(blob(3, 3) > 0, np.nan, 0), 'NaN'),
        (blob(3, 3, value=1.5), 'values from 0 to 1.5'),
        (-blob(3, 3), r'values from -1 to'),
        (np.where(blob(3, 3) > 0, np.inf, 0), 'inf'),
        (np.zeros((31, 40)), '31x40 and the mask 32x40'),
        (np.zeros((1, 32, 40)), r'shape \(H, W\)'),
        (np.zeros((0, 40)), r'shape \(H, W\)'),
    ],
)
def test_bad_maps_are_refused_by_name(scores, message):
    evaluator = Evaluator()
    with pytest.raises(UserError, match=f'Misc_7: .*{message}'):
        evaluator.update(scores, blob(3, 3) > 0, name='Misc_7')
    assert not evaluator.records


def test_masks_may_be_numbers_above_zero():
    evaluator = Evaluator()
    evaluator.update(blob(3, 3), (blob(3, 3) * 255).astype(np.uint8))
    evaluator.update((blob(3, 3) > 0).astype(np.uint8), blob(3, 3, value=0.01))
    assert evaluator.compute()['basicirstd']['IoU'] == 1


def test_auc_does_not_care_for_images_without_targets():
    pair = (blob(10, 10, value=0.8) + blob(25, 25, value=0.6), blob(10, 10))
    assert figures(pair, (blob(5, 5), EMPTY))['drpca']['AUC'] == figures(pair)['drpca']['AUC']
