"""The benchmark measures what it says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from drpca.cli import benchmark as command
from drpca.deploy.backends import is_installed
from drpca.models.detector import unused_parameter_names
from drpca.registry import MODELS
from drpca.studies.speed import count_gflop, count_parameters, measure, network_names
from drpca.studies.speed_report import leaderboard_parameters, to_markdown, tradeoff_figure
from tests.support import exit_code


def test_parameters_with_and_without_unused_ones() -> None:
    assert count_parameters(MODELS.build({'type': 'RPCANet'})) == (679896, 679896)
    with torch.device('meta'):
        networks = [MODELS.build({'type': name}) for name in ('ACM', 'ISNet', 'ISTDUNet')]
    for network in networks:
        total, used = count_parameters(network)
        unused = unused_parameter_names(network)
        left = sum(value.numel() for name, value in network.named_parameters() if name in unused)
        assert total - used == left


def test_gflop_of_rpcanet() -> None:
    with torch.device('meta'):
        network = MODELS.build({'type': 'RPCANet'})
        assert count_gflop(network, torch.zeros(1, 1, 256, 256)) == pytest.approx(88.3, abs=0.1)


def test_variants_in_one_run() -> None:
    options = {'size': 32, 'batch': 2, 'repetitions': 3, 'warm_up': 1, 'memory': False}
    baseline, fast = measure('RPCANet', ['optimised'], options={'num_stages': 1}, **options)
    assert fast.peak_mb is None
    assert fast.gflop_256 == pytest.approx(64 * fast.gflop)
    assert (baseline.variant, baseline.speedup, baseline.max_error) == ('eager', 1, 0)
    assert fast.latency_5 <= fast.latency_ms <= fast.latency_95
    assert fast.images_per_s == pytest.approx(2000 / fast.latency_ms)
    assert 0 < fast.max_error < 1e-4
    assert baseline.processor_speedup == 1
    assert min(fast.processor_ms, fast.processor_speedup) > 0


def test_exported_variants() -> None:
    names = [
        name
        for name, package in (
            ('onnxruntime', 'onnx'),
            ('onnxruntime-int8', 'onnx'),
            ('openvino', 'openvino'),
            ('openvino-bf16', 'openvino'),
        )
        if is_installed('onnx') and is_installed(package)
    ]
    if not names:
        pytest.skip('needs onnxruntime')
    _, *results = measure('RPCANet', names, size=32, repetitions=1, memory=False, options={'num_stages': 1})
    assert [result.variant for result in results] == names
    errors = {result.variant: result.max_error for result in results}
    assert errors['onnxruntime'] < 1e-4 < errors['onnxruntime-int8'] < 0.1


@pytest.mark.slow
def test_memory_is_that_of_the_variant_alone() -> None:
    (result,) = measure('RPCANet', [], size=512, repetitions=1, warm_up=1, options={'num_stages': 1})
    assert result.peak_mb is not None
    assert 32 < result.peak_mb < 200, 'a map of 32 channels at 512² takes 32 MB, PyTorch itself more than 200'


def test_published_parameters() -> None:
    published = leaderboard_parameters()
    for name in ('RPCANet', 'ISTDUNet', 'UIUNet', 'ISNet', 'ACM'):
        with torch.device('meta'):
            _, used = count_parameters(MODELS.build({'type': name}))
        assert published[name] == pytest.approx(used / 1e6, rel=0.03)
    (result,) = measure('ACM', [], size=32, repetitions=1, memory=False)
    assert '| 0.398 | 0.398 | 0.398 |' in to_markdown([result])
    figure = tradeoff_figure([result], {'ACM': 0.7, 'of': 'SIRSTv1 test, 86 of 86 images, basicirstd'})
    heading = figure.get_suptitle().replace('\n', ' ')
    assert heading.startswith('IoU SIRSTv1 test, 86 of 86 images, basicirstd; latency: cpu, ')
    assert heading.endswith('32² pixels, batch 1')
    assert tradeoff_figure([result], {'ACM': 0.7}, 'iou.json').get_suptitle().startswith('IoU as in iou.json;')


def test_every_network_is_known() -> None:
    names = network_names()
    assert {'RPCANet', 'RPCANetPlusPlus', 'LRRNet', 'UIUNet', 'MSHNet'} <= set(names)
    assert 'DetectionModel' not in names


def test_command(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    files = {name: str(tmp_path / name) for name in ('a.json', 'a.md', 'a.png', 'iou.json')}
    Path(files['iou.json']).write_text('{"LRRNet": 0.7}')
    arguments = ['LRRNet', '--variants', 'optimised', '--sizes', '32', '--repetitions', '2', '--warm-up', '1']
    outputs = ['--no-memory', '--json', files['a.json'], '--markdown', files['a.md']]
    outputs += ['--plot', files['a.png'], '--scores', files['iou.json']]
    assert command.main(arguments + outputs) == 0
    results = json.loads(Path(files['a.json']).read_text())['results']
    assert [result['variant'] for result in results] == ['eager', 'optimised']
    assert results[0]['parameters'] == pytest.approx(3.454994)
    text = Path(files['a.md']).read_text()
    assert text.splitlines()[-1] == capsys.readouterr().out.splitlines()[-1]
    here = json.loads(Path(files['a.json']).read_text())['machine']
    assert text.splitlines()[-1].startswith(f'{here["processor"]} ({here["instructions"]}), {here["threads"]} thread')
    assert Path(files['a.png']).stat().st_size > 5000


def test_numbers_are_checked_by_the_parser(capsys: pytest.CaptureFixture) -> None:
    assert exit_code(command.main, ['--repetitions', '0']) == 2
    assert 'expected a whole number above 0' in capsys.readouterr().err


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['NoNet'], 'Unknown network'),
        (['LRRNet', '--variants', 'cuda-graph'], 'needs an NVIDIA GPU'),
        (['--plot', 'x.png'], 'belong together'),
        (['--plot', 'x.png', '--scores', 'none.json'], 'none.json'),
        (['--plot', 'x.png', '--scores', 'words.json'], "expected an IoU, a ratio, for ACM, got 'good'"),
    ],
)
def test_bad_input(
    arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    Path('words.json').write_text('{"ACM": "good"}')
    assert command.main(arguments) == 2
    assert message in capsys.readouterr().err


def test_nothing_is_kept_for_gradients(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[bool] = []
    counted = 'drpca.studies.speed.count_parameters'
    monkeypatch.setattr(counted, lambda network: seen.append(torch.is_inference_mode_enabled()) or (1, 1))
    measure('RPCANet', [], size=32, repetitions=1, memory=False, options={'num_stages': 1})
    assert seen == [True]
