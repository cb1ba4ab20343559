"""Convolutions on a CPU: one oneDNN call with the activation behind it, and a faster form for one output channel."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from drpca.models.layers import SqueezeExcitation

# Fewer input channels than this gain nothing from reordered weights, nor from the form for one output channel.
_MIN_CHANNELS = 16
_TYPICAL_SIZE = 256


def can_fuse(dtype: torch.dtype) -> bool:
    """Whether this build of PyTorch has oneDNN's fused convolution, and for this type."""
    return (
        torch.backends.mkldnn.is_available()
        and hasattr(torch.ops.mkldnn, '_convolution_pointwise')
        and (
            dtype is torch.float32
            or (dtype is torch.bfloat16 and torch.ops.mkldnn._is_mkldnn_bf16_supported())
        )
    )


class FusedConv2d(nn.Conv2d):
    """A convolution and an activation in one oneDNN call. It keeps its float32 weights for whoever reads them.

    In bfloat16 a single input channel, one of D, B, T and N, keeps its precision: with x = h + l and w = u + v, each
    part in bfloat16, the convolution is u·h + u·l + v·h, as one of three channels.

    Args:
        conv: The convolution.
        activation: ReLU, LeakyReLU or None.
        dtype: Type it computes in.
    """

    def __init__(self, conv: nn.Conv2d, activation: nn.Module | None, dtype: torch.dtype) -> None:
        nn.Module.__init__(self)
        self.__dict__.update({key: value for key, value in conv.__dict__.items() if key not in self.__dict__})
        self.weight, self.bias = conv.weight, conv.bias
        self.dtype = dtype
        self.splits = dtype is torch.bfloat16 and conv.in_channels == 1
        self.attribute, self.scalars = _attribute(activation)
        weight = conv.weight.detach().to(dtype)
        if self.splits:
            weight = torch.cat([weight, weight, (conv.weight - weight).to(dtype)], dim=1)
        weight = weight.contiguous(memory_format=torch.channels_last)
        if conv.in_channels >= _MIN_CHANNELS:
            weight = torch.ops.mkldnn._reorder_convolution_weight(
                weight,
                conv.padding,
                conv.stride,
                conv.dilation,
                conv.groups,
                [1, conv.in_channels, _TYPICAL_SIZE, _TYPICAL_SIZE],
            )
        self.packed_weight = weight
        self.packed_bias = None if conv.bias is None else conv.bias.detach().to(dtype)

    def forward(self, x: Tensor) -> Tensor:
        if self.splits:
            high = x.to(self.dtype)
            low = (x - high).to(self.dtype)
            x = torch.cat([high, low, high], dim=1).contiguous(memory_format=torch.channels_last)
        elif x.shape[1] == 1:  # NHWC strides, which a single channel leaves undetermined
            x = x.as_strided(x.shape, (x.stride(0), 1, x.stride(2), x.stride(3)))
        return torch.ops.mkldnn._convolution_pointwise(
            x.to(self.dtype),
            self.packed_weight,
            self.packed_bias,
            self.padding,
            self.stride,
            self.dilation,
            self.groups,
            self.attribute,
            self.scalars,
            '',
        )


def _attribute(activation: nn.Module | None) -> tuple[str, list[float]]:
    """oneDNN's name of an activation and its parameters."""
    if isinstance(activation, nn.LeakyReLU):
        return 'leaky_relu', [activation.negative_slope]
    return ('relu', []) if isinstance(activation, nn.ReLU) else ('none', [])


class SingleChannelConv2d(nn.Module):
    """A 3 × 3 convolution to one channel, for which oneDNN would compute sixteen: y(p) = Σₜ wₜ·x(p + t) + b.

    One matrix product gives wₜ·x of all nine taps t, which are then added up, each shifted by its t. A squeeze and
    excitation of x costs nothing in this form: its gate goes into w.

    Shape legend: x (B, C, H, W), products (B, 9, H, W), y (B, 1, H, W) in float32.

    Args:
        conv: The convolution.
        dtype: Type of the products.
        gate: Applied to x before it.
    """

    def __init__(self, conv: nn.Conv2d, dtype: torch.dtype, gate: SqueezeExcitation | None = None) -> None:
        super().__init__()
        self.weight, self.bias, self.gate, self.dtype = conv.weight, conv.bias, gate, dtype

    def forward(self, x: Tensor) -> Tensor:
        x = x.to(self.dtype)
        weight = self.weight.reshape(1, x.shape[1], 9)
        if self.gate is not None:
            weight = weight * self.gate.excitation(x.mean(dim=(2, 3), keepdim=True)).flatten(2)
        products = self._products(x, weight.to(self.dtype).expand(len(x), -1, -1))
        y = products[:, 4:5] if self.bias is None else products[:, 4:5] + self.bias
        height, width = x.shape[-2:]
        for tap in (0, 1, 2, 3, 5, 6, 7, 8):
            rows_read, rows_written = _overlap(tap // 3 - 1, height)
            columns_read, columns_written = _overlap(tap % 3 - 1, width)
            y[..., rows_written, columns_written] += products[:, tap : tap + 1, rows_read, columns_read]
        return y

    def _products(self, x: Tensor, weight: Tensor) -> Tensor:
        pixels = x.permute(0, 2, 3, 1).flatten(1, 2)  # (B, H·W, C), a view in channels_last
        # MKL is fast with the long side last, oneDNN's bfloat16 with it first.
        if self.dtype is torch.float32:
            products = weight.transpose(1, 2) @ pixels.transpose(1, 2)
        else:
            products = (pixels @ weight).transpose(1, 2).float().contiguous()
        return products.unflatten(2, x.shape[-2:])


def _overlap(shift: int, length: int) -> tuple[slice, slice]:
    """Where an axis is read and written when its values move by −shift and what leaves it is dropped."""
    stop = length - abs(shift)
    return slice(max(0, shift), max(0, shift) + stop), slice(max(0, -shift), max(0, -shift) + stop)


def fuse_convolutions(network: nn.Module, dtype: torch.dtype) -> None:
    """Replace the convolutions of a network by these forms, in place.

    In a Sequential an activation behind a convolution (and an Identity) is taken in. A squeeze and excitation is
    taken into the ``final_conv`` behind it.
    """
    for module in network.modules():
        gate, conv = getattr(module, 'channel_attention', None), getattr(module, 'final_conv', None)
        if isinstance(gate, SqueezeExcitation) and isinstance(conv, nn.Conv2d) and _has_single_output(conv):
            module.final_conv = SingleChannelConv2d(conv, dtype, gate)
            module.channel_attention = nn.Identity()
    for sequence in [module for module in network.modules() if isinstance(module, nn.Sequential)]:
        for index, layer in enumerate(sequence):
            following = index + 1
            while following < len(sequence) and isinstance(sequence[following], nn.Identity):
                following += 1
            if _fusible(layer) and following < len(sequence):
                activation = sequence[following]
                if isinstance(activation, nn.ReLU | nn.LeakyReLU):
                    sequence[index] = FusedConv2d(layer, activation, dtype)  # type: ignore[arg-type]
                    sequence[following] = nn.Identity()
    for module in list(network.modules()):
        for name, child in module.named_children():
            if _has_single_output(child):
                setattr(module, name, SingleChannelConv2d(child, dtype))  # type: ignore[arg-type]
            elif _fusible(child):
                setattr(module, name, FusedConv2d(child, None, dtype))  # type: ignore[arg-type]


def _fusible(module: nn.Module) -> bool:
    return (
        type(module) is nn.Conv2d and module.padding_mode == 'zeros' and not isinstance(module.padding, str)
    )


def _has_single_output(module: nn.Module) -> bool:
    return (
        isinstance(module, nn.Conv2d)
        and _fusible(module)
        and module.out_channels == 1
        and module.in_channels >= _MIN_CHANNELS
        and module.groups == 1
        and (module.kernel_size, module.padding, module.stride, module.dilation)
        == ((3, 3), (1, 1), (1, 1), (1, 1))
    )
