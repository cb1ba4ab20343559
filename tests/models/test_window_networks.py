"""Networks over windows of frames: DTUM against its reference, and what the detector makes of windows."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from drpca.checkpoint import load_weights
from drpca.errors import UserError
from drpca.models.detector import DetectionModel
from drpca.registry import MODELS
from tests.support import DATA, shared_path

REFERENCE = json.loads((DATA / 'dtum_expected.json').read_text())


def fill(network: nn.Module) -> None:
    """The rule of the reference."""
    state = {key: value for key, value in network.state_dict().items() if not key.endswith('num_batches_tracked')}
    for k, (name, value) in enumerate(state.items()):
        i = torch.arange(value.numel(), dtype=torch.float64)
        if value.dim() > 1:
            values = 0.15 * torch.sin(0.7 * i**1.5 + k)
        elif 'running' in name:
            values = 0.02 * torch.sin(i + k) if name.endswith('mean') else 1 + 0.1 * torch.sin(i + k).abs()
        else:
            values = 0.1 * torch.cos(i + k) if name.endswith('bias') else 1 + 0.1 * torch.sin(i + k)
        value.copy_(values.view(value.shape))


def wave(*shape: int) -> Tensor:
    return torch.sin(0.37 * torch.arange(np.prod(shape), dtype=torch.float64) ** 1.2).view(shape)


def assert_reference(output: Tensor, name: str) -> None:
    expected = REFERENCE[name]
    assert float(output.sum()) == pytest.approx(expected['sum'], abs=1e-6)
    np.testing.assert_allclose(output.flatten()[expected['positions']], expected['values'], atol=1e-5)


@pytest.mark.parametrize('attached', [False, True])
@torch.no_grad()
def test_dtum_is_the_reference_with_and_without_its_gradient(attached: bool) -> None:
    network: Any = MODELS.build({'type': 'DTUM', 'attached': attached}).double().eval()
    sizes = [sum(value.numel() for value in part.parameters()) for part in (network.DTUM, network)]
    assert sizes == [REFERENCE['DTUM']['parameters'], REFERENCE['ResUNet_DTUM']['parameters']]
    fill(network.DTUM)
    assert_reference(network.DTUM(wave(1, 32, 5, 16, 16)), 'DTUM')
    fill(network)
    (logits,) = network(wave(1, 5, 32, 32))
    assert_reference(logits, 'ResUNet_DTUM')
    features = torch.cat([network.embed(frame) for frame in wave(1, 5, 32, 32).transpose(0, 1)[:, None]])
    torch.testing.assert_close(network.fuse(features[None]), logits)


def test_dtum_as_released_trains_no_lower_level() -> None:
    cut = {}
    for attached in (False, True):
        network: Any = MODELS.build({'type': 'DTUM', 'attached': attached})
        network(torch.rand(2, 5, 16, 16))[0].square().mean().backward()
        cut[attached] = [name for name, value in network.named_parameters() if value.grad is None]
    assert len(cut[False]) == 20
    assert {name.split('.')[1] for name in cut[False]} == {
        f'{kind}{level}' for kind in ('conv', 'bn') for level in ('2_1', '3_1', '4_1', '3_2', '2_2')
    }
    assert not cut[True]


def test_the_published_weights_load_and_show_the_cut() -> None:
    network: Any = MODELS.build({'type': 'DTUM'})
    load_weights(network, shared_path('checkpoints', 'ResUNet_DTUM_NUDT-MIRSDT.pth'))
    figures = REFERENCE['published_weights']
    for name in ('conv2_1', 'conv4_1', 'conv3_2', 'conv1_1', 'conv1_2'):
        assert float(getattr(network.DTUM, name).weight.detach().abs().max()) == pytest.approx(
            figures[f'{name}_max_abs'], rel=1e-5
        )


class Echo(nn.Module):
    """Two of three frames, as they came."""

    outputs = ('reconstruction', 'target')
    frames = in_channels = 3
    reported = (1, 2)

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        shown = self.weight * image[:, 1:]
        return shown, shown


def test_losses_and_records_are_of_the_reported_frames() -> None:
    model = DetectionModel(Echo(), {'fidelity': {'type': 'FidelityLoss'}, 'iou': {'type': 'SoftIoULoss'}})
    window, mask = torch.rand(2, 3, 12, 10), torch.zeros(2, 2, 12, 10)
    mask[1, 0, 3, 4] = 1
    losses = model(window, mask, mode='loss')
    assert losses['loss_fidelity'] == 0, 'of the same frames'
    assert 0 < losses['loss_iou'] < 1
    records = model(window, mask, ['a/1', 'b/5'], mode='predict')
    assert [(record['name'], bool(record['gt_mask'].any())) for record in records] == [
        ('a/1', False), ('a/1', False), ('b/5', True), ('b/5', False),
    ]  # fmt: skip
    torch.testing.assert_close(records[3]['scores'], torch.sigmoid(window[1, 2]))


def test_a_single_image_stands_for_equal_frames_and_other_numbers_are_refused() -> None:
    model = DetectionModel(Echo())
    image = torch.rand(1, 1, 12, 10)
    assert torch.equal(model.detect(image), image.expand(-1, 2, -1, -1))
    with pytest.raises(UserError, match='Echo takes windows of 3 frames, got 2'):
        model.detect(torch.rand(1, 2, 12, 10))
