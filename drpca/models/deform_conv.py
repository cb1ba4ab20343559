"""Deformable convolution (Dai et al., ICCV 2017; modulated: Zhu et al., CVPR 2019).

    y(p) = Σₜ wₜ · mₜ(p) · x(p + pₜ + Δₜ(p)) + b

with kernel taps t at p + pₜ, learned offsets Δₜ, modulation mₜ (1 where there is none), and x read
bilinearly, 0 outside the image. torchvision's operator is used where torchvision is installed, the
implementation below, which needs PyTorch alone, everywhere else.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor


@cache
def find_operator() -> Callable[..., Tensor]:
    """torchvision's operator, or `deform_conv2d_reference` where torchvision is absent or does not load."""
    try:
        from torchvision.ops import deform_conv2d

        torch.ops.torchvision.deform_conv2d  # noqa: B018 - AttributeError if its compiled part did not load
    except (ImportError, RuntimeError, OSError, AttributeError):  # absent, or built for another PyTorch
        return deform_conv2d_reference
    return deform_conv2d


def deform_conv2d(
    x: Tensor,
    offset: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    padding: tuple[int, int] = (0, 0),
    mask: Tensor | None = None,
    operator: Callable[..., Tensor] | None = None,
) -> Tensor:
    """Deformable convolution with stride 1, dilation 1 and one group.

    Half precision and autocast compute in float32: positions beyond 256 pixels need it.

    Args:
        x: (B, C, H, W).
        offset: (B, 2K, H', W') in pixels for the K kernel taps, row by row; channels 2t and 2t + 1 are the
            row and column offset of tap t.
        weight: (O, C, kernel rows, kernel columns).
        bias: (O,).
        padding: Rows and columns of zeros around x.
        mask: Modulation (B, K, H', W').
        operator: Implementation; by default what `find_operator` finds. A module that torch.compile
            may trace looks it up beforehand, since a compiler cannot follow the import.

    Returns:
        (B, O, H', W') with H' = H + 2·padding − kernel rows + 1, and W' likewise, in the dtype of x.
    """
    dtype = torch.promote_types(x.dtype, torch.float32)
    operator = operator or find_operator()
    # The meta device, on which operations are counted, has no autocast.
    with torch.autocast('cpu' if x.is_meta else x.device.type, enabled=False):
        y = operator(
            x.to(dtype),
            offset.to(dtype),
            weight.to(dtype),
            None if bias is None else bias.to(dtype),
            padding=padding,
            mask=None if mask is None else mask.to(dtype),
        )
    return y.to(x.dtype)


def deform_conv2d_reference(
    x: Tensor,
    offset: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    padding: tuple[int, int] = (0, 0),
    mask: Tensor | None = None,
) -> Tensor:
    """`deform_conv2d` in plain PyTorch, float32 or float64: gather the taps, then one matrix product."""
    kernel_rows, kernel_columns = weight.shape[-2:]
    height, width = offset.shape[-2:]

    def grid(length: int) -> Tensor:
        return torch.arange(length, device=x.device, dtype=offset.dtype)

    # Where each tap reads, (B, K, H', W').
    tap_rows = grid(kernel_rows).repeat_interleave(kernel_columns)[:, None, None]
    tap_columns = grid(kernel_columns).repeat(kernel_rows)[:, None, None]
    rows = offset[:, 0::2] + tap_rows - padding[0] + grid(height)[:, None]
    columns = offset[:, 1::2] + tap_columns - padding[1] + grid(width)
    samples = bilinear_samples(x, rows, columns)
    if mask is not None:
        samples = samples * mask[:, None]
    y = torch.einsum('oct,bcthw->bohw', weight.flatten(2), samples)
    return y if bias is None else y + bias[:, None, None]


def bilinear_samples(x: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Read x (B, C, H, W) at fractional positions (B, K, H', W'), 0 outside: (B, C, K, H', W')."""
    batch, channels, height, width = x.shape
    flat = x.flatten(2)
    top, left = rows.detach().floor(), columns.detach().floor()
    samples = x.new_zeros(batch, channels, *rows.shape[1:])
    for row, column in ((top, left), (top, left + 1), (top + 1, left), (top + 1, left + 1)):
        inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
        share = (1 - (rows - row).abs()) * (1 - (columns - column).abs()) * inside
        index = (row.clamp(0, height - 1) * width + column.clamp(0, width - 1)).long().flatten(1)
        corner = flat.gather(2, index[:, None].expand(-1, channels, -1))
        samples = samples + corner.view_as(samples) * share[:, None]
    return samples
