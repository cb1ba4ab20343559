"""The benchmark of training."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from drpca.cli import benchmark_training as tool
from drpca.datasets.device_loader import DeviceLoader
from drpca.datasets.synthetic import generate_dataset
from drpca.deploy.processor import instructions, processor_name
from tests.support import exit_code

SMALL = ['--size', '32', '--batch', '2', '--steps', '1', '--repetitions', '2', '--device', 'cpu']


def test_table_json_and_projection(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    files = ['--json', str(tmp_path / 't.json'), '--markdown', str(tmp_path / 't.md')]
    assert tool.main([*SMALL, '--networks', 'lrrnet', '--levers', *files]) == 0
    out = capsys.readouterr().out
    assert 'lrrnet: first losses without bfloat16 the same' in out
    table = (tmp_path / 't.md').read_text()
    assert table.splitlines()[0] == out.splitlines()[0]
    assert table.startswith(f'{processor_name()} ({instructions()}), {torch.get_num_threads()} thread')
    content = json.loads((tmp_path / 't.json').read_text())
    results = content['results']
    names = ['as published', '+ data on the device', '+ NHWC', '+ bfloat16', '+ fused Adam']
    assert [result['way'] for result in results] == names
    assert results[0]['ratio'] == 1
    for result in results:
        assert f'| {result["images_per_s"]:.1f} | {result["ratio"]:.2f} |' in table
    # 400 epochs of 341 images, and the validation passes over 86 images: 170 as published, 80 here.
    for result, passes in ((results[0], 170), (results[-1], 80)):
        seconds = 400 * 341 / result['images_per_s'] + passes * 86 * result['validation_ms'] / 1e3
        assert 60 * result['minutes'] == pytest.approx(seconds + result['warm_up_s'])
    assert results[3]['memory_mb'] < 0.75 * results[2]['memory_mb'], 'bfloat16 keeps smaller activations'


def test_another_loss_is_noticed(
    tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A way that changes the mathematics: here the images lose their last bit."""
    batch = DeviceLoader.batch

    def coarser(self: DeviceLoader, index: torch.Tensor, number: int) -> dict[str, torch.Tensor]:
        made = batch(self, index, number)
        return made | {'image': (made['image'] * 127).round() / 127}

    monkeypatch.setattr(DeviceLoader, 'batch', coarser)
    assert tool.main([*SMALL, '--networks', 'acm', '--repetitions', '1']) == 1
    out = capsys.readouterr().out
    assert 'NOT the same' in out
    ways = [line.removeprefix('acm').strip() for line in out.splitlines() if line.startswith('acm  ')]
    assert [way.partition('  ')[0] for way in ways[:2]] == ['as published', 'here (--fast)']


def test_bad_input(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    generate_dataset(tmp_path, num_train=4, num_test=1, size=32)
    for args, message in (
        (['--graphs'], '--graphs needs a GPU'),
        (['--networks', 'rpcanett'], 'Unknown model'),
        (['--dataset', 'synthetic', '--data-root', str(tmp_path), '--batch', '8'], 'fewer training images'),
    ):
        assert tool.main([*SMALL, *args]) == 2
        assert message in capsys.readouterr().err
    assert exit_code(tool.main, [*SMALL, '--steps', '-1']) == 2
    assert 'expected a whole number above 0' in capsys.readouterr().err
    if not torch.cuda.is_available():
        assert tool.main([*SMALL, '--device', 'cuda']) == 2
        assert 'no GPU here' in capsys.readouterr().err
