"""score() and cal_from_mask.py: reading results folders, sizes, tables, files and errors."""

import dataclasses
import json
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy import io as scipy_io
from scipy.special import expit

from drpca.cli.score import main
from drpca.datasets import open_split
from drpca.datasets.io import is_mask, read_maps, resize_image
from drpca.datasets.splits import Split
from drpca.errors import UserError
from drpca.evaluation import Evaluator
from drpca.evaluation.curves import CURVE_FIGURES, Budget, CurveSum, image_curve
from drpca.evaluation.functional import connected_components
from drpca.evaluation.protocols import build_protocols, choose_protocols
from drpca.results.folder import ResultsFolder
from drpca.results.scoring import Case, _refuse_same_images, apply_budgets, iterate_cases, score, score_split
from tests.mini_results import NAMES, SIZES, make_maps
from tests.support import error_line, exit_code, limited_files

NATIVE = ['--protocol', 'basicirstd']
"""One preset at the size of the images, where the others would only take longer."""


def save_map(workplace, name, scores):
    scipy_io.savemat(workplace / 'results/mini/mat' / f'{name}.mat', {'T': scores})


def fails(capsys, *arguments):
    assert main(list(arguments)) == 2
    return error_line(capsys)


def test_default_prints_native_first_and_names_everything(workplace, capsys):
    assert main([]) == 0
    title, header, *rows = capsys.readouterr().out.splitlines()
    assert [line.split(':')[0] for line in rows[3:5]] == ['3D-ROC, native', '3D-ROC, 256x256']
    rows = rows[:3]
    assert 'mini test' in title
    assert [row.split()[0] for row in rows] == ['basicirstd', 'drpca', 'rpcanet']
    assert [size in row for size, row in zip(('native', '256x256', '256x256'), rows)] == [True] * 3
    assert 'centroid < 3 px' in rows[0]
    assert '> 0.5 of maximum' in rows[1]
    assert 'any overlap' in rows[2]
    for column in ('threshold', 'size', 'matching rule', 'Fa x1e-6', 'images', 'targets'):
        assert column in header


def test_thresholds_are_counted_beside_the_rest_and_once_for_sizes_that_are_one(workplace, monkeypatch):
    counted = []

    def count(*arguments):
        counted.append((arguments[0].shape, threading.current_thread() is threading.main_thread()))
        return image_curve(*arguments)

    monkeypatch.setattr('drpca.results.scoring.image_curve', count)
    native, small = choose_protocols(['basicirstd', 'drpca'])
    (whole,) = score('results/mini', protocols=[native, dataclasses.replace(small, size=50)])
    assert sorted(counted) == [(shape, False) for shape in [(40, 60), (50, 50), (50, 50), (50, 50), (64, 48)]]
    for size, curve in whole.curves.items():
        alone = CurveSum()
        for case in iterate_cases(whole.folder, whole.split):
            scores, gt_mask = case.at(size)
            alone.update(scores, connected_components(gt_mask))
        for name, values in vars(alone.curve()).items():
            np.testing.assert_array_equal(getattr(curve, name), values)


def test_an_unfinished_folder_does_not_stop_the_others(workplace, capsys):
    shutil.copytree('results/mini', 'results/also/')
    (workplace / 'results/also/run.json').write_text('{"dataset": "mini"}')
    (workplace / 'results/also/mat/a_1.mat').unlink()
    shutil.copytree('results/mini', 'results/clip')
    assert main([]) == 1
    told = capsys.readouterr()
    assert told.out.startswith('results/mini: mini test')
    first, second = told.err.splitlines()
    assert first.startswith('error: results/also is left out: results/also against mini test: 1 map missing (a_1)')
    assert second.startswith('error: results/clip is left out: ')
    assert 'a_1' in fails(capsys, '--results', 'results/mini', 'results/also'), 'what was asked for must be there'
    shutil.rmtree('results/mini')
    assert main([]) == 2
    assert capsys.readouterr().err.endswith('error: None of the 2 folders under results can be scored.\n')


def test_maps_and_masks_in_any_folders(workplace, capsys):
    assert main(['--results', 'results/mini', '--json', 'known.json']) == 0
    for folder in ('maps', 'gt'):
        (workplace / folder).mkdir()
    for name, mask in (('a_1', 'a_1'), ('a_2', 'a_2_mask'), ('b_1', 'b_1_pixels0')):
        shutil.copy(f'results/mini/mat/{name}.mat', 'maps')
        shutil.copy(f'data/mini/test/masks/{name}.png', f'gt/{mask}.png')
    assert main(['--results', 'maps', '--masks', 'gt', '--json', 'any.json']) == 0
    known, found = (json.loads((workplace / f'{name}.json').read_text()) for name in ('known', 'any'))
    assert found['drpca']['IoU'] == known['drpca']['IoU'] > 0
    assert found['basicirstd']['Pd'] == known['basicirstd']['Pd'] > 0
    shutil.copytree('results/mini/img', 'pictures/seq1')
    shutil.copytree('gt', 'nested/seq1')
    (workplace / 'pictures/img').mkdir()
    shutil.move('pictures/seq1', 'pictures/img/seq1')
    assert main(['--results', 'pictures', '--masks', 'nested', '--overwrite', '--json', 'any.json']) == 0
    found = json.loads((workplace / 'any.json').read_text())
    assert found['drpca']['IoU'] == pytest.approx(known['drpca']['IoU'], rel=0.01), 'of 8 bits'
    capsys.readouterr()
    shutil.copy('gt/a_1.png', 'gt/a_1_gt.png')
    assert 'both masks of a_1: keep one' in fails(capsys, '--results', 'maps', '--masks', 'gt')
    assert 'with masks' in fails(capsys, '--results', 'maps', '--masks', 'none')
    assert 'leave out --dataset' in fails(capsys, '--results', 'maps', '--masks', 'gt', '--dataset', 'mini')


def test_a_frame_is_no_mask_and_a_mask_of_another_shape_is_told_of(workplace, capsys, recwarn):
    shutil.copytree('data/mini/test/masks', 'gt/images')  # masks that lie as their images do
    shutil.copytree('results/mini/mat', 'maps/mat/images')
    scoring = ['--results', 'maps', '--masks', 'gt', *NATIVE, '--overwrite', '--json']
    assert main(['--results', 'results/mini', *NATIVE, '--json', 'known.json']) == main([*scoring, 'any.json']) == 0
    known, found = (json.loads((workplace / f'{name}.json').read_text()) for name in ('known', 'any'))
    assert found['basicirstd']['IoU'] == known['basicirstd']['IoU'] > 0
    assert not recwarn.list
    for name in ('a_1', 'b_1'):
        (workplace / f'gt/images/{name}.png').unlink()
        (workplace / f'maps/mat/images/{name}.mat').unlink()
    mask = np.asarray(Image.open('gt/images/a_2.png'))
    Image.fromarray(np.repeat(mask, 2, axis=1)).save('gt/images/a_2.png')
    with pytest.warns(UserWarning, match='a_2.png is 50x100, its map 50x50: maps are scaled'):
        assert main([*scoring, 'any.json']) == 0
    (workplace / 'maps/run.json').write_text('{"sizes": [{"frame": [50, 100], "map": [50, 50]}]}')
    assert main([*scoring, 'any.json']) == 0
    assert not recwarn.list, 'that is how the run resized its frames'
    capsys.readouterr()
    frame = np.random.default_rng(0).integers(1, 255, (50, 50), dtype=np.uint8)
    Image.fromarray(frame).save('gt/images/a_2.png')
    assert 'got none there, folders of images aside' in fails(capsys, *scoring, 'any.json')
    (workplace / 'gt/images').rename('gt/seq')
    (workplace / 'maps/mat/images').rename('maps/mat/seq')
    assert 'seq/a_2.png is no mask, but a picture of' in fails(capsys, *scoring, 'any.json')
    assert [is_mask(values) for values in (frame > 99, frame, np.where(frame > 99, frame, 0), frame // 128 + 1)] == [
        True, False, False, False,
    ]  # fmt: skip
    assert is_mask(np.pad(frame, 20)), 'grey edges, numbered targets'


def test_figures_are_those_of_the_evaluator(workplace, capsys):
    arguments = ['--protocol', 'drpca', 'opdc', '--size', 'native', '--json', 'out/scores.json']
    assert main(['--results', 'results/mini', *arguments]) == 0
    figures = json.loads((workplace / 'out/scores.json').read_text())
    evaluator = Evaluator(['drpca', 'opdc'])
    for scores, mask in make_maps().values():
        evaluator.update(scores, mask)
    for name, expected in evaluator.compute().items():
        assert {key: figures[name][key] for key in expected} == pytest.approx(expected)
        assert figures[name]['protocol']['size'] is None
    assert 0 < figures['drpca']['IoU'] < 1
    assert 'wrote out' in capsys.readouterr().err
    assert main(['--json', 'out/scores.json', '--overwrite']) == 0
    assert 'replaced out' in capsys.readouterr().err


def test_the_function_gives_the_figures_of_the_command(workplace, capsys):
    seen = []
    options = {'protocols': ['drpca', 'opdc'], 'size': 'native', 'analyse': True}
    (done,) = score('results/mini', report=seen.append, **options)
    assert seen == [done]
    assert capsys.readouterr() == ('', '')
    evaluator = Evaluator([*build_protocols(['opdc']), *choose_protocols('drpca', 'native')])
    for name, (scores, mask) in make_maps().items():
        evaluator.update(scores, mask, name)
    for name, expected in evaluator.compute().items():
        assert {key: done.figures[name][key] for key in expected} == expected
    assert [(name, len(a.targets), len(a.false_alarms)) for name, a in done.analyses.items()] == [
        ('drpca', 3, 0), ('opdc', 3, 0)
    ]  # fmt: skip
    assert [one.folder.path.name for one in score(protocols='basicirstd')] == ['mini']
    with pytest.raises(UserError, match='shares 3 images'):
        score(threshold_from='results/mini')
    shutil.copytree('results/mini/mat', 'unknown/mat')
    with pytest.raises(UserError, match='--threshold-from unknown: expected maps of a data set that is here'):
        score('results/mini', threshold_from='unknown', at_fa=1e-5)


def test_maps_of_a_detector_are_scored_as_saved_ones(workplace):
    class Mapper:
        grey = 'opencv'

        def score_maps(self, frames):
            return ((name, make_maps()[name][0]) for name, _ in frames)

    split = open_split('mini')
    protocols = choose_protocols()
    figures = score_split(Mapper(), split, split.names, protocols)
    whole = score()[0].figures
    assert figures == {name: {key: whole[name][key] for key in figures[name]} for name in whole}


def test_size_256_resizes_scores_bilinear_and_masks_nearest(workplace, capsys):
    main(['--protocol', 'basicirstd', '--size', '256', '--json', 'scores.json'])
    evaluator = Evaluator()
    for scores, mask in make_maps().values():
        big = resize_image(scores, (256, 256))
        height, width = mask.shape
        nearest = mask[np.arange(256) * height // 256][:, np.arange(256) * width // 256]
        evaluator.update(big, nearest)
    got = json.loads(Path('scores.json').read_text())['basicirstd']
    expected = evaluator.compute()['basicirstd']
    assert {key: got[key] for key in expected} == pytest.approx(expected)
    assert '256x256' in capsys.readouterr().out


def test_maps_of_one_size_are_scored_at_native_size(workplace, capsys):
    for name, (scores, _) in make_maps().items():
        save_map(workplace, name, resize_image(scores, (128, 128)))
    assert main(['--protocol', 'basicirstd', '--json', 'scores.json']) == 0
    assert json.loads(Path('scores.json').read_text())['basicirstd']['Pd'] == 1


def test_a_map_of_the_right_size_is_left_alone():
    scores, mask = make_maps()['a_1']
    assert Case('a_1', scores, mask).at(None)[0].tolist() == scores.tolist()


def test_png_is_read_where_there_is_no_mat(workplace, capsys):
    for file in (workplace / 'results/mini/mat').iterdir():
        file.unlink()
    folder = ResultsFolder('results/mini')
    assert folder.kind == 'img'
    np.testing.assert_allclose(folder.read('a_1'), make_maps()['a_1'][0], atol=0.5 / 255 + 1e-6)
    Image.fromarray(np.full(SIZES['a_1'], 65535, np.uint16)).save('results/mini/img/a_1.png')
    assert folder.read('a_1').min() == 1
    assert main(NATIVE) == 0
    assert 'maps from img/' in capsys.readouterr().out


def test_what_8_bits_do_not_hold_is_not_computed(workplace, capsys):
    """From pictures, and from maps that were made of pictures."""
    curves = ('AUC', *CURVE_FIGURES)
    whole = score('results/mini', protocols='basicirstd')[0].figures['basicirstd']
    assert not any(np.isnan(whole[key]) for key in curves)
    for name, (scores, _) in make_maps().items():
        save_map(workplace, name, np.rint(scores * 255) / 255)
    for kind in ('mat', 'img'):
        (done,) = score('results/mini', protocols='basicirstd', analyse=True)
        assert done.folder.kind == kind
        figures = done.figures['basicirstd']
        assert np.isnan([figures[key] for key in curves]).all()
        assert {key: figures[key] for key in whole if key not in curves} == {
            key: value for key, value in whole.items() if key not in curves
        }, 'all others stay, the 3D-ROC among them, which is of 8 bits'
        assert main(['--protocol', 'basicirstd', '--json', 'f.json', '--report', 'r.html', '--overwrite']) == 0
        out = capsys.readouterr().out.splitlines()
        assert out[2].split()[-7:-2] == ['-'] * 5
        assert out[-1].startswith('The maps have 8 bits')
        saved = json.loads(Path('f.json').read_text())['basicirstd']
        assert [saved[key] for key in curves] == [None] * 5
        assert 'The maps have 8 bits' in saved['notes'][0]
        assert 'The maps have 8 bits' in Path('r.html').read_text()
        shutil.rmtree(workplace / 'results/mini/mat', ignore_errors=True)
    with pytest.raises(UserError, match='cannot choose a threshold for a budget'):
        apply_budgets(dataclasses.replace(done, threshold_from=(done.folder, done.split)), [Budget(1e-5)])


def test_a_budget_that_leads_below_what_is_kept_of_the_curve_is_noted(workplace):
    (done,) = score('results/mini', protocols='basicirstd')
    done = dataclasses.replace(done, threshold_from=(done.folder, done.split))
    assert apply_budgets(done, [Budget(1)]).notes == ()
    short = dataclasses.replace(done, curves={None: dataclasses.replace(done.curves[None], lowest=0.3)})
    noted = apply_budgets(short, [Budget(1), Budget(0)])
    assert noted.notes == (
        'Fa ≤ 1, native: the curve here is kept above the threshold alone; its figures here are those of score 0.3.',
    )
    assert [point.is_raised for point in noted.chosen[None]] == [True, False]


def test_what_is_not_reached_is_said(workplace, capsys):
    """In each image four false pixels are as sure as the target: Fa is 12 / 7972, or nothing is predicted."""
    for name, (scores, mask) in make_maps().items():
        scores = np.where(mask, 1, 0.1 * scores)
        scores[30:32, 5:7] = 1
        save_map(workplace, name, scores)
    assert main(['--protocol', 'basicirstd', '--json', 'f.json']) == 0
    figures = json.loads(Path('f.json').read_text())['basicirstd']
    assert [figures[key] for key in CURVE_FIGURES] == [None] * 4
    assert figures['Pd'] == 1
    out = capsys.readouterr().out.splitlines()
    assert out[-1] == 'Wherever anything is predicted, Fa is above 1e-06, 1e-05, 0.0001 at size native.'
    assert out[2].split()[-6:-2] == ['-'] * 4
    assert figures['notes'] == [out[-1]]


@pytest.mark.parametrize('size', ['native', 50])
def test_curves_are_of_logits_where_there_are_some(workplace, size):
    """A confident network: at one threshold scores and logits say the same, and only logits tell the order."""
    maps = {}
    for number, (name, (scores, _)) in enumerate(make_maps().items()):
        maps[name] = ((scores - 0.5) * 400 + 20 * number).astype(np.float32)
        scipy_io.savemat(f'results/mini/mat/{name}.mat', {'T': expit(maps[name]), 'logits': maps[name]})
    (done,) = score('results/mini', protocols='basicirstd', size=size, analyse=True)
    (curve,) = done.curves.values()
    assert curve.scale == 'logit'
    figures, point = done.figures['basicirstd'], curve.at(0)
    assert (point.pd, point.fa) == (figures['Pd'], figures['Fa'])
    assert point.iou == pytest.approx(figures['IoU'])
    assert curve.hits[:3].tolist() == [1, 2, 3]
    assert len({row.logit for row in done.analysis.targets}) == 3
    assert {row.score for row in done.analysis.targets} == {1}
    scipy_io.savemat('results/mini/mat/a_1.mat', {'T': expit(maps['a_1'])})
    (one_without,) = score('results/mini', protocols='basicirstd', size=size)
    assert next(iter(one_without.curves.values())).scale == 'score'
    assert one_without.figures['basicirstd']['IoU'] == figures['IoU']


def test_resized_logits_are_those_of_the_resized_scores():
    """Also where float64 has no score for them any more."""
    logits = np.array([[0, 2, 800], [-3, -900, 5], [-1000, -1200, 30]], np.float32)
    case = Case('a', expit(logits), np.zeros((7, 7), bool), logits)
    resized = case.logits_at(None)
    assert np.isfinite(resized).all()
    np.testing.assert_array_equal(resized > 0, case.at(None)[0] > 0.5)
    np.testing.assert_allclose(expit(resized), resize_image(expit(logits.astype(np.float64)), (7, 7)), atol=1e-12)
    assert resized[6, 1] < -1000, 'between -1000 and -1200'
    assert Case('a', expit(logits), np.zeros((3, 3), bool), logits).logits_at(3) is logits


def test_run_json_says_data_set_and_split(workplace, capsys):
    (workplace / 'results/mini').rename(workplace / 'results/renamed')
    assert 'renamed' in fails(capsys)
    (workplace / 'results/renamed/run.json').write_text(json.dumps({'dataset': 'mini', 'split': 'test'}))
    assert main(NATIVE) == 0
    assert 'renamed: mini test' in capsys.readouterr().out
    assert main([*NATIVE, '--dataset', 'MINI', '--data-root', 'data']) == 0


def test_several_folders_share_one_file(workplace, capsys):
    folders = ['results/mini', 'results/mini/../mini']
    assert main(['--results', *folders, '--protocol', 'opdc', '--json', 'both.json']) == 0
    both = json.loads(Path('both.json').read_text())
    assert sorted(both) == folders
    assert both['results/mini']['opdc']['hIoU'] > 0


def test_undefined_figures_are_null_and_dashes(workplace, capsys):
    for name, size in SIZES.items():
        Image.fromarray(np.zeros(size, np.uint8)).save(f'data/mini/test/masks/{name}.png')
        save_map(workplace, name, np.zeros(size))
    assert main(['--protocol', 'basicirstd', '--json', 'scores.json']) == 0
    row = capsys.readouterr().out.splitlines()[-2].split()
    assert row[-12:] == ['-', '-', '-', '-', '0.00', '-', '-', '-', '-', '-', '3', '0']
    figures = json.loads(Path('scores.json').read_text(), parse_constant=pytest.fail)
    assert figures['basicirstd']['Pd'] is None
    assert figures['basicirstd']['Fa'] == 0


def test_protocols_of_ones_own_come_from_a_config_file(workplace, capsys):
    Path('mine.py').write_text("protocols = [dict(type='basicirstd', name='strict', threshold=0.85)]\n")
    assert main(['--protocol', 'mine.py', 'drpca', '--json', 'scores.json']) == 0
    assert json.loads(Path('scores.json').read_text())['strict']['Pd'] == 0
    assert capsys.readouterr().out.splitlines()[2].split()[:3] == ['strict', '>', '0.85']
    assert 'No config file yours.py' in fails(capsys, '--protocol', 'yours.py')
    Path('mine.py').write_text('protocols = ()')
    assert 'expected a list' in fails(capsys, '--protocol', 'mine.py')
    Path('mine.py').write_text('protocols = [')
    assert 'Cannot read mine.py' in fails(capsys, '--protocol', 'mine.py')


class TestErrors:
    def test_no_results(self, workplace, capsys):
        assert 'No results folder nowhere' in fails(capsys, '--results', 'nowhere')
        Path('results/mini').rename('elsewhere')
        assert 'No results under results' in fails(capsys)

    def test_empty_folder(self, workplace, capsys):
        Path('empty').mkdir()
        assert 'empty holds no score maps' in fails(capsys, '--results', 'empty')

    def test_too_few_and_too_many_maps(self, workplace, capsys):
        Path('results/mini/mat/a_1.mat').rename('results/mini/mat/z_9.mat')
        message = fails(capsys)
        assert '1 map missing (a_1)' in message
        assert '1 map not in the split (z_9)' in message
        assert '--allow-partial' in message
        assert main([*NATIVE, '--allow-partial']) == 0
        assert capsys.readouterr().out.splitlines()[2].split()[-2:] == ['2', '2']

    def test_too_many_maps_alone(self, workplace, capsys):
        save_map(workplace, 'z_9', np.zeros((40, 60)))
        assert '1 map not in the split (z_9)' in fails(capsys)
        assert main([*NATIVE, '--allow-partial']) == 0

    def test_no_map_in_common(self, workplace, capsys):
        for name in NAMES:
            Path(f'results/mini/mat/{name}.mat').rename(f'results/mini/mat/z{name}.mat')
        assert '3 maps missing (a_1, a_2, b_1)' in fails(capsys, '--allow-partial')

    @pytest.mark.parametrize(
        ('content', 'message'),
        [
            (b'', 'not a readable MATLAB file'),
            (b'MATLAB 5.0 MAT-file' + bytes(200), 'not a readable MATLAB file'),
            (b'junk' * 100, 'not a readable MATLAB file'),
        ],
    )
    def test_damaged_mat(self, workplace, capsys, content, message):
        Path('results/mini/mat/a_2.mat').write_bytes(content)
        line = fails(capsys)
        assert 'a_2.mat' in line
        assert message in line

    def test_truncated_mat(self, workplace, capsys):
        file = Path('results/mini/mat/a_2.mat')
        file.write_bytes(file.read_bytes()[:-500])
        assert 'a_2.mat' in fails(capsys)

    @pytest.mark.parametrize(
        ('variables', 'message'),
        [
            ({'S': np.zeros((4, 4))}, "expected the variable 'T', found S"),
            ({'T': np.zeros((4, 4, 2))}, r'2-D array of real numbers'),
            ({'T': 'text'}, r'2-D array of real numbers'),
            ({'T': np.ones((4, 4)) * 1j}, r'2-D array of real numbers'),
        ],
    )
    def test_wrong_mat(self, tmp_path, variables, message):
        scipy_io.savemat(tmp_path / 'x.mat', variables)
        with pytest.raises(UserError, match=message):
            read_maps(tmp_path / 'x.mat', ['T'])
        with pytest.raises(UserError, match='no such file'):
            read_maps(tmp_path / 'y.mat', ['T'])

    def test_logits_of_other_scores(self, workplace):
        """Someone has changed T and kept the rest of the file."""
        scores = make_maps()['a_1'][0]
        logits = np.log(scores) - np.log1p(-scores)
        path = workplace / 'results/mini/mat/a_1.mat'
        scipy_io.savemat(path, {'T': scores, 'logits': logits})
        np.testing.assert_array_equal(ResultsFolder('results/mini').read_maps('a_1')[1], logits.astype(np.float32))
        for wrong in (logits + 1, logits[1:], np.full_like(logits, np.nan)):
            scipy_io.savemat(path, {'T': scores, 'logits': wrong})
            with pytest.raises(UserError, match='expected finite logits whose sigmoid is T'):
                ResultsFolder('results/mini').read_maps('a_1')

    def test_damaged_png(self, workplace, capsys):
        for file in Path('results/mini/mat').iterdir():
            file.unlink()
        Path('results/mini/img/b_1.png').write_bytes(b'no picture')
        assert 'b_1.png' in fails(capsys)

    def test_damaged_mask(self, workplace, capsys):
        Path('data/mini/test/masks/a_2.png').write_bytes(b'no picture')
        line = fails(capsys)
        assert 'masks' in line
        assert 'a_2.png' in line

    def test_a_damaged_image_beside_a_good_mask(self, workplace, capsys):
        """Its size would tell what the size of a map means; the figures need it not."""
        for name in NAMES:
            save_map(workplace, name, np.zeros((32, 32)))
        Path('data/mini/test/images/a_2.png').write_bytes(b'no picture')
        whole = score('results/mini', protocols='basicirstd')[0]
        assert list(whole.failed) == ['a_2'], 'named, and the rest done'
        assert whole.figures['basicirstd']['images'] == len(NAMES)
        assert main([*NATIVE, '--targets-csv', 'targets.csv', '--report', 'r.html']) == 1
        said = capsys.readouterr().err.splitlines()
        assert [line for line in said if line.startswith('error: ')] == [f'error: {whole.failed["a_2"]}']
        rows = Path('targets.csv').read_text()
        assert 'b_1' in rows
        assert 'a_2' not in rows
        assert Path('r.html').stat().st_size > 10_000

    def test_values_out_of_range(self, workplace, capsys):
        save_map(workplace, 'a_2', np.full(SIZES['a_2'], 200.0))
        assert 'a_2.mat: expected scores in [0, 1]' in fails(capsys)
        save_map(workplace, 'a_2', np.full(SIZES['a_2'], np.nan))
        assert 'a_2.mat: the score map holds NaN' in fails(capsys)

    @pytest.mark.parametrize('name', NAMES)
    def test_mixed_sizes(self, workplace, capsys, name):
        save_map(workplace, name, np.zeros((256, 256)))
        message = fails(capsys)
        assert 'mixed sizes' in message
        assert '{' not in message
        assert f'{name}.mat' in message
        assert '{' not in message

    def test_wrong_run_json(self, workplace, capsys):
        Path('results/mini/run.json').write_text('{')
        assert 'run.json' in fails(capsys)
        Path('results/mini/run.json').write_text('[]')
        assert 'JSON object' in fails(capsys)

    def test_unknown_names(self, workplace, capsys):
        assert "Did you mean 'rpcanet'" in fails(capsys, '--protocol', 'rpcnet')
        assert 'nothing_like_it' in fails(capsys, '--dataset', 'nothing_like_it')
        assert 'nowhere' in fails(capsys, '--data-root', 'nowhere')

    def test_json_cannot_be_written(self, workplace, capsys):
        main(['--protocol', 'basicirstd', '--json', 'results'])
        assert 'Cannot write results' in capsys.readouterr().err

    @pytest.mark.parametrize('size', ['0', '-3', 'big', '2.5'])
    def test_wrong_size(self, workplace, capsys, size):
        assert exit_code(main, [f'--size={size}']) == 2
        assert 'native' in capsys.readouterr().err


def test_a_full_disk(workplace, capsys):
    """A limit on the size of files stands in for the disk."""
    for option in ('--json', '--csv', '--markdown', '--latex', '--report'):
        with limited_files(20):
            assert main([*NATIVE, option, 'out.html']) == 1
        err = capsys.readouterr().err.strip()
        assert err == 'error: Cannot write out.html: the disk is full; free some space and start again.'
        assert not list(workplace.glob('*out*'))


def test_sirst_v1_and_v2_are_one_family() -> None:
    one = Split('SIRSTv1', 'val', Path('.'), ['Misc_1'], 'a list', {})
    with pytest.raises(UserError, match='shares 1 images'):
        _refuse_same_images(one, dataclasses.replace(one, dataset='SIRSTv2', split='test'))
    _refuse_same_images(one, dataclasses.replace(one, dataset='mine'))


def test_two_options_with_one_file_are_refused(workplace, capsys):
    assert 'named by two options' in fails(capsys, '--json', 'same.x', '--csv', './same.x')
    assert not Path('same.x').exists()
