"""An equivalent, faster form of a network for inference.

Nothing here is approximate; results differ by rounding alone. What is done:

* BatchNorm is folded into the convolution before it.
* Weights and features lie in channels_last order, in which oneDNN and cuDNN convolve without reordering.
* On a CPU, a convolution and the activation behind it become one oneDNN call with weights reordered
  beforehand (:class:`FusedConv2d`).
* Attention modules are replaced by forms of the same formula whose reductions suit channels_last.
* GroupNorm keeps its accuracy in that order (:class:`AccurateGroupNorm`).
* LRRNet's learned scale of a residual branch is multiplied into the convolution before it.
* What only the reconstruction D of the last stage needs is not computed (``network.detect``).
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

from drpca.errors import unknown_name
from drpca.models.detector import DetectionModel
from drpca.models.drpcanet import DynamicSpatialAttention
from drpca.models.layers import ChannelAttention
from drpca.models.lrrnet import ResidualBlock

PRECISIONS = {'fp32': torch.float32, 'bf16': torch.bfloat16, 'fp16': torch.float16}
# Fewer input channels than this gain nothing from reordered weights.
_MIN_PACKED_CHANNELS = 16
_TYPICAL_SIZE = 256


def optimise_model(
    model: DetectionModel,
    device: torch.device,
    precision: str = 'fp32',
    optimise: bool = True,
    compile: bool = False,
) -> DetectionModel:
    """A copy of a model, ready for inference on a device.

    Args:
        model: With weights; left as it is.
        device: Where the copy goes.
        precision: ``'fp32'``, ``'bf16'`` or ``'fp16'``; the last two run convolutions in half precision.
        optimise: False: the network as it was trained.
        compile: Run the network's ``detect`` through ``torch.compile``.

    Raises:
        UserError: Unknown precision.
    """
    if precision not in PRECISIONS:
        raise unknown_name('precision', precision, list(PRECISIONS))
    dtype = PRECISIONS[precision]
    model = copy.deepcopy(model).eval().requires_grad_(False)
    model.precision = dtype
    if optimise:
        fold_batch_norm(model.network)
        replace_modules(model.network)
        model.memory_format = torch.channels_last
    model.to(device, memory_format=model.memory_format)
    if compile and hasattr(model.network, 'detect'):
        model.network.detect = torch.compile(model.network.detect, dynamic=True)
    elif compile:
        model.network.compile(dynamic=True)
    elif optimise and device.type == 'cpu' and can_fuse(dtype):
        fuse_convolutions(model.network, dtype)
    return model


def fold_batch_norm(network: nn.Module) -> None:
    """Fold each BatchNorm that follows a convolution in a Sequential into it, in place.

    w' = w·γ/√(σ² + ε) per output channel, b' = (b − μ)·γ/√(σ² + ε) + β.
    """
    for sequence in _sequences(network):
        for index in range(len(sequence) - 1):
            first, second = sequence[index], sequence[index + 1]
            if not (isinstance(first, nn.Conv2d) and isinstance(second, nn.BatchNorm2d)):
                continue
            if second.running_mean is not None:
                sequence[index] = fuse_conv_bn_eval(first, second)
                sequence[index + 1] = nn.Identity()


def _sequences(network: nn.Module) -> list[nn.Sequential]:
    return [module for module in network.modules() if isinstance(module, nn.Sequential)]


# Modules of the same formula, laid out for speed


class FastChannelAttention(nn.Module):
    """:class:`drpca.models.layers.ChannelAttention`; ``amax`` is slow in half precision on a CPU."""

    def __init__(self, attention: ChannelAttention) -> None:
        super().__init__()
        self.fc = attention.fc

    def forward(self, x: Tensor) -> Tensor:
        mean, peak = self.fc(F.adaptive_avg_pool2d(x, 1)), self.fc(F.adaptive_max_pool2d(x, 1))
        return x * torch.sigmoid(mean + peak)


class FastDynamicSpatialAttention(nn.Module):
    """:class:`drpca.models.drpcanet.DynamicSpatialAttention` with one group of a convolution per image."""

    def __init__(self, attention: DynamicSpatialAttention) -> None:
        super().__init__()
        self.kernel_generator = attention.kernel_generator

    def forward(self, x: Tensor) -> Tensor:
        batch, channels, height, width = x.shape
        kernel = self.kernel_generator(x).reshape(batch, 1, 3, 3)
        mean = F.conv2d(x, x.new_full((1, channels, 1, 1), 1 / channels))
        response = F.conv2d(mean.reshape(1, batch, height, width), kernel, padding=1, groups=batch)
        return x * torch.sigmoid(response).reshape(batch, 1, height, width)


def replace_modules(network: nn.Module) -> None:
    """Put faster modules of the same formula into a network, in place."""
    for module in list(network.modules()):
        if isinstance(module, ResidualBlock):
            _absorb_scale(module)
        elif isinstance(module, nn.GroupNorm):
            module.__class__ = AccurateGroupNorm
        for name, child in module.named_children():
            if isinstance(child, ChannelAttention):
                setattr(module, name, FastChannelAttention(child))
            elif isinstance(child, DynamicSpatialAttention):
                setattr(module, name, FastDynamicSpatialAttention(child))


class AccurateGroupNorm(nn.GroupNorm):
    """GroupNorm whose float32 statistics in channels_last are as exact as in the default order.

    PyTorch's own kernel for channels_last on a CPU adds a group's values one after the other, which costs LRRNet
    1e-3 on its logits. Other types and devices take PyTorch's.
    """

    def forward(self, x: Tensor) -> Tensor:
        if x.dtype is not torch.float32 or x.device.type != 'cpu':
            return super().forward(x)
        groups = (x.shape[0], self.num_groups, -1)
        mean = x.mean(dim=(2, 3)).reshape(groups).mean(dim=2, keepdim=True)
        square = (x * x).mean(dim=(2, 3)).reshape(groups).mean(dim=2, keepdim=True)
        scale = torch.rsqrt(square - mean * mean + self.eps) * self.weight.view(1, self.num_groups, -1)
        shift = self.bias.view(1, self.num_groups, -1) - mean * scale
        per_channel = (x.shape[0], x.shape[1], 1, 1)
        return torch.addcmul(shift.reshape(per_channel), x, scale.reshape(per_channel))


class _ScaledResidualBlock(ResidualBlock):
    """LRRNet's residual block whose scale is in the weights of its second convolution."""

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv_1(F.relu_(self.norm_1(x)))
        y = self.conv_2(F.relu_(self.norm_2(y)))
        return self.attention(y + self.residual_connection(x))


def _absorb_scale(block: ResidualBlock) -> None:
    convolution: Any = block.conv_2[1]
    scale = block.scale.flatten()
    with torch.no_grad():
        convolution.weight *= scale[:, None, None, None]
        convolution.bias *= scale
    block.__class__ = _ScaledResidualBlock


# oneDNN


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
        self.attribute, self.scalars = _attribute(activation)
        weight = conv.weight.detach().to(dtype).contiguous(memory_format=torch.channels_last)
        if conv.in_channels >= _MIN_PACKED_CHANNELS:
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
        if x.shape[1] == 1:  # NHWC strides, which a single channel leaves undetermined
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


def fuse_convolutions(network: nn.Module, dtype: torch.dtype) -> None:
    """Replace the convolutions of a network by :class:`FusedConv2d`, in place.

    In a Sequential an activation behind a convolution (and an Identity) is taken in.
    """
    for sequence in _sequences(network):
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
            if _fusible(child):
                setattr(module, name, FusedConv2d(child, None, dtype))  # type: ignore[arg-type]


def _fusible(module: nn.Module) -> bool:
    return (
        type(module) is nn.Conv2d and module.padding_mode == 'zeros' and not isinstance(module.padding, str)
    )
