"""The comparator networks against published figures (tests/data/comparator_*.json.gz).

``comparator_cases.json.gz`` holds, for 36 configurations, the published parameter names and shapes and
what the published networks answer in float64 with weights and images made by the rules of ``tests/reference.py``:
outputs in evaluation mode, and outputs, losses, gradient norms and BatchNorm statistics of a training
forward. ``comparator_published.json.gz`` holds what three networks answer with their authors' weights.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from drpca.models.detector import unused_parameter_names
from drpca.models.layers import image_gradient
from drpca.registry import MODELS
from tests.reference import assert_statistics, load, load_rule_weights, rule_image, rule_mask
from tests.support import shared_path


def make(name: str, **options: Any) -> nn.Module:
    return MODELS.build({'type': name, **options})


CASES = load('comparator_cases.json.gz')


def case_image(case: dict[str, Any]) -> Tensor:
    batch, channels, height, width = case['input_shape']
    image = rule_image(batch, height, width).expand(-1, channels, -1, -1)
    if 'mean_c' in case.get('input_rule', ''):
        mean = torch.tensor([0.485, 0.456, 0.406], dtype=torch.float64)[:, None, None]
        std = torch.tensor([0.229, 0.224, 0.225], dtype=torch.float64)[:, None, None]
        image = (image - mean) / std
    return image


# --- our names ------------------------------------------------------------------------------------


def build(case: dict[str, Any]) -> nn.Module:
    config = dict(case['config'])
    name = case['model']
    kwargs: dict[str, Any] = {}
    if 'input_channels' in config:
        kwargs['in_channels'] = config.pop('input_channels')
    if name in ('ACM', 'ALCNet') and 'layers' in config:
        kwargs['num_blocks'] = config.pop('layers')
    if name == 'ResUNet' and config:
        # The published lists carry a fifth level that creates nothing.
        kwargs.update(num_blocks=config.pop('num_blocks')[:3], channels=config.pop('nb_filter')[:4])
    if name == 'ISTDUNet':
        kwargs['centre_head'] = True
    if name == 'RPCANetPP':
        name = 'RPCANetPlusPlus'
        kwargs['num_stages'] = config.pop('stage_num')
    if name == 'ISNet':
        kwargs.update(in_channels=config.pop('in_ch'), modulated=config.pop('variant') == 'official')
    if name.startswith('L2SKNet'):
        name = name.replace('_UNet', '').replace('_', '')
    return make(name, **kwargs, **config)


def our_output(model: str, key: str) -> str:
    """Our name of a published output (logits or probability)."""
    if key == 'D':
        return 'reconstruction'
    if key.startswith('edge'):
        return 'edge'
    if key.startswith('det_') or key == 'logits_warm':
        return 'aux1'
    if key.startswith('mask'):
        return f'aux{int(key[4:]) + 1}'
    if key.startswith('logit_d'):
        return f'aux{key[7:]}' if key != 'logit_d0' else 'target'
    if model == 'DNANet' and key in ('logit1', 'logit2', 'logit3'):
        return f'aux{key[5:]}'
    return 'target'


def published_outputs(case: dict[str, Any], network: nn.Module, image: Tensor) -> dict[str, Tensor]:
    """A forward whose results carry the published names, intermediate maps of ISNet (``mid_…``) included."""
    keys = list(case['output_shapes'])
    maps: dict[str, Tensor] = {}

    def keep(name: str) -> Callable[..., None]:
        def hook(module: nn.Module, inputs: Any, output: Tensor) -> None:
            maps[name] = output

        return hook

    modules = [key for key in keys if key.startswith('mid_') and key != 'mid_x_grad']
    hooks = [network.get_submodule(key[4:]).register_forward_hook(keep(key)) for key in modules]
    outputs = dict(zip(network.outputs, network(image), strict=True))
    for hook in hooks:
        hook.remove()
    if 'mid_x_grad' in keys:
        maps['mid_x_grad'] = image_gradient(image)
    for key in keys:
        if key not in maps:
            output = outputs[our_output(case['model'], key)]
            maps[key] = output.sigmoid() if 'probability' in key else output
    return maps


# --- comparison -----------------------------------------------------------------------------------


def soft_iou(logits: Tensor, mask: Tensor) -> Tensor:
    scores = logits.sigmoid()
    both = (scores * mask).sum((1, 2, 3))
    return (1 - (both + 1) / (scores.sum((1, 2, 3)) + mask.sum((1, 2, 3)) - both + 1)).mean()


def case_loss(case: dict[str, Any], section: dict[str, Any], maps: dict[str, Tensor], image: Tensor) -> Tensor:
    """The loss that the figures of the training section were made with (its field ``loss``)."""
    batch, _, height, width = image.shape
    mask = rule_mask(batch, height, width)
    if case['model'] == 'RPCANetPP':
        return soft_iou(maps['T'], mask) + 0.1 * F.mse_loss(maps['D'], image)
    if case['model'] == 'ISTDUNet':
        return soft_iou(maps['seg_logits'], mask) + soft_iou(maps['det_logits'], mask)
    if case['model'] == 'MSHNet':
        total = soft_iou(maps['logits'], mask)
        for level in range(4):
            total = total + soft_iou(maps[f'mask{level}'], F.max_pool2d(mask, 2**level))
        return total / 5
    parts = list(section.get('loss_parts', ['logits']))
    return sum(soft_iou(maps[key], mask) for key in parts) / len(parts)


def gradient_norm(parameter: nn.Parameter) -> float:
    return 0.0 if parameter.grad is None else parameter.grad.norm().item()


def check_training(case: dict[str, Any], section: dict[str, Any], network: nn.Module) -> None:
    network.train()
    for module in network.modules():
        if isinstance(module, nn.Dropout):
            module.eval()
    image = case_image(case)
    maps = published_outputs(case, network, image)
    for key, expected in section['outputs'].items():
        assert_statistics(maps[key], expected, 1e-7, f'training {key}')
    loss = case_loss(case, section, maps, image)
    assert loss.item() == pytest.approx(section.get('loss_value', section.get('total_loss')), rel=1e-9)

    loss.backward()
    parameters = dict(network.named_parameters())
    norms = {name: gradient_norm(parameter) for name, parameter in parameters.items()}
    assert np.linalg.norm(list(norms.values())) == pytest.approx(section['total_grad_norm'], rel=1e-5)
    noise = section.get('grad_atol', 1e-12)
    for name, expected in {**section['grad_norm'], **section.get('grad_norm_used', {})}.items():
        assert norms[name] == pytest.approx(expected, rel=1e-5, abs=noise), name

    idle = {name for name, p in parameters.items() if p.requires_grad and p.grad is None}
    assert idle == set(section.get('no_grad_parameters', section.get('parameters_without_gradient')))
    assert idle == unused_parameter_names(network) & set(parameters)

    buffers = dict(network.named_buffers())
    for name, expected in section.get('buffer_norm_after_one_forward', {}).items():
        assert buffers[name].norm().item() == pytest.approx(expected, rel=1e-9), name
    for name, expected in section.get('buffers_after_one_step', {}).items():
        assert buffers[name].sum().item() == pytest.approx(expected['sum'], rel=1e-9, abs=1e-9), name
        assert buffers[name].flatten()[0].item() == pytest.approx(expected['first'], rel=1e-9, abs=1e-9), name


# The costly ones: 50 million weights by rule, or many stages of 17 × 17 convolutions in float64.
SLOW = {('UIUNet', 'fill'), ('UIUNet', 'train'), ('RPCANetPP', 6), ('RPCANetPP', 9)}


def case_params() -> list[Any]:
    params = []
    for index, case in enumerate(CASES):
        section = 'train' if 'train' in case else ''
        tags = case.get('weights_rule'), section, case['config'].get('stage_num')
        slow = SLOW.intersection((case['model'], tag) for tag in tags)
        shape = 'x'.join(map(str, case['input_shape']))
        name = f'{index}-{case["model"]}-{case.get("weights_rule", "fill")}-{shape}'
        params.append(pytest.param(case, id=name, marks=[pytest.mark.slow] if slow else []))
    return params


@pytest.mark.parametrize('case', case_params())
def test_published_figures(case: dict[str, Any]) -> None:
    network = build(case).double()
    assert {name: list(value.shape) for name, value in network.state_dict().items()} == case['state_dict']
    assert sum(p.numel() for p in network.parameters()) == case['num_parameters']
    load_rule_weights(network, case)

    network.eval()
    with torch.no_grad():
        maps = published_outputs(case, network, case_image(case))
    assert {key: list(value.shape) for key, value in maps.items()} == case['output_shapes']
    for key, expected in case['eval'].items():
        assert_statistics(maps[key], expected, 1e-9, key)
    for name in ('train', 'train_no_dropout', 'train_dropout_off'):
        if name in case:
            check_training(case, case[name], network)


NORMALISATION = {
    'ACM': lambda x: (255 * x - 95.010) / 41.511,
    'ALCNet': lambda x: (255 * x - 95.010) / 41.511,
    'RDIAN': lambda x: (x + 0.1246) / 1.0923,
}


@pytest.mark.parametrize('record', load('comparator_published.json.gz'), ids=lambda record: record['model'])
def test_published_weights(record: dict[str, Any]) -> None:
    network = make(record['model'])
    name = 'RDIAN_best.pth' if record['model'] == 'RDIAN' else f'{record["model"]}_full_SIRST3.pth.tar'
    path = shared_path('checkpoints', name)
    assert hashlib.sha256(path.read_bytes()).hexdigest() == record['sha256']
    weights = torch.load(path, map_location='cpu', weights_only=True)
    weights = weights.get('state_dict', weights).items()
    network.load_state_dict({name.removeprefix('model.'): value for name, value in weights}, strict=True)
    network.double().eval()
    batch, _, height, width = record['input_shape']
    with torch.no_grad():
        (logits,) = network(NORMALISATION[record['model']](rule_image(batch, height, width)))
    assert_statistics(logits, record['eval']['logits'], 1e-9, 'logits')
    assert_statistics(logits.sigmoid(), record['eval']['probability'], 1e-9, 'probability')
