"""The faster forms of the networks are the networks."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from drpca.inference.optimise import FusedConv2d, can_fuse, fold_batch_norm, optimise_model
from drpca.models.detector import DetectionModel
from drpca.registry import MODELS

CPU = torch.device('cpu')
UNFOLDING = ['RPCANet', 'RPCANetPlus', 'DRPCANet', 'LRRNet', 'RPCANetPlusPlus']
COMPARATORS = ['ACM', 'ALCNet', 'RDIAN', 'ISTDUNet', 'L2SKNet', 'ResUNet']
SHORT = {name: {'num_stages': 2} for name in UNFOLDING if name != 'LRRNet'}


def model_with_statistics(name: str, **options: object) -> DetectionModel:
    """A network whose BatchNorm statistics are not the initial ones."""
    torch.manual_seed(0)
    network = MODELS.build({'type': name, **options})
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


@pytest.mark.parametrize('name', UNFOLDING + COMPARATORS)
def test_logits_are_those_of_the_published_forward(name: str) -> None:
    error, size = difference(model_with_statistics(name, **SHORT.get(name, {})))
    assert error < 1e-4 * max(1, size / 10)
    assert size > 0


@pytest.mark.parametrize('name', UNFOLDING)
def test_half_precision_stays_close(name: str) -> None:
    error, size = difference(model_with_statistics(name, **SHORT.get(name, {})), precision='bf16')
    assert 0 < error < 0.06 * max(1, size)


def test_the_model_itself_is_left_alone() -> None:
    model = model_with_statistics('RPCANet', num_stages=2)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    optimise_model(model, CPU)
    assert model.state_dict().keys() == before.keys()
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert any(isinstance(module, nn.BatchNorm2d) for module in model.modules())


def test_every_batch_norm_of_the_unfolded_networks_is_folded() -> None:
    for name in ('RPCANet', 'RPCANetPlus', 'DRPCANet'):
        network = model_with_statistics(name, num_stages=2).network
        fold_batch_norm(network)
        assert not any(isinstance(module, nn.BatchNorm2d) for module in network.modules()), name


@pytest.mark.skipif(
    not can_fuse(torch.float32), reason='this PyTorch has no oneDNN convolution with activation'
)
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
    model = model_with_statistics('RPCANetPlus', num_stages=2)
    with torch.inference_mode():
        expected = model.network.decompose(image())
        got = optimise_model(model, CPU).network.decompose(image())
    for stage, fast in zip(expected, got):
        for value, quick in zip(stage, fast):
            assert torch.allclose(value, quick, atol=1e-4)
