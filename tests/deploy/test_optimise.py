"""The faster forms of the networks are the networks."""

from __future__ import annotations

import copy
import platform
import resource
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from drpca.checkpoint import load_weights
from drpca.config import find_config, load_config
from drpca.deploy import cuda_graph, optimise
from drpca.deploy.cuda_graph import GraphedFunction, Recording
from drpca.deploy.optimise import (
    AccurateGroupNorm,
    FusedConv2d,
    SingleChannelConv2d,
    can_fuse,
    fold_batch_norm,
    optimise_model,
)  # fmt: skip
from drpca.inference.export import split_images
from drpca.models.agpcnet import ContextBlock, NonLocal
from drpca.models.detector import DetectionModel
from drpca.models.layers import SqueezeExcitation
from drpca.registry import MODELS, network_names
from tests.support import decomposing_networks, shared_path, small

CPU = torch.device('cpu')
DECOMPOSING = decomposing_networks()


def model_with_statistics(name: str, **options: object) -> DetectionModel:
    """A network whose BatchNorm statistics are not the initial ones."""
    torch.manual_seed(0)
    network = MODELS.build({**small(name), **options})
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.2, 0.2)
            nn.init.uniform_(module.running_var, 0.5, 2)
            if module.affine:
                nn.init.uniform_(module.weight, 0.5, 1.5)
    return DetectionModel(network).eval()


def image(batch: int = 2, side: int = 48) -> torch.Tensor:
    return torch.rand(batch, 1, side, side + 16, generator=torch.Generator().manual_seed(1))


def difference(model: DetectionModel, **options: object) -> tuple[float, float]:
    """Largest difference of the logits and their largest magnitude."""
    with torch.inference_mode():
        expected = model.outputs(image())['target']
        got = optimise_model(model, CPU, **options).detect(image())
    return float((got - expected).abs().max()), float(expected.abs().max())


@pytest.mark.parametrize('name', [name for name in network_names() if name != 'DTUM'])
def test_logits_are_those_of_the_published_forward(name: str) -> None:
    error, size = difference(model_with_statistics(name))
    assert error < 1e-4 * max(1, size / 10)
    assert size > 0


def test_dtum_where_no_maximum_is_tied() -> None:
    """The places of its maxima go into its logits, and where two pixels are as good as equal rounding chooses."""
    model = model_with_statistics('DTUM')
    with torch.inference_mode():
        errors = (optimise_model(model, CPU).detect(image()) - model.outputs(image())['target']).abs()
        exact = model.network.double()(image().double().expand(-1, 5, -1, -1))
        fold_batch_norm(model.network)
        folded = model.network(image().double().expand(-1, 5, -1, -1))
    assert float(errors.quantile(0.95)) < 1e-6
    assert float((folded[0] - exact[0]).abs().max()) < 1e-12


def test_agpcnet_as_far_as_float32_goes() -> None:
    """Its attention is not scaled: scores reach 1e4, of which float32 keeps 1e-3, and so much of each weight is noise.

    Of six networks like this one, the plain forward differed from float64 by up to 2.5e-4 of the largest logit, the
    fast form by up to 3.8e-4, the two by up to 2.7e-4 (this one each time): no order of sums does better, and 5e-4 of
    the largest logit is what can be asked, where 1e-5 holds for the other networks.
    """
    torch.manual_seed(3)
    network = MODELS.build({'type': 'AGPCNet'}).eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.2, 0.2)
            nn.init.uniform_(module.running_var, 0.5, 2)
        elif isinstance(module, NonLocal | ContextBlock):
            nn.init.constant_(module.gamma, 2)
        if isinstance(module, NonLocal):
            module.query_conv.weight.data *= 3
            module.key_conv.weight.data *= 3
    model, frame = (DetectionModel(network), torch.rand(1, 1, 128, 128, generator=torch.Generator().manual_seed(1)))
    with torch.inference_mode():
        plain, fast = model.detect(frame), optimise_model(model, CPU).detect(frame)
        (exact,) = network.double()(frame.double().expand(-1, 3, -1, -1))
    tolerance = 5e-4 * float(exact.abs().max())
    for logits, reference in ((fast, plain), (fast, exact), (plain, exact)):
        assert float((logits - reference).abs().max()) < tolerance
    assert float((plain - exact).abs().max()) > tolerance / 50, 'float32 is what limits it'


@pytest.mark.parametrize(('mean', 'deviation'), [(0, 1), (30, 0.01), (-1000, 0.1)])
def test_group_norm_at_any_contrast(mean: float, deviation: float) -> None:
    x = mean + deviation * torch.randn(2, 32, 48, 64, generator=torch.Generator().manual_seed(0))
    norm = nn.GroupNorm(16, 32).requires_grad_(False)
    nn.init.uniform_(norm.weight, 0.5, 1.5)
    nn.init.uniform_(norm.bias)
    expected = copy.deepcopy(norm).double()(x.double())
    norm.__class__ = AccurateGroupNorm
    got = norm(x.contiguous(memory_format=torch.channels_last))
    assert float((got - expected).abs().max()) < 2e-5, 'PyTorch itself: 1e-3 at -1000'


@pytest.mark.parametrize('name', DECOMPOSING)
def test_half_precision_stays_close(name: str) -> None:
    error, size = difference(model_with_statistics(name), precision='bf16')
    assert 0 < error < 0.06 * max(1, size)


def test_signed_subtraction_of_lrrnet_stays_signed() -> None:
    error, size = difference(model_with_statistics('LRRNet', signed_subtraction=True))
    assert error < 1e-4 * max(1, size / 10)


def test_the_model_itself_is_left_alone() -> None:
    model = model_with_statistics('RPCANet')
    before = {name: value.clone() for name, value in model.state_dict().items()}
    optimise_model(model, CPU)
    assert model.state_dict().keys() == before.keys()
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert any(isinstance(module, nn.BatchNorm2d) for module in model.modules())


@pytest.mark.parametrize('name', network_names())
def test_no_batch_norm_is_left_behind_a_convolution(name: str) -> None:
    model = model_with_statistics(name)
    fold_batch_norm(model.network)
    convolved: list[torch.Tensor] = []
    left: list[str] = []
    for path, module in model.network.named_modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(lambda module, values, output: convolved.append(output))
        elif isinstance(module, nn.BatchNorm2d):
            module.register_forward_pre_hook(
                lambda module, values, path=path: left.extend([path] * any(values[0] is of for of in convolved))
            )
    with torch.inference_mode():
        model.detect(image(1))
    assert convolved
    assert not left


@pytest.mark.skipif(not can_fuse(torch.float32), reason='this PyTorch has no oneDNN convolution with activation')
@pytest.mark.parametrize('activation', [None, nn.ReLU(), nn.LeakyReLU(0.2)])
@pytest.mark.parametrize('channels', [(1, 8), (3, 5), (32, 16)])
def test_fused_convolution(activation: nn.Module | None, channels: tuple[int, int]) -> None:
    torch.manual_seed(0)
    conv = nn.Conv2d(*channels, 3, stride=2, padding=2, dilation=2)
    x = torch.randn(2, channels[0], 19, 23)
    with torch.inference_mode():
        expected = conv(x) if activation is None else activation(conv(x))
        got = FusedConv2d(conv, activation, torch.float32)(x)
        assert torch.allclose(got, expected, atol=1e-5)
        assert got.is_contiguous(memory_format=torch.channels_last)


def test_decomposition_of_the_optimised_network() -> None:
    model = model_with_statistics('RPCANetPlus')
    with torch.inference_mode():
        expected = model.network.decompose(image())
        got = optimise_model(model, CPU).network.decompose(image())
    for stage, fast in zip(expected, got):
        for value, quick in zip(stage, fast):
            assert torch.allclose(value, quick, atol=1e-4)


@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16])
@pytest.mark.parametrize('batch', [1, 3])
@pytest.mark.parametrize('gated', [False, True])
def test_convolution_to_one_channel(dtype: torch.dtype, batch: int, gated: bool) -> None:
    torch.manual_seed(0)
    conv = nn.Conv2d(32, 1, 3, padding=1, bias=gated)
    gate = SqueezeExcitation(32) if gated else None
    x = torch.randn(batch, 32, 7, 12).contiguous(memory_format=torch.channels_last)
    with torch.inference_mode():
        expected = conv(x if gate is None else gate(x))
        with torch.autocast('cpu', dtype, enabled=dtype is not torch.float32):
            got = SingleChannelConv2d(conv, dtype, gate)(x)
    assert got.dtype is torch.float32
    assert torch.allclose(got, expected, atol=1e-5 if dtype is torch.float32 else 0.03)


@pytest.mark.skipif(not can_fuse(torch.bfloat16), reason='this processor has no bfloat16 convolution')
def test_half_precision_keeps_that_of_a_single_channel() -> None:
    torch.manual_seed(0)
    conv, x = nn.Conv2d(1, 32, 3, padding=1), 100 + torch.rand(2, 1, 8, 8)
    with torch.inference_mode():
        expected = conv(x)[..., 1:-1, 1:-1]
        got = FusedConv2d(conv, None, torch.bfloat16)(x)[..., 1:-1, 1:-1]
    assert got.dtype is torch.bfloat16
    assert torch.allclose(got.float(), expected, rtol=2**-8, atol=1e-2), 'rounded once, at the end'


def test_last_stage_ends_with_the_target() -> None:
    network = model_with_statistics('RPCANetPlus').network
    calls: list[str] = []
    for index, stage in enumerate(network.decos):
        for name in ('residual', 'merge'):
            stage.get_submodule(name).register_forward_hook(lambda *_, key=f'{name} {index}': calls.append(key))
    with torch.inference_mode():
        logits = network.detect(image())
        assert calls == ['residual 0', 'merge 0']
        assert torch.equal(logits, network(image())[1])


# CUDA graphs


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> list[torch.Size]:
    """The shapes that were recorded; replays compute on the CPU."""
    shapes: list[torch.Size] = []

    def record(function, image: torch.Tensor) -> Recording:
        shapes.append(image.shape)
        static, output = image.clone(), torch.empty_like(image)
        return Recording(static, output, lambda: output.copy_(function(static)))

    monkeypatch.setattr(cuda_graph, 'record', record)
    return shapes


def test_threads_take_turns_with_a_recording(recorded: list[torch.Size]) -> None:
    def slowly(image: torch.Tensor) -> torch.Tensor:
        time.sleep(0.001)
        return 2 * image

    double = GraphedFunction(slowly)
    images = [torch.rand(1, 1, 4, 4) for _ in range(40)]
    with ThreadPoolExecutor(4) as pool:
        for image, got in zip(images, pool.map(double, images)):
            assert torch.equal(got, 2 * image)
    assert len(recorded) == 1


def test_a_copy_records_anew(recorded: list[torch.Size]) -> None:
    model = model_with_statistics('RPCANet')
    plain = model.detect
    model.detect = GraphedFunction(plain)
    for _ in range(2):
        assert torch.equal(model.detect(image()), plain(image()))
        model = copy.deepcopy(model)
        assert model.detect.function.__self__ is model
    assert len(recorded) == 2


def test_recordings_are_kept_per_shape(recorded: list[torch.Size]) -> None:
    double = GraphedFunction(lambda image: 2 * image, max_shapes=2)
    first, second = torch.rand(1, 1, 4, 4), torch.rand(1, 1, 4, 4)
    results = double(first), double(second)
    assert torch.equal(results[0], 2 * first), 'the second call must not overwrite it'
    assert torch.equal(results[1], 2 * second)
    assert len(recorded) == 1
    for side in (5, 4, 6, 4, 5):  # 4 stays: 5 is the one that was not used for longest when 6 comes
        double(torch.rand(1, 1, side, side))
    assert [shape[-1] for shape in recorded] == [4, 5, 6, 5]


@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU')
@pytest.mark.parametrize('name', DECOMPOSING)
def test_cuda_graph(name: str) -> None:
    model = model_with_statistics(name)
    device = torch.device('cuda')
    graphed = optimise_model(model, device, cuda_graph=True)
    with torch.inference_mode():
        plain = optimise_model(model, device)
        for batch in (1, 2, 1):
            images = torch.rand(batch, 1, 48, 64, device=device)
            assert torch.allclose(graphed.detect(images), plain.detect(images), atol=1e-4)


# Threads


@pytest.mark.parametrize(
    ('files', 'expected'),
    [
        ({'cpu.max': '150000 100000'}, 1.5),
        ({'cpu.max': 'max 100000'}, None),
        ({'cpu/cpu.cfs_quota_us': '200000', 'cpu/cpu.cfs_period_us': '100000'}, 2),
        ({'cpu/cpu.cfs_quota_us': '-1', 'cpu/cpu.cfs_period_us': '100000'}, None),
        ({}, None),
    ],
)
def test_quota_of_a_container(tmp_path: Path, files: dict[str, str], expected: float | None) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text + '\n')
    assert optimise.quota(tmp_path) == expected


@pytest.mark.parametrize(('chosen', 'expected'), [(None, 2), (5, 5)])
def test_threads_are_limited_unless_chosen(monkeypatch: pytest.MonkeyPatch, chosen: int | None, expected: int) -> None:
    now = chosen or 8
    kept: list[int] = []
    monkeypatch.delenv('OMP_NUM_THREADS', raising=False)
    monkeypatch.setattr(optimise, '_DEFAULT', 8)
    monkeypatch.setattr(optimise, 'quota', lambda: 2.0)
    monkeypatch.setattr(torch, 'get_num_threads', lambda: now)
    monkeypatch.setattr(torch, 'set_num_threads', kept.append)
    optimise.limit_threads.__wrapped__()
    assert (kept or [now]) == [expected]


@pytest.mark.skipif(platform.libc_ver()[0] != 'glibc', reason='of the GNU C library')
def test_freed_memory_serves_the_next_tensor() -> None:
    optimise.keep_memory()
    faults = []
    for _ in range(10):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        torch.ones(10 * 2**20)
        faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
    assert min(faults[5:]) < 1000, 'its 40 MB are 10240 pages'


# Real images


@pytest.mark.slow
def test_bfloat16_costs_less_than_a_tenth_of_a_point() -> None:
    config = load_config(find_config('rpcanet_sirstv1'))
    model = DetectionModel(
        load_weights(MODELS.build(config.model.network), shared_path('checkpoints', 'RPCANet_SIRST.pkl'))
    )
    images, masks = split_images(config, 'test', None, 256, str(shared_path('datasets')))
    labels = np.stack(masks)
    figures = {}
    for precision in ('fp32', 'bf16'):
        fast = optimise_model(model, CPU, precision)
        with torch.inference_mode():
            found = [fast.detect(torch.from_numpy(image)[None, None])[0, 0].numpy() > 0 for image in images]
        figures[precision] = (np.stack(found) & labels).sum() / (np.stack(found) | labels).sum()
    assert len(images) == 86
    assert figures['fp32'] == pytest.approx(0.70417, abs=1e-4)
    assert abs(figures['bf16'] - figures['fp32']) < 0.001
