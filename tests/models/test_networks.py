"""What every unfolded network must do, whatever its weights."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from drpca.models.detector import DetectionModel, unused_parameter_names
from drpca.models.lrrnet import SelfAttention
from drpca.registry import MODELS, network_names
from tests.support import decomposing_networks, small, smallest_image

LOSSES = {'soft_iou': {'type': 'SoftIoULoss'}, 'fidelity': {'type': 'FidelityLoss', 'weight': 0.1}}


@pytest.fixture(params=decomposing_networks())
def network(request: pytest.FixtureRequest) -> nn.Module:
    torch.manual_seed(0)
    return MODELS.build(small(request.param)).eval()


@pytest.mark.parametrize('size', [(8, 8), (9, 23), (31, 8), (40, 56)])
def test_any_size_from_eight_pixels(network: nn.Module, size: tuple[int, int]) -> None:
    with torch.no_grad():
        reconstruction, target = network(torch.rand(2, 1, *size))
    assert reconstruction.shape == target.shape == (2, 1, *size)
    assert torch.isfinite(reconstruction).all()
    assert torch.isfinite(target).all()


@torch.no_grad()
def test_evaluation_does_not_depend_on_the_batch(network: nn.Module) -> None:
    images = torch.rand(3, 1, 24, 16)
    together = network(images)
    for index in range(3):
        for one, all_ in zip(network(images[index : index + 1]), together):
            torch.testing.assert_close(one[0], all_[index], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('name', network_names())
def test_every_network_in_evaluation_and_training(name: str) -> None:
    """In evaluation nothing depends on the batch; every parameter that is used gets a gradient."""
    torch.manual_seed(0)
    network = MODELS.build(small(name)).eval()
    image = smallest_image(network, 2)
    with torch.no_grad():
        together, alone = network(image), network(image[1:])
    for both, single in zip(together, alone, strict=True):
        torch.testing.assert_close(both[1:], single, rtol=1e-4, atol=1e-4)
    outputs = network.train()(image)
    assert len(outputs) == len(network.outputs)
    sum(output.square().mean() for output in outputs).backward()
    for key, value in network.named_parameters():
        if value.requires_grad:
            assert (value.grad is None) == (key in unused_parameter_names(network)), key
            assert value.grad is None or value.grad.isfinite().all(), key


@torch.no_grad()
def test_detect_is_forward_without_the_reconstruction(network: nn.Module) -> None:
    image = torch.rand(2, 1, 19, 21)
    assert torch.equal(network.detect(image), network(image)[1])


@torch.no_grad()
def test_decompose_ends_at_the_forward_outputs(network: nn.Module) -> None:
    image = torch.rand(1, 1, 17, 16)
    records = network.decompose(image)
    reconstruction, target = network(image)
    assert len(records) == len(getattr(network, 'decos', ['one pass']))
    assert torch.equal(records[-1].reconstruction, reconstruction)
    assert torch.equal(records[-1].target, target)
    assert (records[-1].noise is not None) == getattr(network, 'has_noise', False)
    assert all(record.background.shape == image.shape for record in records)


class LargestResult(TorchDispatchMode):
    """Counts the elements of the largest tensor that an operation inside gives."""

    elements = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for value in tree_leaves(result):
            if isinstance(value, torch.Tensor):
                self.elements = max(self.elements, value.numel())
        return result


@pytest.mark.parametrize('memory_format', [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize('training', [False, True])
def test_attention_of_lrrnet_never_holds_its_matrix(memory_format: torch.memory_format, training: bool) -> None:
    torch.manual_seed(0)
    attention = SelfAttention(32)
    x = torch.randn(1, 32, 32, 48).contiguous(memory_format=memory_format).requires_grad_(training)
    positions = 32 * 48
    with torch.set_grad_enabled(training), LargestResult() as largest:
        y = attention(x)
        if training:
            y.sum().backward()
    assert largest.elements <= 3 * 32 * positions < positions**2
    with torch.no_grad():
        query, key, value = attention.to_qkv(attention.norm(x)).flatten(2).double().chunk(3, dim=1)
        weights = (query.transpose(1, 2) @ key / 32**0.5).softmax(dim=-1)
        attended = (value @ weights.transpose(1, 2)).float().reshape(x.shape)
        torch.testing.assert_close(y, x + attention.to_out(attended), rtol=0, atol=1e-6)


@torch.no_grad()
def test_published_rpcanet_plus_forgets_the_noise_between_stages() -> None:
    torch.manual_seed(0)
    image = torch.rand(1, 1, 16, 16)
    forgets = MODELS.build(small('RPCANetPlus')).eval()
    carries = MODELS.build({**small('RPCANetPlus'), 'carry_noise': True}).eval()
    carries.load_state_dict(forgets.state_dict())
    first, second = forgets.decompose(image), carries.decompose(image)
    assert torch.equal(first[0].target, second[0].target)
    assert not torch.allclose(first[1].target, second[1].target)


def test_model_runs_in_bfloat16_and_channels_last(network: nn.Module) -> None:
    image, gt_mask = torch.rand(2, 1, 16, 16), torch.zeros(2, 1, 16, 16)
    gt_mask[:, :, 4:7, 4:7] = 1
    plain = DetectionModel(network, LOSSES).eval()
    with torch.no_grad():
        expected = plain(image, gt_mask, mode='tensor')['target']
        fast = DetectionModel(network, LOSSES, channels_last=True).eval()
        torch.testing.assert_close(fast(image, mode='tensor')['target'], expected, rtol=1e-3, atol=1e-4)
    half = DetectionModel(network, LOSSES, precision='bfloat16').train()
    single = [m for m in half.network.modules() if isinstance(m, nn.Conv2d) and 1 in (m.in_channels, m.out_channels)]
    kept = []
    for module in single:
        module.register_forward_hook(lambda module, inputs, output: kept.append(output.dtype))
    outputs = half(image)
    assert kept
    assert set(kept) == {torch.float32}
    assert all(value.dtype == torch.float32 for value in outputs.values()), 'bfloat16 is coarser than 8-bit images'
    losses = half(image, gt_mask, mode='loss')
    assert set(losses) == {'loss_soft_iou', 'loss_fidelity'}
    assert all(torch.isfinite(value) and value.dtype == torch.float32 for value in losses.values())


def test_predictions_carry_name_scores_and_mask(network: nn.Module) -> None:
    model = DetectionModel(network).eval()
    gt_mask = torch.zeros(2, 1, 16, 16)
    gt_mask[1, 0, 3, 3] = 1
    records = model(torch.rand(2, 1, 16, 16), gt_mask, name=['a', 'b'], mode='predict')
    assert [record['name'] for record in records] == ['a', 'b']
    assert all(record['scores'].shape == (16, 16) for record in records)
    assert all(record['scores'].min() >= 0 and record['scores'].max() <= 1 for record in records)
    assert [int(record['gt_mask'].sum()) for record in records] == [0, 1]


def test_soft_iou_of_a_target_free_image_is_defined() -> None:
    loss = MODELS.build({'type': 'SoftIoULoss'})
    value = loss({'target': torch.full((1, 1, 8, 8), -20.0)}, torch.zeros(1, 1, 8, 8), torch.zeros(1, 1, 8, 8))
    assert value.item() == pytest.approx(0, abs=1e-5)
