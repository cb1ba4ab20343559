"""Values of options, configs and networks that are of the wrong kind or out of range: one line, exit code 2."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from drpca.cli.main import main
from drpca.config import find_config, load_config
from drpca.engine.runs import Run, TrainingOptions, build_config
from drpca.errors import UserError
from drpca.inference.mappers import network_mapper
from drpca.models.detector import DetectionModel
from drpca.options import called
from drpca.registry import MODELS
from tests.support import error_line


@pytest.mark.parametrize(
    ('command', 'option', 'value', 'expected'),
    [
        ('train', '--seeds', '-1', 'a whole number from 0 to 4294967295'),
        ('train', '--seeds', '²', 'a whole number from 0 to 4294967295'),
        ('robustness', '--seed', '4294967296', 'a whole number from 0 to 4294967295'),
        ('infer', '--size', '9' * 20, 'a side of at least 8 and at most 65536 pixels'),
        ('infer', '--size', '-5', 'a side of at least 8'),
        ('benchmark', '--device', 'hpu', 'expected cpu, cuda or cuda:N'),
        ('benchmark', '--threads', '-1', 'a whole number above 0'),
        ('benchmark', '--sizes', '0', 'a whole number above 0'),
        ('export', '--size', '9' * 5000, 'a whole number above 0'),
    ],
)
def test_options(command: str, option: str, value: str, expected: str, capsys: pytest.CaptureFixture) -> None:
    assert main([command, f'{option}={value}']) == 2
    written = error_line(capsys)
    assert expected in written
    assert len(written) < 300


@pytest.mark.parametrize(
    ('line', 'expected'),
    [
        ('train --epoch-count 3', "Unknown option '--epoch-count'"),
        ('score --protocl basicirstd', "Unknown option '--protocl'. Did you mean '--protocol'?"),
        ('infer --precision=bf61', "Unknown value of --precision: 'bf61'. Did you mean 'bf16'?"),
        ('data gte SIRSTv1', "Unknown value of action: 'gte'. Did you mean 'get'?"),
        ('make-synthetic here', "make_synthetic.py: not expected: 'here'"),
        ('infer --checkpoint', '--checkpoint: expected one argument'),
    ],
    ids=range(6),
)
def test_refusals_are_one_line_that_names_what_may_have_been_meant(
    line: str, expected: str, capsys: pytest.CaptureFixture
) -> None:
    assert main(line.split()) == 2
    assert expected in error_line(capsys)


@pytest.mark.parametrize(
    ('program', 'expected'),
    [
        ('/bin/drpca', 'drpca train'),
        ('/lib/drpca/__main__.py', 'python -m drpca train'),
        ('run_configs.py', 'python run_configs.py'),
        ('../my runs/inference.py', "python '../my runs/run_configs.py'"),
        ('../tools/export.py', 'python ../run_configs.py'),
        ('pytest', 'python run_configs.py'),
    ],
    ids=range(6),
)
def test_commands_are_proposed_as_this_one_was_called(
    program: str, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr('sys.argv', [program])
    assert called('train') == expected


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('import sys\nsys.exit(3)\n', 'Cannot read config .*: SystemExit: 3'),
        ("model = dict(type='TopHat')\ninference_size = '1e999'\n", 'inference_size: expected None or a side of'),
        ("model = dict(type='TopHat')\ninference_size = 0\n", 'inference_size: expected None or a side of 8'),
        ('model = dict(type=1)\n', r'model: expected dict\(type=…\)'),
        ("model = dict(type='')\n", r'model: expected dict\(type=…\)'),
        ("model = dict(type='TopHat')\ntrain_cfg = 3\n", 'The config cannot be used'),
    ],
)
def test_configs(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / 'own.py'
    file.write_text(text)
    with pytest.raises(UserError, match=message):
        load_config(file)


@pytest.mark.parametrize('options', [{'model.0': -1}, {'test_dataloader': [None]}, {'train_dataloader': 3}])
def test_config_options(options: dict[str, Any]) -> None:
    with pytest.raises(UserError):
        load_config('rpcanet_synthetic', data_root='nope', options=options)


@pytest.mark.parametrize(('name', 'value'), [('pad_multiple', 0), ('pad_multiple', '[['), ('in_channels', 'x')])
def test_input_rules_of_a_network(name: str, value: object) -> None:
    with pytest.raises(UserError, match=rf'model\.{name}: expected a whole number of at least 1'):
        DetectionModel(MODELS.build({'type': 'RPCANetPlus', 'num_stages': 1}), **{name: value})


@pytest.mark.parametrize('device', ['meta', 'hpu', 'quantum', 'cuda:-1'])
def test_devices(device: str) -> None:
    model = DetectionModel(MODELS.build({'type': 'RPCANetPlus', 'num_stages': 1}))
    with pytest.raises(UserError, match=f"Cannot use device '{device}'"):
        network_mapper(model, 64, device)


def test_hooks_that_are_none() -> None:
    options = TrainingOptions(cfg_options={'custom_hooks': 7})
    with pytest.raises(UserError, match='The config cannot be used'):
        build_config(Run(find_config('rpcanet_synthetic'), None, 'own', 0, options))
