"""A network as the one function that is exported, in operations that every format has."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from drpca.deploy.backends import PADDING
from drpca.deploy.optimise import fold_batch_norm, replace_blocks
from drpca.models.detector import DetectionModel, named_outputs, unused_parameter_names


class TargetLogits(nn.Module):
    """A model as a function: (B, 1, H, W) in [0, 1] → target logits (B, 1, H, W).

    H and W are what the network takes; pixels of value ``PADDING`` are zeros behind the normalisation.
    """

    def __init__(self, model: DetectionModel) -> None:
        super().__init__()
        self.network: Any = model.network
        self.channels = model.in_channels
        self.scales = model.scale_to_max
        self.normalises = model.normalises
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer('mean', model.mean.detach().clone())
        self.register_buffer('std', model.std.detach().clone())

    def forward(self, image: Tensor) -> Tensor:
        inside = image > PADDING
        if self.scales:
            image = image / image.amax(dim=(1, 2, 3), keepdim=True).clamp(min=1 / 255)
        if self.normalises:
            image = torch.where(inside, (image - self.mean) / self.std, torch.zeros_like(image))
        if image.shape[1] != self.channels:
            image = image.expand(-1, self.channels, -1, -1)
        if hasattr(self.network, 'detect'):
            return self.network.detect(image)
        return named_outputs(self.network, self.network(image))['target']


class GridMaxPool(nn.Module):
    """Adaptive max-pooling to s × s for sizes that are open in the file: one axis after the other, by slices.

    Cell i of an axis of length L reaches from ⌊iL/s⌋ to ⌈(i + 1)L/s⌉.
    """

    def __init__(self, cells: int) -> None:
        super().__init__()
        self.cells = cells

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        x = torch.cat([x[:, :, rows].amax(dim=2, keepdim=True) for rows in self._spans(height)], dim=2)
        return torch.cat([x[..., columns].amax(dim=3, keepdim=True) for columns in self._spans(width)], dim=3)

    def _spans(self, length: Any) -> list[slice]:
        n = self.cells
        return [slice(i * length // n, ((i + 1) * length + n - 1) // n) for i in range(n)]


@contextmanager
def plain_attention() -> Iterator[None]:
    """Networks that are traced inside compute attention in single operations.

    OpenVINO recognises the usual order of them and fuses it, and its fused form (2026.4) computes nonsense in files
    with open sizes: where there are few positions, and after a change of size. It does not recognise the transposed
    order.
    """

    def attention(query: Tensor, key: Tensor, value: Tensor, scale: float | None = None) -> Tensor:
        scale = query.shape[-1] ** -0.5 if scale is None else scale
        weights = torch.softmax((scale * query) @ key.transpose(-2, -1), dim=-1)
        return (value.transpose(-2, -1) @ weights.transpose(-2, -1)).transpose(-2, -1)

    original = F.scaled_dot_product_attention
    F.scaled_dot_product_attention = attention  # type: ignore[assignment]
    try:
        yield
    finally:
        F.scaled_dot_product_attention = original


def exportable(model: DetectionModel, trim: bool = False) -> TargetLogits:
    """A copy of a model with BatchNorm folded in.

    Args:
        model: With weights.
        trim: Drop parameters that the network never uses.
    """
    function = TargetLogits(copy.deepcopy(model).cpu().float().eval()).eval().requires_grad_(False)
    network = function.network
    network.to(memory_format=torch.contiguous_format)
    if trim:
        for name in unused_parameter_names(network):
            owner, _, leaf = name.rpartition('.')
            module = network.get_submodule(owner)
            store = module._parameters if leaf in module._parameters else module._buffers
            store[leaf] = None
    fold_batch_norm(network)
    replace_blocks(network, 'for_export')
    for module in list(network.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.AdaptiveMaxPool2d) and isinstance(child.output_size, int):
                setattr(module, name, GridMaxPool(child.output_size))
    return function
