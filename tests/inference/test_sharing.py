"""A detector may be shared by threads, copied, and sent to another process."""

from __future__ import annotations

import copy
import multiprocessing
import pickle
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.pool import Pool
from pathlib import Path

import numpy as np
import pytest
import torch

import drpca
from drpca.baselines import WindowBaseline
from drpca.deploy.backends import is_installed
from drpca.deploy.export_model import input_rules, write_model
from drpca.deploy.optimise import can_fuse
from drpca.errors import UserError
from drpca.inference.decomposer import make_decomposer
from drpca.inference.mappers import FrameMapper, ScoredBatch
from drpca.models.detector import DetectionModel
from drpca.registry import BASELINES, MODELS, network_names
from tests.support import small

FRAMES = 25
THREADS = 4
KINDS = ('plain', 'optimised', 'bf16', 'onnx', 'openvino', 'openvino-xml', 'torch')


def model(name: str = 'RPCANetPlus') -> DetectionModel:
    torch.manual_seed(0)
    return DetectionModel(MODELS.build(small(name))).eval()


@pytest.fixture(scope='module', params=KINDS)
def detector(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> drpca.Detector:
    """The same network on every backend."""
    kind = request.param
    if kind == 'bf16' and not can_fuse(torch.bfloat16):
        pytest.skip('this processor has no bfloat16 convolution')
    if kind in ('plain', 'optimised', 'bf16'):
        precision = 'bf16' if kind == 'bf16' else 'fp32'
        return drpca.Detector(model(), precision=precision, optimise=kind != 'plain')
    backend, _, form = kind.partition('-')
    if not is_installed(backend):
        pytest.skip(f'needs {backend}')
    format, suffix = {'torch': ('torch', 'pt2')}.get(backend, ('openvino', form) if form else ('onnx', 'onnx'))
    path = tmp_path_factory.mktemp(kind) / f'model.{suffix}'
    write_model(model(), path, format, input_rules(model()))
    return drpca.Detector(path, backend=backend, trust=True)


def frames(seed: int, count: int = FRAMES) -> np.ndarray:
    """(count, 40, 48), a target somewhere on waves of a phase of their own."""
    generator = np.random.default_rng(seed)
    rows, columns = np.mgrid[:40, :48] / 64
    images = 0.02 * generator.random((count, 40, 48))
    for image in images:
        phase = generator.uniform(0, 6, 2)
        image += 0.3 + 0.2 * np.sin(3 * rows + phase[0]) * np.cos(2 * columns + phase[1])
        row, column = generator.integers(6, 30, 2)
        image[row : row + 3, column : column + 3] += 0.3
    return images.astype(np.float32)


def maps(detector: drpca.Detector, images: np.ndarray) -> np.ndarray:
    return np.stack([detector(image)[0].scores for image in images])


def assert_safe(detector: drpca.Detector, count: int = FRAMES) -> None:
    """Threads get the maps of their own frames, and keep them."""
    images = [frames(seed, count) for seed in range(THREADS)]
    expected = [maps(detector, own) for own in images]
    assert np.abs(expected[0] - expected[1]).max(axis=(1, 2)).min() > 1e-3, 'frames that look alike tell nothing'
    with ThreadPoolExecutor(THREADS) as pool:
        for got, own in zip(pool.map(lambda own: maps(detector, own), images), expected):
            assert np.abs(got - own).max() < 1e-5


def test_threads_share_a_detector(detector: drpca.Detector) -> None:
    assert_safe(detector)


def test_threads_share_a_detector_that_gathers_over_tiles() -> None:
    detector = drpca.Detector(model(), tile=32)
    assert_safe(detector, count=1)
    assert np.abs(maps(detector, frames(0, 1)) - maps(drpca.Detector(model()), frames(0, 1))).max() < 1e-5


@pytest.mark.parametrize(
    'name',
    sorted(
        name
        for name, method in BASELINES.module_dict.items()
        if name != 'NIPPS' and not issubclass(method, WindowBaseline)  # NIPPS finds nothing in such frames
    ),
)
def test_threads_share_a_classical_method(name: str) -> None:
    assert_safe(drpca.Detector(name.lower(), size=64), count=2)


def test_a_backend_leaves_earlier_logits_alone(detector: drpca.Detector) -> None:
    if not hasattr(detector.mapper, 'backend'):
        pytest.skip('for exported files')
    first, second = frames(0, 1)[None], frames(1, 1)[None]
    logits = detector.mapper.backend.logits(first)
    before = logits.copy()
    detector.mapper.backend.logits(second)
    assert np.array_equal(logits, before)


def test_threads_look_inside_the_same_network() -> None:
    inside = make_decomposer(drpca.Detector(model('DRPCANet')).mapper)
    images = frames(0, 16)
    expected = [[stage.scalars for stage in inside.decompose(image).stages] for image in images]
    assert len({str(scalars) for scalars in expected}) == len(images)
    with ThreadPoolExecutor(THREADS) as pool:
        got = [[stage.scalars for stage in parts.stages] for parts in pool.map(inside.decompose, images)]
    for own, other in zip(expected, got):
        assert [stage == pytest.approx(twin, abs=1e-5) for stage, twin in zip(own, other)] == [True] * len(own)


@pytest.mark.parametrize('copied', [copy.deepcopy, lambda detector: pickle.loads(pickle.dumps(detector))])
def test_copies_give_the_same_maps(detector: drpca.Detector, copied) -> None:
    twin = copied(detector)
    assert twin.mapper is not detector.mapper
    assert np.abs(maps(twin, frames(0, 2)) - maps(detector, frames(0, 2))).max() < 1e-6
    assert twin.described() == detector.described()


@pytest.mark.parametrize('name', network_names())
def test_every_network_can_be_copied(name: str) -> None:
    own = drpca.Detector(model(name))
    twin = pickle.loads(pickle.dumps(own))
    assert np.abs(maps(twin, frames(0, 1)) - maps(own, frames(0, 1))).max() < 1e-6


@pytest.fixture(scope='module')
def process() -> Iterator[Pool]:
    with multiprocessing.get_context('spawn').Pool(1) as pool:
        yield pool


def test_a_spawned_process_takes_a_detector(detector: drpca.Detector, process: Pool) -> None:
    got = process.apply(maps, (detector, frames(0, 2)))
    assert np.abs(got - maps(detector, frames(0, 2))).max() < 1e-5


def test_a_copy_whose_file_is_gone_says_so(tmp_path: Path) -> None:
    pytest.importorskip('onnxruntime')
    path = tmp_path / 'model.onnx'
    write_model(model(), path, 'onnx', input_rules(model()))
    sent = pickle.dumps(drpca.Detector(path, backend='onnx'))
    path.unlink()
    with pytest.raises(UserError, match=r'Cannot load .*model\.onnx'):
        pickle.loads(sent)


class Broken(FrameMapper):
    """NaN where the frame is bright."""

    def score_batch(self, images: list[np.ndarray]) -> list[np.ndarray]:
        return [np.where(image > 0.9, np.nan, image).astype(np.float32) for image in images]


@pytest.mark.parametrize('tile', [None, 16])
def test_nan_in_a_map_is_an_error_that_names_the_frame(tile: int | None) -> None:
    dark, bright = np.zeros((24, 32), np.float32), np.zeros((24, 32), np.float32)
    bright[3, 4] = 1
    detector = drpca.Detector.from_mapper(Broken(None, tile=tile, batch_size=2))
    assert not detector(dark)[0].targets
    with pytest.raises(UserError, match=r'bad: expected scores from 0 to 1, got 1 NaN of 768'):
        detector([('good', dark), ('bad', bright)])


@pytest.fixture
def threads() -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield 2
    torch.set_num_threads(before)


def test_frames_that_are_computed_at_the_same_time(threads: int) -> None:
    """In order, each with a share of the threads, which are as before afterwards, also where one is at fault."""
    detector = drpca.Detector(model(), size='native')
    images = [np.full((16, 24), 0.5, np.float32), *frames(0, 3), np.zeros((520, 16), np.float32), *frames(1, 2)]
    expected = [detection.logits for detection in detector(images)]
    shares: set[tuple[str, int]] = set()
    compute = detector.mapper.map_batch

    def watched(batch: list[np.ndarray]) -> ScoredBatch:
        shares.add((threading.current_thread().name, torch.get_num_threads()))
        if batch[0].shape == (16, 24):
            time.sleep(0.05)
        return compute(batch)

    detector.mapper.map_batch = watched  # type: ignore[method-assign]
    detector.mapper.at_once = True
    got = [detection.logits for detection in detector(images)]
    assert [each.shape for each in got] == [each.shape for each in expected]
    assert max(np.abs(each - other).max() for each, other in zip(got, expected)) < 1e-4
    main = threading.current_thread().name
    assert {share for name, share in shares if name != main} == {threads // detector.mapper.workers}
    assert {share for name, share in shares if name == main} == {threads}
    assert torch.get_num_threads() == threads
    several = detector.stream([*frames(0, 2), 'missing.png'])
    assert len([next(several), next(several)]) == 2
    with pytest.raises(UserError, match=r'missing\.png'):
        next(several)
    assert torch.get_num_threads() == threads


def test_nan_of_a_network_and_of_a_classical_method(monkeypatch: pytest.MonkeyPatch) -> None:
    damaged = model()
    detector = drpca.Detector(model())
    with torch.no_grad():
        next(damaged.parameters())[0] = torch.nan
        for parameter in detector.mapper.model.parameters():
            parameter.fill_(torch.nan)
    with pytest.raises(UserError, match=r'decos\.0\.lowrank.* holds NaN or infinity'):
        drpca.Detector(damaged)
    tophat = drpca.Detector('tophat', size='native')
    monkeypatch.setattr(tophat.mapper.baseline, 'detect', lambda frame: np.full_like(frame, np.nan))
    for broken in (detector, tophat):
        with pytest.raises(UserError, match=r'frame_000000: .*NaN'):
            broken(frames(0, 1))
