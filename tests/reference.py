"""The rules by which reference figures were made: weights, images and masks from formulas.

``tests/data/formula_cases.json.gz`` and ``comparator_cases.json.gz`` hold, for each network and
configuration, the published parameter names and shapes and what the network answers, in float64, with
these weights and images.
"""

from __future__ import annotations

import gzip
import json
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tests.support import DATA


def load(name: str) -> list[dict[str, Any]]:
    return json.loads(gzip.decompress((DATA / name).read_bytes()))


def fill(name: str, index: int, shape: tuple[int, ...]) -> np.ndarray:
    """The first weight rule: slow sines, low-rank and shrinking."""
    size = int(np.prod(shape))
    s = np.sin(0.61803 * np.arange(size) + index)
    if name.endswith('running_var'):
        return 1 + 0.5 * s**2
    if name.endswith('running_mean'):
        return 0.1 * s
    if name.endswith(('epsilon', 'sigma')):
        return 0.01 + 0.005 * s
    if len(shape) >= 2:
        return s / np.sqrt(size // shape[0])
    return 1 + 0.1 * s if name.endswith('weight') else 0.1 * s


def chirp(name: str, index: int, shape: tuple[int, ...]) -> np.ndarray:
    """The second weight rule: a chirp, well conditioned and lively."""
    size = int(np.prod(shape))
    j = np.arange(size, dtype=np.int64)
    s = np.sin(0.61803 * ((7 * j * j + 3 * j) % 10007) + index)
    if name.endswith('running_var'):
        return 1 + 0.5 * s**2
    if name.endswith('running_mean'):
        return 0.1 * s
    if len(shape) >= 2:
        return 2 * s / np.sqrt(size // shape[0])
    return 1 + 0.1 * s if name.endswith('weight') else 0.1 * s


def load_rule_weights(network: nn.Module, case: dict[str, Any]) -> None:
    rule = chirp if case.get('weights_rule') == 'chirp' else fill
    state = network.state_dict()
    for index, name in enumerate(sorted(state)):
        if name in case.get('kept_at_construction', ()):
            continue
        shape = tuple(state[name].shape)
        if name.endswith('num_batches_tracked'):
            state[name] = torch.tensor(0)
            continue
        values = rule(name, index, shape).astype(np.float32).astype(np.float64)
        if len(shape) >= 2:
            values *= case.get('weight_gain', 1.0)
        state[name] = torch.from_numpy(values.reshape(shape))
    network.load_state_dict(state, strict=True)


def rule_image(batch: int, height: int, width: int) -> Tensor:
    b, i, j = np.ogrid[:batch, :height, :width]
    distance = (i - height // 3 - 2 * b) ** 2 + (j - width // 2 + 3 * b) ** 2
    image = 0.5 + 0.25 * np.sin(0.3 * i + b) + 0.2 * np.cos(0.17 * j * (b + 1)) + 0.5 * np.exp(-distance / 2)
    return torch.from_numpy(np.clip(image, 0, 1).astype(np.float32)).double()[:, None]


def rule_mask(batch: int, height: int, width: int) -> Tensor:
    b, i, j = np.ogrid[:batch, :height, :width]
    distance = (i - height // 3 - 2 * b) ** 2 + (j - width // 2 + 3 * b) ** 2
    return torch.from_numpy(distance <= 4).double()[:, None]


def assert_statistics(actual: Tensor, expected: dict[str, Any], tolerance: float, label: str) -> None:
    """Mean, deviation, extremes and 24 samples within ``tolerance`` standard deviations."""
    flat = actual.detach().double().flatten()
    samples = flat[np.rint(np.linspace(0, flat.numel() - 1, 24)).astype(int)]
    got = torch.stack([flat.mean(), flat.std(unbiased=False), flat.min(), flat.max(), *samples])
    moments = [expected[key] for key in ('mean', 'std', 'min', 'max')]
    want = torch.tensor([*moments, *expected['samples']], dtype=torch.float64)
    error = (got - want).abs().max().item() / expected['std']
    assert error < tolerance, f'{label}: off by {error:.1e} standard deviations'
