"""Networks over windows of frames: DTUM against its reference, and what the detector makes of windows."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from drpca.checkpoint import load_weights
from drpca.datasets import SequenceDataset
from drpca.datasets.synthetic import texture
from drpca.errors import UserError
from drpca.models.detector import DetectionModel
from drpca.models.ten_rpcanet import linear_filter
from drpca.models.tensor_rpcanet import AlignFrames, align
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


# TensorRPCANet


def tensor_network(**options: Any) -> Any:
    torch.manual_seed(0)
    return MODELS.build({'type': 'TensorRPCANet', 'num_stages': 2, 'channels': 8, 'frames': 5, **options}).eval()


@torch.no_grad()
def test_the_background_is_of_low_rank_over_unfolded_space_and_time() -> None:
    step = tensor_network(rank=2).decos[0].lowrank.low_rank
    window = torch.rand(1, 5, 16, 12)
    low = F.pixel_shuffle(step(F.pixel_unshuffle(window, 2)), 2)
    assert low.shape == window.shape
    patches = F.unfold(low.transpose(0, 1), 4, stride=4)  # (n, 16, patches)
    offset = step.fold.bias[None, :, None]
    for place in range(patches.shape[-1]):
        values = torch.linalg.svdvals((patches - offset)[..., place])
        assert values[2] < 1e-5 * values[0], 'a product of two patterns and their shares'
    still = step(F.pixel_unshuffle(window[:, :1].expand(-1, 5, -1, -1), 2))
    torch.testing.assert_close(still[:, :4], still[:, 16:], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(('placement', 'reported'), [('causal', 4), ('centred', 2)])
@torch.no_grad()
def test_all_that_comes_out_is_of_the_reported_frame(placement: str, reported: int) -> None:
    network = tensor_network(placement=placement, noise=True)
    assert network.reported == (reported,)
    window = torch.rand(2, 5, 16, 12)
    moved = align(window, reported)
    folded = F.pixel_unshuffle(moved, 2)
    states = list(network.unroll(folded))
    assert states[-1].target.shape == (2, 20, 8, 6)
    reconstruction, target = network(window)
    assert torch.equal(target, F.pixel_shuffle(states[-1].target, 2)[:, reported : reported + 1])
    assert torch.equal(network.detect(window), target)
    shown = network.decompose(window)
    assert len(shown) == 2
    assert torch.equal(shown[-1].reconstruction, reconstruction)
    assert torch.equal(shown[0].noise, F.pixel_shuffle(states[0].noise, 2)[:, reported : reported + 1])
    # One stage by its equations.
    first, stage = states[0], network.decos[0]
    mapped = stage.lowrank.convs(torch.cat([folded, stage.lowrank.low_rank(folded) - folded], dim=1))
    smooth = F.pixel_shuffle(first.background - mapped, 2)
    torch.testing.assert_close(smooth[..., 6, 6], moved[..., 4:10, 4:10].mean(dim=(2, 3)))
    torch.testing.assert_close(smooth[..., 1, 0], moved[..., :4, :4].mean(dim=(2, 3)))  # of what is there
    x = folded - first.background
    torch.testing.assert_close(first.target, x - stage.sparse.epsilon * stage.sparse.convs(x))
    x = folded - first.background - first.target
    torch.testing.assert_close(first.noise, x - stage.residual.epsilon * stage.residual.convs(x))
    x = first.background + first.target + first.noise
    torch.testing.assert_close(first.reconstruction, x + stage.merge.mapping(x))


def test_alignment_undoes_a_pan_and_leaves_what_moves() -> None:
    scene = torch.from_numpy(texture(np.random.default_rng(0), (132, 132), 2.0)).float()
    ways = [(-5, 12), (0, -3), (2, 2), (0, 0)]  # of the camera, against the last frame
    window = torch.stack([scene[14 + y : 110 + y, 14 + x : 116 + x] for y, x in ways])[None]
    window = window + torch.tensor([0.0, 1.0, 0.0, 0.5])[torch.arange(102) % 4]  # of a sensor with four outputs
    window = torch.cat([window, 0.5 + 0 * window[:, :1]], dim=1)  # a frame without anything lies anywhere
    for place, row in enumerate((15, 16, 17, 18)):
        window[0, place, row - ways[place][0], 20 - ways[place][1]] = 6.0
    moved = align(window, 3)
    assert torch.equal(moved[:, 3:], window[:, 3:])
    for place, row in enumerate((15, 16, 17, 18)):
        target = torch.zeros(96, 102, dtype=torch.bool)
        target[row, 20] = True
        assert torch.equal(moved[0, place] == 6, target), 'relative to the background'
    assert torch.equal(moved[0, 0, -5:], window[0, 3, -5:]), 'what it did not see'
    assert torch.equal(moved[0, 0, :, :12], window[0, 3, :, :12])
    window = torch.stack([scene[9:102, 6 + 2 * t : 99 + 2 * t] for t in range(5)])[None] + 3
    padded = DetectionModel(tensor_network())._prepare(window)
    assert padded.shape[-2:] == (96, 96), 'and an edge of padding does not hold it'
    assert torch.equal(align(padded, 4)[0, :, 20:70, 20:70], window[0, 4:, 20:70, 20:70].expand(5, -1, -1))
    window[0, 4, 40, 40] = torch.nan
    assert torch.equal(align(window, 4)[0, :4], window[0, :4]), 'where nothing is known nothing moves'
    sky = 0.5 + 0.01 * torch.randn(1, 5, 256, 256, generator=torch.Generator().manual_seed(0))
    assert torch.equal(align(sky, 4), sky), 'nor does noise'
    window = moved[:, :4]
    frames = {'image': np.moveaxis(window[0].numpy(), 0, -1)}
    np.testing.assert_array_equal(AlignFrames(3)(frames)['image'], np.moveaxis(align(window, 3)[0].numpy(), 0, -1))


@torch.no_grad()
def test_other_frames_count() -> None:
    network = tensor_network()
    window = torch.rand(1, 5, 16, 16)
    changed = window.clone()
    changed[:, 0] += 0.3
    assert not torch.allclose(network.detect(window), network.detect(changed), atol=1e-4)


def test_the_network_of_this_project_says_what_it_takes() -> None:
    network = MODELS.build({'type': 'TensorRPCANet'})
    assert sum(value.numel() for value in network.parameters()) == 80_250
    for options in ({'frames': 1}, {'placement': 'block'}):
        with pytest.raises(UserError, match='expected at least 2 frames and placement causal or centred'):
            MODELS.build({'type': 'TensorRPCANet', **options})


@torch.no_grad()
def test_a_training_begins_with_rare_targets() -> None:
    """T begins as rare as targets are, and the background as what is around a pixel."""
    network = MODELS.build({'type': 'TensorRPCANet'})
    window = 0.5 + 0.1 * torch.rand(2, 8, 24, 24)
    *_, last = network.unroll(F.pixel_unshuffle(window, 2))
    assert float((last.background - 0.55).abs().mean()) < 0.3
    assert -5 < float(last.target.mean()) < -3
    assert float(last.target.std()) < 2


@pytest.mark.slow
def test_a_short_training_learns_moving_targets() -> None:
    synthetic = {'train': 12, 'num_frames': 16, 'size': 64}
    data = SequenceDataset(synthetic=synthetic, pipeline=[{'type': 'RandomCrop', 'size': 40, 'target_prob': 0.9}])
    losses = {'soft_iou': {'type': 'SoftIoULoss'}, 'bce': {'type': 'BCELoss', 'weight': 20.0}}
    torch.manual_seed(0)
    model = DetectionModel({'type': 'TensorRPCANet'}, losses)
    optimizer = torch.optim.AdamW(model.parameters(), 3e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=120, pct_start=0.15)
    rng, overlaps = np.random.default_rng(0), []
    for step in range(120):
        samples = [data[int(rng.integers(len(data))), 6 * step + k] for k in range(6)]
        window, mask = (torch.stack([sample[key] for sample in samples]) for key in ('image', 'gt_mask'))
        terms = model(window, mask, mode='loss')
        optimizer.zero_grad()
        sum(terms.values()).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        overlaps.append(float(terms['loss_soft_iou'].detach()))
    assert np.mean(overlaps[-30:]) < np.mean(overlaps[:30]) - 0.08, 'an empty map would stay at the start'


# TenRPCANet


@torch.no_grad()
def test_linear_filtering_keeps_what_is_linear_in_its_guide() -> None:
    guide = torch.rand(1, 2, 20, 24, dtype=torch.float64)
    torch.testing.assert_close(linear_filter(guide, 3 * guide - 0.5), 3 * guide - 0.5, rtol=0, atol=0.02)
    noise = torch.rand(1, 2, 20, 24, dtype=torch.float64)
    smooth = linear_filter(torch.zeros_like(guide), noise)
    assert float(smooth.std()) < 0.3 * float(noise.std()), 'a flat guide leaves local means'


@torch.no_grad()
def test_eight_frames_in_and_eight_maps_out_that_share_what_they_see() -> None:
    torch.manual_seed(0)
    network: Any = MODELS.build({'type': 'TenRPCANet'}).eval()
    assert sum(value.numel() for value in network.parameters()) == 24_674
    assert network.reported == tuple(range(8))
    window = torch.rand(1, 8, 64, 32)
    (logits,) = network(window)
    assert logits.shape == (1, 8, 64, 32)
    changed = window.clone()
    changed[:, 0, :16, :16] += 0.5  # one block of attention, in the first frame
    (others,) = network(changed)
    difference = (others - logits).abs().amax(dim=(0, 2, 3))
    assert (difference > 1e-6).all(), 'in every frame'
    assert float((others - logits)[:, 1:, 48:].abs().max()) == 0, 'and not beyond the blocks and filters around it'
