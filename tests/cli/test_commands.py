"""The commands as a user calls them: what they write, and one clear line for every kind of bad input."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from scipy.io import loadmat

from drpca import progress
from drpca.cli import infer, score, train
from drpca.datasets.synthetic import generate_dataset
from tests.support import error_line, save_weights

CONFIG = 'rpcanet_plus_synthetic'
ONE_STAGE = ['--cfg-options', 'model.network.num_stages=1']


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a small data set, weights, and nothing else."""
    monkeypatch.chdir(tmp_path)
    generate_dataset('datasets', num_train=8, num_test=3, size=64)
    save_weights()
    return tmp_path


def infer_synthetic(*more: str) -> int:
    return infer.main([CONFIG, '--checkpoint', 'w.pth', '--size', '64', *more, *ONE_STAGE])


def test_results_folder(workplace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.setattr(progress, 'INTERVAL', 0)
    assert infer_synthetic() == 0
    assert 'image 3/3  ' in capsys.readouterr().err
    folder = workplace / 'results' / 'synthetic'
    run = json.loads((folder / 'run.json').read_text())
    assert (run['dataset'], run['split'], run['size'], run['images']) == ('synthetic', 'test', 64, 3)
    assert len(run['checkpoint_sha256']) == 64
    names = sorted(path.stem for path in (folder / 'img').iterdir())
    assert names == sorted(path.stem for path in (folder / 'mat').iterdir())
    assert len(names) == 3
    scores = loadmat(folder / 'mat' / f'{names[0]}.mat')['T']
    picture = cv2.imread(str(folder / 'img' / f'{names[0]}.png'), cv2.IMREAD_UNCHANGED)
    assert scores.dtype == np.float32
    assert scores.min() >= 0
    assert scores.max() <= 1
    assert np.array_equal(picture, np.round(255 * scores).astype(np.uint8))


def test_scores_of_the_results(workplace: Path) -> None:
    assert infer_synthetic() == 0
    assert score.main(['--json', 'scores.json']) == 0
    assert json.loads((workplace / 'scores.json').read_text())


def test_native_size_and_single_image(workplace: Path, capsys: pytest.CaptureFixture) -> None:
    image = np.random.default_rng(0).integers(0, 255, (45, 61), dtype=np.uint8)
    cv2.imwrite('frame.png', image)
    assert infer_synthetic('--input', 'frame.png', '--size', 'native', '--out', 'out') == 0
    assert loadmat('out/frame/mat/frame.mat')['T'].shape == (45, 61)
    assert '1 map in out/frame' in capsys.readouterr().out
    assert infer.main(['tophat', '--input', 'frame.png', '--out', 'out']) == 2
    assert 'another run (w.pth): choose' in error_line(capsys)


def test_unreadable_frames_are_named_and_the_rest_is_done(workplace: Path, capsys: pytest.CaptureFixture) -> None:
    frames = workplace / 'frames'
    frames.mkdir()
    for name in 'abc':
        cv2.imwrite(str(frames / f'{name}.png'), np.full((32, 32), 90, np.uint8))
    whole = (frames / 'b.png').read_bytes()
    (frames / 'b.png').write_bytes(whole[: len(whole) - 20])
    assert infer_synthetic('--input', 'frames') == 1
    assert 'b.png' in capsys.readouterr().err
    assert sorted(path.stem for path in Path('results/frames/img').iterdir()) == ['a', 'c']


def test_another_checkpoint_needs_overwrite(workplace: Path, capsys: pytest.CaptureFixture) -> None:
    assert infer_synthetic() == 0
    assert infer_synthetic() == 0, 'the same run may be repeated'
    before = next(Path('results/synthetic/mat').iterdir()).read_bytes()
    save_weights(seed=1)
    capsys.readouterr()
    assert infer_synthetic() == 2
    assert '--overwrite' in error_line(capsys)
    assert next(Path('results/synthetic/mat').iterdir()).read_bytes() == before
    assert infer_synthetic('--overwrite') == 0


@pytest.mark.parametrize(
    ('arguments', 'expected'),
    [
        (['rpcanett_synthetic', '--checkpoint', 'w.pth'], 'Unknown config'),
        ([CONFIG, '--checkpoint', 'none.pth'], 'No checkpoint at none.pth'),
        ([CONFIG], 'No trained weights of rpcanet_plus_synthetic under checkpoints'),
        (['--input', 'nothing.png'], 'no such image'),
        (['--checkpoint', 'w.pth'], 'does not say which config'),
        ([CONFIG, '--checkpoint', 'w.pth'], "fits dict(type='RPCANetPlus', num_stages=1)"),
        ([CONFIG, '--checkpoint', 'w.pth', '--dataset', 'SIRSTv9', *ONE_STAGE], 'SIRSTv9'),
        ([CONFIG, '--checkpoint', 'w.pth', '--data-root', 'nowhere', *ONE_STAGE], 'nowhere'),
        ([CONFIG, '--checkpoint', 'w.pth', '--split', 'testt', *ONE_STAGE], 'testt'),
        ([CONFIG, '--checkpoint', 'w.pth', '--input', 'nothing.png', *ONE_STAGE], 'no such image'),
        ([CONFIG, '--checkpoint', 'w.pth', '--batch-size', '0'], '--batch-size'),
        ([CONFIG, '--checkpoint', 'w.pth', '--device', 'quantum', *ONE_STAGE], 'quantum'),
        ([CONFIG, '--checkpoint', 'w.pth', '--cfg-options', 'model.network.depth=3'], "no argument 'depth'"),
        ([CONFIG, '--cfg-options', 'model.losses=dict(a=1,b=2)'], 'dictionary one by one (a.b=1), got'),
        ([CONFIG, '--cfg-options', 'model.network.stages=(1,2'], 'expected a number, a word or a list'),
        ([CONFIG, '--checkpoint', 'w.pth', '--cfg-options', 'modell.x=3'], 'Unknown config key'),
        ([CONFIG, '--checkpoint', 'w.pth', '--cfg-options', 'model.network.type=RPCANt'],
         "RPCANt is not a registered model: correct the name (type=…) in the config. Did you mean 'RPCANet'?"),
        ([CONFIG, '--checkpoint', 'w.pth', '--cfg-options', 'model.network.num_stage=1'],
         "RPCANetPlus has no argument 'num_stage': correct the config or the option. Did you mean 'num_stages'?"),
    ],
)  # fmt: skip
def test_inference_with_bad_input(
    workplace: Path, capsys: pytest.CaptureFixture, arguments: list[str], expected: str
) -> None:
    assert infer.main(arguments) == 2
    assert expected in error_line(capsys)


@pytest.mark.parametrize(
    ('arguments', 'expected'),
    [
        (['rpcanett_synthetic'], 'Unknown config'),
        (['--model', 'nonet'], 'Unknown model'),
        (['--model', 'dtum'], '--model dtum looks at several frames: give --dataset, a folder of sequences'),
        (['--dataset', 'SIRSTv9'], 'SIRSTv9'),
        (['--data-root', 'nowhere'], 'nowhere'),
        ([CONFIG, '--model', 'rpcanet'], 'not both'),
        ([CONFIG, '--epochs', '0'], '--epochs'),
        ([CONFIG, '--cfg-options', 'train_cfg.epochs=3'], "no argument 'epochs'"),
        ([CONFIG, '--cfg-options', 'optim_wraper.lr=3'], 'Unknown config key'),
        ([CONFIG, '--load-from', 'none.pth'], 'No checkpoint at none.pth'),
    ],
)
def test_training_with_bad_input(
    workplace: Path, capsys: pytest.CaptureFixture, arguments: list[str], expected: str
) -> None:
    assert train.main(arguments) == 2
    assert expected in error_line(capsys)


def test_training_with_an_empty_data_root(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert train.main(['--data-root', str(tmp_path)]) == 2
    assert 'make_synthetic' in error_line(capsys)


@pytest.mark.parametrize('damage', ['truncated image', 'no mask', 'no image', 'sizes differ'])
def test_training_on_damaged_data(workplace: Path, capsys: pytest.CaptureFixture, damage: str) -> None:
    part = workplace / 'datasets' / 'synthetic' / 'trainval'
    image = sorted((part / 'images').iterdir())[2]
    mask = part / 'masks' / image.name
    if damage == 'truncated image':
        image.write_bytes(image.read_bytes()[:500])
    elif damage == 'no mask':
        mask.unlink()
    elif damage == 'no image':
        image.unlink()
    else:
        cv2.imwrite(str(mask), np.zeros((20, 30), np.uint8))
    arguments = [CONFIG, '--epochs', '1', '--workers', '0', *ONE_STAGE]
    if damage == 'sizes differ':  # at a set size both are resized to it
        arguments += ['train_dataloader.dataset.size=None', 'val_dataloader.dataset.size=None']
    assert train.main(arguments) == 2
    assert image.stem in error_line(capsys)


def test_training_without_arguments_plans_drpcanet_on_every_data_set(
    workplace: Path, capsys: pytest.CaptureFixture
) -> None:
    assert train.main(['--dry-run']) == 0
    out = capsys.readouterr().out
    assert 'drpcanet_synthetic seed 0' in out
    assert not Path('checkpoints').exists()
