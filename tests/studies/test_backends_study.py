"""IoU beside speed: every form on the same images, as inference.py and cal_from_mask.py would score it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

import drpca
from drpca.cli import benchmark as command
from drpca.config import find_config, load_config
from drpca.datasets.synthetic import generate_dataset
from drpca.deploy import processor
from drpca.deploy.processor import Machine, machine
from drpca.errors import UserError
from drpca.registry import MODELS
from drpca.studies.backends import benchmark_backends


@pytest.fixture(scope='module')
def box(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set of few small frames; weights are those that come with the project."""
    folder = tmp_path_factory.mktemp('box')
    generate_dataset(folder, num_train=2, num_test=2, size=32)
    return folder


def test_figures_are_those_of_inference_and_scoring(box: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    options = {'dataset': 'synthetic', 'data_root': box, 'size': 32}
    found = benchmark_backends('rpcanet_synthetic_demo', variants=['optimised', 'tensorrt'], **options)
    plain, optimised, missing = found.forms
    assert (plain.variant, plain.speedup, plain.max_error, plain.fault) == ('eager', 1, 0, '')
    drpca.predict('rpcanet_synthetic_demo', **options)
    (score,) = drpca.score('results/synthetic', data_root=box, protocols='basicirstd')
    figures = score.figures['basicirstd']
    assert (optimised.iou, optimised.niou, optimised.pd, optimised.fa) == pytest.approx(
        [figures[name] for name in ('IoU', 'nIoU', 'Pd', 'Fa')], nan_ok=True
    )
    assert 0 < optimised.max_error < 1e-3
    assert optimised.ms > 0
    assert missing.fault.startswith('Variant tensorrt needs')
    table = found.markdown()
    assert 'TensorRT fp32 does not run here: Variant tensorrt needs' in found.text()
    assert '| TensorRT | fp32 |' in table.replace('  ', ' ')
    assert f'synthetic test, 2 images at 32 pixels; preset basicirstd. {found.machine}' in table
    assert json.loads(found.json())['forms'][2]['iou'] is None


def test_windows_are_scored_and_timed_on_their_sequences(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten frames in blocks of eight: the last block reaches back, and what it shares is scored once."""
    monkeypatch.chdir(tmp_path)
    base = find_config('ten_rpcanet_synthetic_sequence')
    made = 'dict(train=1, val=1, test=1, num_frames=10, size=32)'
    Path('blocks.py').write_text(
        f"_base_ = '{base}'\nmodel = dict(network=dict(channels=8))\n"
        f'test_dataloader = dict(dataset=dict(synthetic={made}))\n'
    )
    torch.manual_seed(0)
    model = MODELS.build(load_config('blocks.py').model)
    torch.nn.init.zeros_(model.network.detail.bias)  # scores on both sides of 0.5
    torch.save(model.network.state_dict(), 'w.pth')
    found = benchmark_backends('blocks.py', 'w.pth', variants=['optimised'])
    assert 'synthetic_sequence test, 2 windows at' in found.of
    drpca.predict('blocks.py', checkpoint='w.pth', dataset='synthetic_sequence')
    (score,) = drpca.score('results/synthetic_sequence', protocols='basicirstd')
    figures = score.figures['basicirstd']
    for form in found.forms:
        assert 0 < form.iou < 1
        assert (form.fault, form.max_error < 1e-3, form.ms > 0) == ('', True, True)
        assert (form.iou, form.niou, form.pd, form.fa) == pytest.approx(
            [figures[name] for name in ('IoU', 'nIoU', 'Pd', 'Fa')]
        )


def test_command(box: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.chdir(tmp_path)
    for package in ('onnx', 'onnxruntime'):
        pytest.importorskip(package)
    variants = ['onnxruntime', 'onnxruntime-int8']
    arguments = ['--backends', 'rpcanet_synthetic_demo', '--dataset', 'synthetic', '--data-root', str(box)]
    arguments += ['--sizes', '32', '--limit', '1', '--variants', *variants, '--json', 'forms.json']
    assert command.main(arguments) == 0
    content = json.loads(Path('forms.json').read_text())
    assert [form['variant'] for form in content['forms']] == ['eager', *variants]
    assert all(form['fault'] == '' for form in content['forms'])
    assert '1 of 2 images at 32 pixels' in capsys.readouterr().out
    assert command.main(['--limit', '1']) == 2
    assert '--limit belong to --backends' in capsys.readouterr().err
    assert command.main(['--backends', 'rpcanet_synthetic_demo', '--device', 'cuda']) == 2
    assert 'leave out --device' in capsys.readouterr().err
    with pytest.raises(UserError, match='has one form only'):
        benchmark_backends('tophat', dataset='synthetic', data_root=box)


def test_a_machine_says_what_it_is_and_what_else_it_does(monkeypatch: pytest.MonkeyPatch) -> None:
    here = machine(0.01)
    assert here.threads == torch.get_num_threads()
    assert here.processor
    assert str(Machine('X', 'AVX2', 4, 2, 0.05)) == 'X (AVX2), 2 threads on 4 cores, otherwise quiet'
    assert str(Machine('X', 'AVX2', 4, 2, 1.5)).endswith('others kept 1.5 cores busy')
    monkeypatch.setenv('ONEDNN_MAX_CPU_ISA', 'AVX2')
    assert processor.instructions().endswith('ONEDNN_MAX_CPU_ISA=AVX2')
    ticks = iter([100.0, 100.0 + processor.os.sysconf('SC_CLK_TCK')])
    monkeypatch.setattr(processor, '_ticks', lambda: next(ticks))
    monkeypatch.setattr(processor.time, 'sleep', lambda seconds: None)
    clock = iter([0.0, 2.0])
    monkeypatch.setattr(processor.time, 'perf_counter', lambda: next(clock))
    assert processor.others_busy(2.0) == 0.5
