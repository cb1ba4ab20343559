"""The tools that look inside detectors and test their robustness, as a user calls them."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import pytest
from scipy.io import loadmat

from drpca import progress
from drpca.cli import analyse_decomposition, cross_dataset, infer, robustness, score, visualize_stages
from drpca.datasets.synthetic import generate_dataset
from tests.support import error_line, save_weights

CONFIG = 'rpcanet_plus_synthetic'
TINY = ['--size', '32', '--cfg-options', 'model.network.num_stages=1']


@pytest.fixture(scope='module')
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small data set under two names, and two sets of weights."""
    folder = tmp_path_factory.mktemp('tools')
    generate_dataset(folder / 'datasets', num_train=4, num_test=3, size=32)
    twin = generate_dataset(folder / 'other', num_train=2, num_test=3, size=32, seed=5)
    Path(twin).rename(folder / 'datasets' / 'mine')
    for seed, name in enumerate(('w.pth', 'v.pth')):
        save_weights(folder / name, seed)
    return folder


@pytest.fixture
def workplace(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ('datasets', 'w.pth', 'v.pth'):
        Path(name).symlink_to(made / name)
    return tmp_path


ROBUST = [CONFIG, '--checkpoint', 'w.pth', 'v.pth', '--corruption', 'gaussian=10,40', 'blur=1', *TINY]


def test_robustness(workplace: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, 'INTERVAL', 0)
    assert robustness.main([*ROBUST, '--curves', 'IoU', 'Fa']) == 0
    out = Path('results/robustness/synthetic')
    assert sorted(p.name for p in out.iterdir()) == [
        'Fa.png', 'Fa.svg', 'IoU.png', 'IoU.svg', 'robustness.json', 'robustness.md',
    ]  # fmt: skip
    content = json.loads((out / 'robustness.json').read_text())
    assert len(content['results']) == 2 * (1 + 3)
    assert set(content['detectors']) == {'w', 'v'}
    assert len(content['detectors']['w']['checkpoint_sha256']) == 64
    printed, told = capsys.readouterr()
    assert re.search('pass 8/8  .* s each  00:00 left', told)
    assert 'synthetic test, 3 of 3 images, basicirstd' in printed
    assert printed.count('Gaussian noise 40 grey levels') == 2
    assert cv2.imread(str(out / 'IoU.png')).shape[2] == 3


def test_robustness_of_clean_frames_is_the_score_of_the_results(workplace: Path) -> None:
    mine = [CONFIG, '--checkpoint', 'w.pth', *TINY]
    assert robustness.main([*mine, '--corruption', 'blur=1', '--curves', 'IoU']) == 0
    assert infer.main([*mine, '--out', 'maps']) == 0
    assert score.main(['--results', 'maps/synthetic', '--protocol', 'basicirstd', '--json', 's.json']) == 0
    expected = json.loads(Path('s.json').read_text())['basicirstd']
    clean = json.loads(Path('results/robustness/synthetic/robustness.json').read_text())['results'][0]
    assert clean['corruption'] is None
    for key, value in clean['figures']['basicirstd'].items():
        assert value == pytest.approx(expected[key], abs=1e-9), key


def test_robustness_is_reproducible_whatever_the_order(workplace: Path) -> None:
    """Noise belongs to an image, a seed and a kind: one image more or another kind before changes nothing."""
    plain = [CONFIG, '--checkpoint', 'w.pth', '--curves', 'IoU', *TINY]
    assert robustness.main([*plain, '--corruption', 'gaussian=40', '--out', 'a']) == 0
    assert robustness.main([*plain, '--corruption', 'stripes=9', 'gaussian=9,40', '--out', 'b']) == 0
    first, second = (
        [r for r in json.loads(Path(name, 'robustness.json').read_text())['results'] if r['level'] == 40]
        for name in 'ab'
    )
    assert first == second


def test_nothing_is_overwritten_silently(workplace: Path, capsys: pytest.CaptureFixture) -> None:
    mine = [CONFIG, '--checkpoint', 'w.pth', *TINY]
    cross, look = [*mine, '--dataset', 'synthetic', '--out', 'c'], [*mine, '--limit', '1', '--out', 's']
    for tool, arguments in (
        (robustness, [*ROBUST, '--limit', '1', '--corruption', 'blur=1', '--curves', 'IoU']),
        (cross_dataset, cross),
        (visualize_stages, look),
        (analyse_decomposition, [*mine, '--limit', '1', '--out', 'd']),
    ):
        assert tool.main(arguments) == 0
        capsys.readouterr()
        assert tool.main(arguments) == 2
        assert '--overwrite' in error_line(capsys)
    assert visualize_stages.main([*look, '--overwrite']) == 0
    assert cross_dataset.main([*cross, '--overwrite']) == 0


def test_stages_in_the_report(workplace: Path, capsys: pytest.CaptureFixture) -> None:
    assert visualize_stages.main([CONFIG, '--checkpoint', 'w.pth', '--limit', '2', *TINY]) == 0
    folder = Path('results/synthetic/stage_pictures')
    index = json.loads((folder / 'stages.json').read_text())
    assert len(index['images']) == 2
    assert all(set(stages[0]) == {'epsilon', 'sigma'} for stages in index['images'].values())
    name = next(iter(index['images']))
    assert cv2.imread(str(folder / f'{name}.png')).shape[1] == 4 * (224 + 4 + 8) + 3 * 4  # 32 px times 7, with bars

    assert infer.main([CONFIG, '--checkpoint', 'w.pth', *TINY]) == 0
    scoring = ['--results', 'results/synthetic', '--protocol', 'basicirstd', '--report', 'r.html', '--overwrite']
    assert score.main(scoring) == 0
    page = Path('r.html').read_text()
    assert 'id="stages"' in page
    assert page.count('every stage"') == 2

    assert infer.main([CONFIG, '--checkpoint', 'v.pth', '--overwrite', *TINY]) == 0
    assert score.main(scoring) == 0
    page = Path('r.html').read_text()
    assert 'other weights: not shown' in page
    assert 'every stage"' not in page

    shutil.rmtree(folder)
    (folder.parent / 'stages').mkdir()
    cv2.imwrite(str(folder.parent / 'stages' / f'{name}.png'), np.zeros((9, 9), np.uint8))
    assert score.main(scoring) == 0
    page = Path('r.html').read_text()
    assert page.count('every stage"') == 1, 'pictures of inference.py --save-stages'


def test_stages_of_images_of_ones_own(workplace: Path) -> None:
    cv2.imwrite('frame.png', np.random.default_rng(0).integers(0, 255, (30, 45), dtype=np.uint8))
    arguments = [CONFIG, '--checkpoint', 'w.pth', '--input', 'frame.png', *TINY, '--size', 'native']
    assert visualize_stages.main(arguments) == 0
    assert Path('results/frame/stage_pictures/frame.png').is_file()


def test_decomposition(workplace: Path, capsys: pytest.CaptureFixture) -> None:
    arguments = [CONFIG, '--checkpoint', 'w.pth', '--ranks', '1', '2', *TINY]
    assert analyse_decomposition.main(arguments) == 0
    out = Path('results/decomposition/synthetic')
    content = json.loads((out / 'decomposition.json').read_text())
    values = loadmat(out / 'decomposition.mat')
    assert [str(name[0]) for name in values['names'].ravel()] == content['images']
    assert values['curves'].shape == (3, 1, 101)
    assert values['epsilon'].shape == (3, 1)
    assert content['stages'][0]['gini'] == pytest.approx(values['gini'].mean())
    assert content['stages'][0]['energy_2'] == pytest.approx(values['energy'][:, 0, 1].mean())
    for name in ('low_rankness', 'sparsity', 'scalars'):
        assert cv2.imread(str(out / f'{name}.png')) is not None
        assert (out / f'{name}.svg').read_text().startswith('<?xml')
    assert 'effective rank' in capsys.readouterr().out


def test_cross_dataset_and_leaks(workplace: Path, capsys: pytest.CaptureFixture) -> None:
    arguments = [CONFIG, '--checkpoint', 'w.pth', '--dataset', 'synthetic', 'mine', *TINY]
    assert cross_dataset.main([*arguments, '--out', 'c']) == 0
    printed = capsys.readouterr().out
    assert 'warning' not in printed
    content = json.loads(Path('c/cross_dataset.json').read_text())
    assert list(content['datasets']) == ['synthetic', 'mine']
    assert content['datasets']['mine']['figures']['basicirstd']['images'] == 3
    assert cross_dataset.main([*arguments, '--trained-on', 'mine:test']) == 0
    printed = capsys.readouterr().out
    assert 'warning: 3 of the 3 images of mine test are in mine test' in printed
    synthetic, mine = (line for line in printed.splitlines() if line.startswith(('synthetic ', 'mine ')))
    assert synthetic.split()[-1] == '0'
    assert mine.split()[-1] == '3'
    assert cross_dataset.main([*arguments, '--trained-on', 'synthetic+mine:test']) == 0
    printed = capsys.readouterr().out
    for name in ('synthetic', 'mine'):
        assert f'warning: 3 of the 3 images of {name} test are in {name} test' in printed


def test_cross_dataset_says_when_the_training_images_are_not_at_hand(
    workplace: Path, capsys: pytest.CaptureFixture
) -> None:
    config = [argument.replace('synthetic', 'sirstv1') for argument in [CONFIG, '--checkpoint', 'w.pth']]
    assert cross_dataset.main([*config, '--dataset', 'mine', *TINY]) == 0
    printed = capsys.readouterr().out
    assert 'warning: SIRSTv1 train is not at hand: leaks from it are not known' in printed
    assert printed.splitlines()[2].endswith('?')


@pytest.mark.parametrize(
    ('tool', 'arguments', 'expected'),
    [
        (robustness, [CONFIG], 'give --checkpoint'),
        (robustness, [CONFIG, '--checkpoint', 'none.pth'], 'No checkpoint at none.pth'),
        (robustness, [CONFIG, '--checkpoint', 'w.pth', '--corruption', 'fog'], 'Unknown corruption'),
        (robustness, [CONFIG, '--checkpoint', 'w.pth', '--curves', 'IuO', *TINY], "Did you mean 'IoU'"),
        (robustness, [CONFIG, '--checkpoint', 'w.pth', '--protocol', 'basic'], 'Unknown protocol'),
        (robustness, [CONFIG, CONFIG, '--checkpoint', 'w.pth', 'v.pth', 'w.pth'], 'one for each'),
        (robustness, [CONFIG, '--checkpoint', 'w.pth', 'w.pth', *TINY], 'named twice'),
        (visualize_stages, [CONFIG, '--checkpoint', 'w.pth', '--names', 'nil', *TINY], "no image 'nil'"),
        (visualize_stages, [CONFIG, '--checkpoint', 'w.pth', '--input', 'nil.png', *TINY], 'nil.png'),
        (visualize_stages, [CONFIG, '--checkpoint', 'w.pth', '--device', 'quantum', *TINY], 'quantum'),
        (analyse_decomposition, [CONFIG, '--checkpoint', 'w.pth', '--threshold', '2', *TINY], 'expected [0, 1)'),
        (analyse_decomposition, ['rpcanett', '--checkpoint', 'w.pth'], 'Unknown config'),
        (cross_dataset, [CONFIG, '--checkpoint', 'w.pth', '--dataset', 'nil', *TINY], "Unknown data set 'nil'"),
        (cross_dataset, [CONFIG, '--checkpoint', 'w.pth', '--dataset', 'mine', 'Mine', *TINY], 'named twice'),
        (cross_dataset, [CONFIG, '--checkpoint', 'w.pth', '--dataset', 'mine', '--trained-on', 'mine:nil', *TINY],
         "no split 'nil'"),
    ],
)  # fmt: skip
def test_bad_input(
    workplace: Path, capsys: pytest.CaptureFixture, tool: ModuleType, arguments: list[str], expected: str
) -> None:
    assert tool.main(arguments) == 2
    assert expected in error_line(capsys)
    assert not Path('results').exists()
