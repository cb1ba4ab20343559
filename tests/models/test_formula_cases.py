"""The four unfolded networks against published figures (tests/data/formula_cases.json.gz)."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from drpca.losses import FidelityLoss, soft_iou_loss
from drpca.registry import MODELS
from tests.reference import assert_statistics, load, load_rule_weights, rule_image, rule_mask

# Published keyword -> ours.
KEYWORDS = {
    'stage_num': 'num_stages', 'channel': 'channels', 'llayers': 'background_depth', 'slayers': 'target_depth',
    'rlayers': 'noise_depth', 'mlayers': 'reconstruction_depth', 'b_channel': 'bottleneck',
}  # fmt: skip
CASES = load('formula_cases.json.gz')
IDS = [f'{case["model"]}-{case["config"]}' for case in CASES]
TRAINING_CASES = [case for case in CASES if 'train' in case]
TOLERANCE = 1e-6  # of the tensor's largest magnitude, as given with the figures


def build(case: dict[str, Any]) -> nn.Module:
    options = {KEYWORDS[key]: value for key, value in case['config'].items()}
    if case['model'] == 'RPCANetPlus':
        options.setdefault('bottleneck', 16)
    network = MODELS.build({'type': case['model'], **options}).double()
    load_rule_weights(network, case)
    return network


def scale(expected: dict[str, float]) -> float:
    """The tensor's largest magnitude in units of its standard deviation, in which errors are measured."""
    return max(abs(expected['min']), abs(expected['max'])) / expected['std']


@pytest.mark.parametrize('case', CASES, ids=IDS)
def test_names_shapes_count_and_outputs_are_the_published_ones(case: dict[str, Any]) -> None:
    network = build(case).eval()
    assert {name: list(value.shape) for name, value in network.state_dict().items()} == case['state_dict']
    assert sum(value.numel() for value in network.parameters()) == case['num_parameters']
    batch, _, height, width = case['input_shape']
    with torch.no_grad():
        outputs = network(rule_image(batch, height, width))
    for actual, key in zip(outputs, 'DT'):
        expected = case['eval'][key]
        assert_statistics(actual, expected, TOLERANCE * scale(expected), key)


@pytest.mark.parametrize('case', TRAINING_CASES, ids=lambda case: f'{case["model"]}-{case["config"]}')
def test_training(case: dict[str, Any]) -> None:
    network, expected = build(case).train(), case['train']
    batch, _, height, width = case['input_shape']
    image, gt_mask = rule_image(batch, height, width), rule_mask(batch, height, width)
    reconstruction, target = network(image)
    for actual, key in ((reconstruction, 'D'), (target, 'T')):
        assert_statistics(actual, expected[key], TOLERANCE * scale(expected[key]), key)
    soft_iou = soft_iou_loss(target, gt_mask)
    fidelity = FidelityLoss(weight=0.1)({'reconstruction': reconstruction}, image, gt_mask)
    assert soft_iou.item() == pytest.approx(expected['soft_iou'], rel=1e-8)
    assert fidelity.item() == pytest.approx(0.1 * expected['mse'], rel=1e-9)
    (soft_iou + fidelity).backward()
    norms = {name: value.grad.norm().item() for name, value in network.named_parameters()}
    total = sum(norm**2 for norm in norms.values()) ** 0.5
    assert total == pytest.approx(expected['total_grad_norm'], rel=TOLERANCE)
    for name, norm in expected['grad_norm'].items():
        assert norms[name] == pytest.approx(norm, rel=1e-5, abs=1e-12), name


@pytest.mark.parametrize('name', ['RPCANet', 'RPCANetPlus', 'DRPCANet', 'LRRNet'])
def test_float32_stays_close_to_float64(name: str) -> None:
    case = next(case for case in CASES if case['model'] == name)
    network = build(case).float().eval()
    batch, _, height, width = case['input_shape']
    with torch.no_grad():
        outputs = network(rule_image(batch, height, width).float())
    for actual, key in zip(outputs, 'DT'):
        assert_statistics(actual.double(), case['eval'][key], 1e-3 * scale(case['eval'][key]), key)
