"""The detector around every network: sizes, normalisation, channels, outputs, modes."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from drpca.deploy.optimise import optimise_model
from drpca.errors import UserError
from drpca.models.detector import DetectionModel, named_outputs, unused_parameter_names
from drpca.registry import network_names
from tests.support import small


def detector(name: str, **options: Any) -> DetectionModel:
    torch.manual_seed(0)
    return DetectionModel(small(name), **options).eval()


class Echo(nn.Module):
    """Returns what it is given, at three resolutions."""

    outputs = ('target', 'aux1', 'aux2')
    size_multiple = 8
    min_size = 32
    in_channels = 1

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        self.seen = image
        grey = image[:, :1]
        return grey, grey[..., ::2, ::2], grey[..., ::8, ::8]


SMALLEST = {
    'ACM': 16, 'AGPCNet': 80, 'ALCNet': 16, 'DNANet': 16, 'DRPCANet': 8, 'ISNet': 16, 'ISTDUNet': 8, 'L2SKNet': 8,
    'DTUM': 8, 'L2SKNet1D': 8, 'TenRPCANet': 32, 'TensorRPCANet': 8, 'L2SKNet1DFPN': 1, 'L2SKNetFPN': 1,
    'LRRNet': 8, 'MSHNet': 16, 'MTUNet': 16, 'RDIAN': 1, 'RPCANet': 8, 'RPCANetPlus': 8, 'RPCANetPlusPlus': 8,
    'ResUNet': 8, 'UIUNet': 1,
}  # fmt: skip
"""Sides of the smallest square that the published networks take."""


@pytest.mark.parametrize('name', network_names())
@torch.no_grad()
def test_any_size_from_the_published_minimum(name: str) -> None:
    model = detector(name)
    network, smallest = model.network, SMALLEST[name]
    image = torch.rand(1, 1, smallest, smallest)
    plain = named_outputs(network, network(image.expand(-1, network.in_channels, -1, -1)))['target']
    assert torch.equal(model.outputs(image)['target'], plain), 'nothing is padded'
    fast = optimise_model(model, torch.device('cpu')).detect(image)
    torch.testing.assert_close(fast, plain, rtol=1e-4, atol=1e-4)
    for height, width in ((smallest, smallest), (49, 33)):
        image = torch.rand(1, 1, height, width)
        outputs = model(image, mode='tensor')
        assert tuple(outputs) == model.network.outputs
        for key, value in outputs.items():
            factor = 2 ** (int(key[3:]) - 1) if name == 'MSHNet' and key.startswith('aux') else 1
            assert value.shape == (1, len(network.reported), -(-height // factor), -(-width // factor)), key
            assert value.isfinite().all(), key
    torch.testing.assert_close(model.detect(image), outputs['target'], rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_side_outputs_are_cropped_in_proportion() -> None:
    model = DetectionModel(Echo())
    image = torch.rand(2, 1, 37, 41)
    outputs = model.outputs(image)
    assert torch.equal(outputs['target'], image)
    assert torch.equal(outputs['aux1'], image[..., ::2, ::2])
    assert torch.equal(outputs['aux2'], image[..., ::8, ::8])
    assert model.network.seen.shape[-2:] == (40, 48)


@torch.no_grad()
def test_images_are_normalised_then_padded_with_zeros() -> None:
    model = DetectionModel(Echo(), mean=0.5, std=0.25, pad_multiple=48)
    image = torch.rand(1, 1, 40, 33)
    model.outputs(image)
    seen = model.network.seen
    assert seen.shape == (1, 1, 48, 48)
    torch.testing.assert_close(seen[..., :40, :33], (image - 0.5) / 0.25)
    assert seen[..., 40:, :].abs().sum() == seen[..., 33:].abs().sum() == 0


@torch.no_grad()
def test_channels_follow_the_network_and_may_have_means_of_their_own() -> None:
    assert detector('MSHNet').in_channels == 3
    assert detector('ACM').in_channels == 1
    network = Echo()
    network.in_channels = 3
    image = torch.rand(1, 1, 32, 32)
    DetectionModel(network).outputs(image)
    assert torch.equal(network.seen, image.expand(-1, 3, -1, -1))
    DetectionModel(network, mean=(0.1, 0.2, 0.3), std=(1, 2, 4)).outputs(image)
    torch.testing.assert_close(network.seen[:, 2:], (image - 0.3) / 4)


@torch.no_grad()
def test_images_can_be_scaled_to_their_own_maximum() -> None:
    model = DetectionModel(Echo(), scale_to_max=True)
    images = torch.stack([torch.full((1, 32, 32), 0.5), torch.zeros(1, 32, 32)])
    outputs = model.outputs(images)
    assert (outputs['target'][0] == 1).all()
    assert (outputs['target'][1] == 0).all()


@torch.no_grad()
def test_reconstructions_come_back_in_image_units() -> None:
    class Reconstructing(Echo):
        outputs = ('reconstruction', 'target')

        def forward(self, image: Tensor) -> tuple[Tensor, ...]:
            return image, image

    image = torch.rand(1, 1, 33, 40)
    outputs = DetectionModel(Reconstructing(), mean=0.4, std=0.2).outputs(image)
    torch.testing.assert_close(outputs['reconstruction'], image)
    torch.testing.assert_close(outputs['target'], (image - 0.4) / 0.2)


@torch.no_grad()
def test_a_network_need_not_say_anything_of_itself() -> None:
    class Plain(nn.Module):
        def forward(self, image: Tensor) -> Any:
            return self.returned(image)

    image = torch.rand(2, 1, 9, 11)
    for returned, names in ((lambda x: x, ['target']), (lambda x: (x, 2 * x), ['reconstruction', 'target'])):
        network = Plain()
        network.returned = returned
        model = DetectionModel(network)
        outputs = model.outputs(image)
        assert list(outputs) == names
        assert torch.equal(model.detect(image), outputs['target'])
    for wrong, message in (
        (lambda x: (x, x, x), 'returned 3 outputs.*`outputs`'),
        (lambda x: {'target': x}, 'returned 1 outputs'),
        (lambda x: None, 'returned 0 outputs'),
        (lambda x: torch.cat([x, x], dim=1), r'shape \(2, 2, 9, 11\) for 2 images'),
    ):
        network.returned = wrong
        with pytest.raises(UserError, match=message):
            DetectionModel(network).outputs(image)


@pytest.mark.parametrize('name', ['ALCNet', 'ISNet', 'ISTDUNet', 'RPCANetPlusPlus'])
def test_unused_parameters_are_frozen_and_no_others(name: str) -> None:
    """So that distributed training does not wait for gradients that never come."""
    network = detector(name).network
    frozen = {key for key, value in network.named_parameters() if not value.requires_grad}
    assert frozen == unused_parameter_names(network) & dict(network.named_parameters()).keys()
    assert frozen


def test_published_initialisations() -> None:
    def network(rule: str) -> nn.Module:
        return DetectionModel({'type': 'RDIAN'}, initialisation=rule).network

    gaussian, xavier = network('gaussian'), network('xavier')
    assert gaussian.conv_cat[0].weight.std().item() == pytest.approx(0.02, rel=0.05)
    assert gaussian.conv_cat[1].bias.std().item() == pytest.approx(1, rel=0.4)
    # Xavier: variance 2 / (inputs + outputs), each times the nine taps.
    expected = (2 / (9 * (128 + 32))) ** 0.5
    assert xavier.conv_cat[0].weight.std().item() == pytest.approx(expected, rel=0.05)
    assert (xavier.conv_cat[1].bias == 0).all()
    assert torch.equal(gaussian.d11.weight, xavier.d11.weight), 'fixed kernels stay'
    with pytest.raises(UserError, match='Known: gaussian, xavier'):
        network('xavierr')


@pytest.mark.parametrize(
    ('name', 'losses'),
    [
        ('MSHNet', {'sls': {'type': 'SLSIoULoss', 'on': ['target', 'aux1', 'aux2', 'aux3', 'aux4']}}),
        ('ISNet', {'soft_iou': {'type': 'SoftIoULoss'}, 'edge': {'type': 'EdgeLoss'}}),
    ],
)
def test_losses_of_side_outputs_on_a_padded_size(name: str, losses: dict[str, Any]) -> None:
    model = detector(name, losses=losses).train()
    gt_mask = torch.zeros(2, 1, 37, 45)
    gt_mask[:, :, 10:13, 20:23] = 1
    values = model(torch.rand(2, 1, 37, 45), gt_mask, mode='loss')
    assert set(values) == {f'loss_{key}' for key in losses}
    total = sum(values.values())
    total.backward()
    assert total.isfinite()
    silent = [k for k, v in model.network.named_parameters() if v.requires_grad and v.grad is None]
    assert silent == []


def test_a_copy_of_a_compiled_detector_runs_itself() -> None:
    model = DetectionModel(small('RPCANet')).eval()
    model.compile_network(backend='eager')
    image = torch.rand(1, 1, 32, 32)
    twin = copy.deepcopy(model)
    for parameter in twin.parameters():
        parameter.data.zero_()
    assert model.detect(image).abs().max() > 0
    assert not torch.equal(twin.detect(image), model.detect(image))
