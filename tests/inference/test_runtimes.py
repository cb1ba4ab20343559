"""A network given by its weights runs on the fastest runtime, found out once, and computes what PyTorch does."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

import drpca
from drpca.deploy import fastest as module
from drpca.deploy.backends import Backend
from drpca.deploy.optimise import can_fuse
from drpca.errors import UserError
from drpca.inference import runtimes
from drpca.inference.decomposer import make_decomposer
from drpca.inference.runtimes import RuntimeMapper
from drpca.models.detector import DetectionModel

pytest.importorskip('onnx')
pytest.importorskip('onnxruntime')

ORIGINAL = module.milliseconds
IMAGE = np.random.default_rng(0).random((40, 48)).astype(np.float32)


def network(seed: int = 0) -> DetectionModel:
    torch.manual_seed(seed)
    return DetectionModel({'type': 'RPCANetPlus', 'num_stages': 1, 'channels': 16}).eval()


def opened(seed: int = 0, **options) -> drpca.Detector:
    return drpca.Detector(network(seed), size=32, **{'backend': 'auto', **options})


def scores(detector: drpca.Detector) -> np.ndarray:
    return detector(IMAGE)[0].scores


@pytest.fixture(autouse=True)
def onnx_is_fastest(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """Of any forms; gives a list of what was timed."""
    timed: list[tuple[str, ...]] = []

    def milliseconds(functions, rounds):
        timed.append(tuple(functions))
        return {name: 1.0 if name == 'onnxruntime' else 2.0 for name in functions}

    monkeypatch.setattr(module, 'milliseconds', milliseconds)
    return timed


@pytest.fixture(scope='module')
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A cache that holds the network of seed 0, exported once for all tests; their check frames are smaller."""
    home = tmp_path_factory.mktemp('whole')
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('DRPCA_HOME', str(home))
        patch.setattr(runtimes, '_SIDE', 48)
        runtimes.check_frames.cache_clear()
        opened(backend='onnx')
    yield home
    runtimes.check_frames.cache_clear()


@pytest.fixture
def home(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it, its choices removed: forms are to be timed, and what is exported lies there."""
    monkeypatch.setitem(module.CANDIDATES, 'fp32', ('optimised', 'plain', 'onnxruntime'))
    home = tmp_path / 'home'
    shutil.copytree(whole, home)
    for path in home.rglob('*.json'):
        path.unlink()
    monkeypatch.setenv('DRPCA_HOME', str(home))
    return home


def exported(home: Path) -> Path:
    (path,) = home.rglob('float32.onnx')
    return path


def test_the_fastest_form_is_found_out_once_and_computes_the_same(home: Path, onnx_is_fastest: list) -> None:
    before = exported(home).stat().st_mtime_ns
    detector, again = opened(), opened()
    assert len(onnx_is_fastest) == 1, 'the second time it is known'
    assert {'optimised', 'plain', 'onnxruntime'} <= {*onnx_is_fastest[0]}
    assert isinstance(detector.mapper, RuntimeMapper)
    assert str(detector.runtime).startswith('runs on ONNX Runtime (ONNX Runtime 1 ms, PyTorch 2 ms')
    assert detector.runtime == again.runtime
    assert detector.described()['runtime'] == 'onnxruntime'
    assert 'runtime' not in opened(backend=None).described()
    for one in (detector, again):
        assert np.abs(scores(one) - scores(opened(backend=None))).max() < 1e-5
    assert exported(home).stat().st_mtime_ns == before, 'what is whole is not made again'
    assert len(make_decomposer(detector.mapper).decompose(IMAGE).stages) == 1
    large = [drpca.Detector(network(), tile=32, backend=backend) for backend in ('auto', None)]
    assert np.array_equal(*map(scores, large)), 'steps that are gathered over tiles stay in PyTorch'


def test_another_setting_is_another_choice(home: Path, onnx_is_fastest: list, monkeypatch: pytest.MonkeyPatch) -> None:
    opened()
    opened(batch_size=2)
    monkeypatch.setattr(module, 'processor_name', lambda: 'another')
    opened()
    assert len(onnx_is_fastest) == 3
    assert len([*home.rglob('*.json')]) == 3
    assert len([*home.rglob('float32.onnx')]) == 1


@pytest.mark.parametrize('what', ['choice', 'other choice', 'network', 'other network'])
def test_a_broken_entry_is_made_again(what: str, home: Path, onnx_is_fastest: list) -> None:
    opened()
    (choice,) = home.rglob('*.json')
    if what == 'choice':
        choice.write_text('{"variant": ')
    elif what == 'other choice':
        choice.write_text('{"variant": "none"}')
    elif what == 'network':
        exported(home).write_bytes(b'no network')
    else:
        own = exported(home)
        opened(seed=1)
        (other,) = (path for path in home.rglob('float32.onnx') if path != own)
        shutil.copy(other, own)
    onnx_is_fastest.clear()
    detector = opened()
    assert len(onnx_is_fastest) == 1
    assert json.loads(choice.read_text())['variant'] == 'onnxruntime'
    assert np.abs(scores(detector) - scores(opened(backend=None))).max() < 1e-5


def test_a_cache_that_cannot_be_written_leaves_pytorch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / 'file').touch()
    monkeypatch.setenv('DRPCA_HOME', str(tmp_path / 'file'))
    with pytest.warns(UserWarning, match='so it runs in PyTorch: Cannot write .*DRPCA_HOME') as told:
        detector = opened()
    assert len(told) == 1
    assert str(detector.runtime) == 'runs on PyTorch'
    assert np.array_equal(scores(detector), scores(opened(backend=None)))
    with pytest.raises(UserError, match='Cannot write'):
        opened(backend='onnx')


def test_two_at_once_find_out_once(home: Path, onnx_is_fastest: list) -> None:
    """Locks of two threads exclude each other as those of two processes do."""
    networks = [network(), network()]
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(lambda own: drpca.Detector(own, size=32, backend='auto'), networks)
    assert len(onnx_is_fastest) == 1
    assert np.array_equal(scores(first), scores(second))


def test_a_form_that_computes_something_else_is_refused(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    right = Backend.logits
    monkeypatch.setattr(Backend, 'logits', lambda self, images: right(self, images) + 0.5)
    detector = opened()
    assert detector.runtime.variant == 'optimised'
    assert detector.described() == opened(backend=None).described(), 'the same maps as without a choice'
    assert 'not ONNX Runtime: its logits differ from PyTorch by up to 0.5' in str(detector.runtime)
    with pytest.raises(UserError, match='ONNX Runtime: its logits differ'):
        opened(backend='onnx')


def test_a_runtime_by_name_is_not_timed(home: Path, onnx_is_fastest: list) -> None:
    assert opened(backend='onnx').runtime == module.Choice('onnxruntime')
    assert opened(backend='torch').runtime is None
    assert not onnx_is_fastest


@pytest.mark.skipif(not can_fuse(torch.bfloat16), reason='this processor has no bfloat16 convolution')
def test_bf16_is_for_those_who_ask_for_it(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fast = {'optimised-bf16': 1.0}
    monkeypatch.setattr(module, 'milliseconds', lambda names, *_: {name: fast.get(name, 2.0) for name in names})
    assert opened().precision == 'fp32'
    detector = opened(precision='bf16')
    assert (detector.precision, detector.runtime.variant) == ('bf16', 'optimised-bf16')
    monkeypatch.setattr(module, 'MAX_IOU_LOSS', -1.0)
    monkeypatch.setattr(module, 'processor_name', lambda: 'another')
    strict = opened(precision='bf16')
    assert strict.precision == 'fp32'
    assert 'not PyTorch bf16: it loses' in str(strict.runtime)


def test_forms_take_turns_and_a_slow_one_drops_out() -> None:
    calls: list[str] = []

    def function(name: str, seconds: float):
        def call():
            calls.append(name)
            clock[0] += seconds

        return call

    clock = [0.0]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module.time, 'perf_counter', lambda: clock[0])
        found = ORIGINAL({'a': function('a', 0.001), 'b': function('b', 0.003)}, 3)
    assert calls == ['a', 'b', 'a', 'b', 'a', 'a']
    assert found == pytest.approx({'a': 1.0, 'b': 3.0})


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'compile': True}, 'chooses the form of the network: leave out compile'),
        ({'device': 'cuda'}, 'leave out --device cuda'),
        ({'backend': 'tensorrt'}, 'Unknown backend of a network'),
        ({'precision': 'fp16'}, 'Expected precision fp32 or bf16'),
    ],
)
def test_options_that_do_not_go_together(options: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        opened(**options)


def test_a_gpu_is_not_passed_over_in_silence(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    with pytest.raises(UserError, match='there is a GPU here: leave it out, or give --device cpu'):
        opened(backend='onnx')
    assert opened(backend='onnx', device='cpu').runtime.variant == 'onnxruntime'
