"""``predict()``: a results folder from Python, as inference.py writes it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from scipy.io import loadmat

from drpca.cli import infer
from drpca.datasets.synthetic import generate_dataset
from drpca.errors import UserError
from drpca.inference.detector import Detector
from drpca.inference.temporal import TemporalFilter
from drpca.registry import MODELS
from drpca.results.predict import predict
from tests.support import ROOT

CONFIG = 'rpcanet_sirstv1'
LIMIT = 15
SMALL = {'model.network.num_stages': 1, 'model.network.channels': 4}


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    generate_dataset('datasets', num_train=2, num_test=3, size=64)
    torch.manual_seed(0)
    torch.save(MODELS.build({'type': 'RPCANet', 'num_stages': 1, 'channels': 4}).state_dict(), 'w.pth')
    return tmp_path


def files(folder: str | Path) -> dict[str, bytes]:
    """Contents of the files; those of MATLAB begin with a date."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()[128 * (path.suffix == '.mat') :]
        for path in sorted(Path(folder).rglob('*'))
        if path.is_file() and not path.name.startswith('.')
    }


def test_the_same_files_as_the_command(workplace: Path) -> None:
    options = [f'{key}={value}' for key, value in SMALL.items()]
    formats = ['png', 'mat', 'json', 'csv', 'coco']
    arguments = [CONFIG, '--checkpoint', 'w.pth', '--dataset', 'synthetic', '--out', 'one', '--overlay']
    assert infer.main([*arguments, '--save-stages', '--format', *formats, '--cfg-options', *options]) == 0
    done = predict(
        CONFIG, None, 'two', checkpoint='w.pth', dataset='synthetic', formats=formats, overlay=True, stages=True,
        options=SMALL,
    )  # fmt: skip
    assert (done.folder, done.done, done.failed, done.without_stages) == (Path('two/synthetic'), 3, [], 0)
    assert files('one') == files('two')
    assert len(files('two')) == 5 * 3 + 3
    run = json.loads(Path('two/synthetic/run.json').read_text())
    assert list(run) == [
        'config', 'model', 'checkpoint', 'checkpoint_sha256', 'dataset', 'split', 'input', 'size', 'tile',
        'precision', 'threshold', 'temporal', 'images', 'versions',
    ]  # fmt: skip
    assert list(run['versions']) == ['drpca', 'torch', 'numpy', 'opencv', 'python']
    assert (run['size'], run['tile'], run['images']) == (256, 1024, 3)


def test_a_detector_that_is_made_already(workplace: Path) -> None:
    detector = Detector(CONFIG, 'w.pth', options=SMALL, dataset='synthetic')
    assert predict(detector).folder == Path('results/synthetic')
    scores = loadmat('results/synthetic/mat/test_000000.mat')['T']
    assert scores.shape == (64, 64), 'its own size, and not that of the recipe'
    with pytest.raises(UserError, match='give threshold to Detector'):
        predict(detector, threshold=0.2)
    with pytest.raises(UserError, match='already holds the maps of another run'):
        predict('tophat', dataset='synthetic')
    with pytest.raises(UserError, match='Which images'):
        predict(Detector(torch.nn.Identity()))


def test_frames_in_memory_and_damaged_files(workplace: Path) -> None:
    frames = np.random.default_rng(0).integers(0, 255, (2, 40, 48), dtype=np.uint8)
    done = predict('tophat', frames, formats=['mat'])
    assert done.folder == Path('results/frames')
    assert sorted(path.stem for path in Path('results/frames/mat').iterdir()) == [
        'frame_000000',
        'frame_000001',
    ]
    Path('bad.png').write_bytes(b'no image')
    cv2.imwrite('good.png', frames[0])
    done = predict('tophat', [Path('bad.png'), Path('good.png')], 'mixed')
    assert done.done == 1
    assert len(done.failed) == 1
    assert 'bad.png' in done.failed[0]
    with pytest.raises(UserError, match='no such image, video or folder'):
        predict('tophat', 'nothing.png')


def test_a_temporal_filter_and_a_live_stream(workplace: Path) -> None:
    frames = np.full((6, 40, 48), 40, np.uint8)
    frames[:, 20:22, 20:22] = 220
    temporal = TemporalFilter(2, 3, min_speed=0.5)
    done = predict('tophat_paper', frames, temporal=temporal, live='block', queue=2, formats=['csv'])
    assert len(done.latencies) == done.done == 6
    assert done.dropped == 0
    assert json.loads((done.folder / 'run.json').read_text())['temporal'] == {
        'm': 2, 'n': 3, 'candidate_threshold': 0.25, 'min_speed': 0.5,
    }  # fmt: skip
    assert len((done.folder / 'targets.csv').read_text().splitlines()) == 1, 'nothing moves'
    with pytest.raises(UserError, match='--queue needs --live'):
        predict('tophat_paper', frames, queue=2)


def test_run_json_says_at_which_size_a_classical_method_worked(workplace: Path) -> None:
    for config, size, expected in (
        ('tophat_paper', 'recipe', 'native'),
        ('tophat', 'recipe', 256),
        ('tophat', 32, 32),
    ):
        done = predict(config, dataset='synthetic', size=size, out=f'{config}{size}')
        assert json.loads((done.folder / 'run.json').read_text())['size'] == expected


def test_one_image_enters_few_files(workplace: Path) -> None:
    """From a config's name, a weight file and an image to its PNG, in a process of its own."""
    cv2.imwrite('frame.png', np.full((64, 64), 60, np.uint8))
    program = f"""
from drpca.inference.detector import Detector
from drpca.results.predict import predict
from tests.call_trace import entered_files

def run():
    predict(Detector({CONFIG!r}, 'w.pth', options={SMALL}, device='cpu'), 'frame.png', formats=['png'])

print(*entered_files(run))
"""
    done = subprocess.run(
        [sys.executable, '-c', program],
        env={**os.environ, 'PYTHONPATH': str(ROOT)},
        capture_output=True,
        text=True,
    )
    entered = done.stdout.split()
    assert 'results/predict.py' in entered, done.stderr
    assert len(entered) <= LIMIT, entered
