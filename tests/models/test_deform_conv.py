"""Deformable convolution against its formula, the ordinary convolution and torchvision's operator."""

from __future__ import annotations

import math
import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from drpca.models.deform_conv import deform_conv2d, deform_conv2d_reference, find_operator

Example = tuple[Tensor, Tensor, Tensor, Tensor, tuple[int, int], Tensor]


@pytest.fixture(params=[(1, 3), (3, 1), (3, 3)], ids=str)
def example(request: pytest.FixtureRequest) -> Example:
    """x, offset, weight, bias, padding, mask in float64; offsets reach beyond the border."""
    rows, columns = request.param
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    taps = rows * columns
    padding = (rows // 2, columns // 2)
    offset = 3 * normal(2, 2 * taps, 5, 7)
    return normal(2, 3, 5, 7), offset, normal(4, 3, rows, columns), normal(4), padding, normal(2, taps, 5, 7)


def by_the_formula(x: Tensor, offset: Tensor, weight: Tensor, bias: Tensor, padding: tuple[int, int], mask: Tensor):
    """y(p) = sum_t w_t · m_t(p) · x(p + p_t + d_t(p)) + b, one number after the other."""
    batch, channels, height, width = x.shape
    kernel_rows, kernel_columns = weight.shape[-2:]
    y = np.zeros((batch, weight.shape[0], height, width))

    def read(image: Tensor, row: float, column: float) -> np.ndarray:
        total = np.zeros(channels)
        for i in (math.floor(row), math.floor(row) + 1):
            for j in (math.floor(column), math.floor(column) + 1):
                if 0 <= i < height and 0 <= j < width:
                    total += (1 - abs(row - i)) * (1 - abs(column - j)) * image[:, i, j].numpy()
        return total

    for b, i, j in np.ndindex(batch, height, width):
        y[b, :, i, j] = bias.numpy()
        for t, (r, c) in enumerate(np.ndindex(kernel_rows, kernel_columns)):
            row = i - padding[0] + r + offset[b, 2 * t, i, j].item()
            column = j - padding[1] + c + offset[b, 2 * t + 1, i, j].item()
            y[b, :, i, j] += mask[b, t, i, j].item() * weight[:, :, r, c].numpy() @ read(x[b], row, column)
    return torch.from_numpy(y)


def test_matches_the_formula(example: Example) -> None:
    exact = by_the_formula(*example)
    torch.testing.assert_close(deform_conv2d_reference(*example), exact, rtol=1e-12, atol=1e-12)


def test_float32_stays_within_1e_5(example: Example) -> None:
    x, offset, weight, bias, padding, mask = example
    x, offset, weight, bias, mask = (value.float() for value in (x, offset, weight, bias, mask))
    single = deform_conv2d_reference(x, offset, weight, bias, padding, mask)
    x, offset, weight, bias, mask = (value.double() for value in (x, offset, weight, bias, mask))
    exact = deform_conv2d_reference(x, offset, weight, bias, padding, mask)
    torch.testing.assert_close(single.double(), exact, rtol=1e-5, atol=1e-5)


def test_zero_offset_is_the_ordinary_convolution(example: Example) -> None:
    x, offset, weight, bias, padding, _ = example
    y = deform_conv2d_reference(x, torch.zeros_like(offset), weight, bias, padding)
    torch.testing.assert_close(y, F.conv2d(x, weight, bias, padding=padding))


def test_offsets_far_outside_read_zero(example: Example) -> None:
    x, offset, weight, bias, padding, _ = example
    y = deform_conv2d_reference(x, torch.full_like(offset, 1e4), weight, bias, padding)
    torch.testing.assert_close(y, bias[:, None, None].expand_as(y))


def test_gradients(example: Example) -> None:
    x, offset, weight, bias, padding, mask = example
    inputs = tuple(value[:1, ..., :3, :3].clone().requires_grad_() for value in (x, offset, mask))
    weight, bias = weight.clone().requires_grad_(), bias.clone().requires_grad_()

    def run(x: Tensor, offset: Tensor, mask: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return deform_conv2d_reference(x, offset, weight, bias, padding, mask)

    assert torch.autograd.gradcheck(run, (*inputs, weight, bias))


def test_matches_torchvision(example: Example) -> None:
    operator = find_operator()
    if operator is deform_conv2d_reference:
        pytest.skip('torchvision is not installed, or its compiled operators do not load')
    x, offset, weight, bias, padding, mask = example
    for modulation in (mask, None):
        theirs = operator(x, offset, weight, bias, padding=padding, mask=modulation)
        ours = deform_conv2d_reference(x, offset, weight, bias, padding, modulation)
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


def test_half_precision_keeps_positions_exact() -> None:
    """Columns beyond 256 are no bfloat16 numbers; a shift by 300 must still read the right one."""
    x = torch.arange(512.0).expand(1, 1, 4, 512)
    offset = torch.zeros(1, 2, 4, 512)
    offset[:, 1, :, 1] = 300
    weight = torch.ones(1, 1, 1, 1)
    with torch.autocast('cpu', torch.bfloat16):
        assert deform_conv2d(x, offset, weight)[0, 0, 0, 1] == 301
    half = deform_conv2d(x.bfloat16(), offset.bfloat16(), weight.bfloat16())
    assert half.dtype == torch.bfloat16
    assert half[0, 0, 0, 1] == x[0, 0, 0, 301].bfloat16()


@pytest.fixture
def fresh_lookup():
    """Forget which operator was found before and after the test."""
    find_operator.cache_clear()
    yield
    find_operator.cache_clear()


@pytest.mark.usefixtures('fresh_lookup')
def test_torchvision_is_used_where_it_is_installed(example: Example, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    ops = ModuleType('torchvision.ops')
    ops.deform_conv2d = lambda *args, **kwargs: calls.append((args, kwargs)) or torch.ones(())
    monkeypatch.setitem(sys.modules, 'torchvision', ModuleType('torchvision'))
    monkeypatch.setitem(sys.modules, 'torchvision.ops', ops)
    monkeypatch.setattr(torch.ops, 'torchvision', SimpleNamespace(deform_conv2d=None), raising=False)
    x, offset, weight, bias, padding, mask = example
    assert deform_conv2d(x, offset, weight, bias, padding, mask) == 1
    ((args, kwargs),) = calls
    assert all(torch.equal(got, given) for got, given in zip(args, (x, offset, weight, bias), strict=True))
    assert kwargs['padding'] == padding
    assert torch.equal(kwargs['mask'], mask)


@pytest.mark.usefixtures('fresh_lookup')
def test_works_without_torchvision(example: Example, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, 'torchvision', None)
    monkeypatch.setitem(sys.modules, 'torchvision.ops', None)
    torch.testing.assert_close(deform_conv2d(*example), by_the_formula(*example), rtol=1e-12, atol=1e-12)
