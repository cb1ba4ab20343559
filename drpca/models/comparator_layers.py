"""What the comparator networks share: their declaration, input check and the blocks that really are the same.

A block lives here only if at least two published networks use it with the same parameter names.
Shape legend: (B, C, H, W) is (images, channels, rows, columns).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from drpca.errors import UserError


class Comparator(nn.Module):
    """A published network that is compared with the unfolded ones, and what it declares about itself.

    ``forward(image)`` takes (B, in_channels, H, W) and returns a tuple of logits named by ``outputs``, the
    same ones in training and in evaluation mode.

    Attributes:
        outputs: Meaning of each returned map. ``'target'`` is the prediction, ``'aux1'``, … are side
            outputs for deep supervision in the published order, ``'edge'`` is an edge map.
        in_channels: Channels of the image.
        size_multiple: H and W must be multiples of this (pad the image, crop the output).
        min_size: Smallest H and W, where the multiple does not say it.
        min_train_batch: Smallest batch in training mode; 2 where globally pooled (1 × 1) maps are
            batch-normalised, which a single image does not allow.
        unused_parameters: Patterns (``fnmatch``) of state dict names that the published network owns but
            never uses. They are there so that published files load strictly; an export can drop them.
    """

    outputs: tuple[str, ...] = ('target',)
    in_channels: int = 1
    size_multiple: int = 1
    min_size: int = 1
    min_train_batch: int = 1
    unused_parameters: tuple[str, ...] = ()


def check_image(network: Any, image: Tensor) -> None:
    """Check an input against what the network declares (see `Comparator`).

    Raises:
        UserError: Wrong number of dimensions, channels or images, or a size the network cannot take.
    """
    if torch.jit.is_tracing():
        return  # sizes are symbols here; whoever traces passes a legal example
    name = type(network).__name__
    channels, multiple, smallest = network.in_channels, network.size_multiple, network.min_size
    if image.ndim != 4 or image.shape[1] != channels:
        raise UserError(
            f'{name} expects images of shape (batch, {channels}, height, width), but got '
            f'{tuple(image.shape)}: repeat or select channels, or set in_channels where the network has it.'
        )
    height, width = image.shape[-2:]
    if min(height, width) < smallest or height % multiple or width % multiple:
        raise UserError(
            f'{name} expects sides of at least {smallest} that are multiples of {multiple}, but got '
            f'{height} x {width}: pad the image and crop the output (the detector does both).'
        )
    if network.training and image.shape[0] < network.min_train_batch:
        raise UserError(
            f'{name} needs at least {network.min_train_batch} images per batch in training mode, but got '
            f'{image.shape[0]}: it batch-normalises globally pooled maps, which have no variance within one '
            'image. Use a larger batch size and drop an incomplete last batch.'
        )


def same_conv(
    in_channels: int,
    out_channels: int,
    kernel_size: int = 3,
    *,
    stride: int = 1,
    dilation: int = 1,
    groups: int = 1,
    bias: bool = True,
) -> nn.Conv2d:
    """k × k convolution that keeps H × W at stride 1."""
    padding = dilation * (kernel_size - 1) // 2
    return nn.Conv2d(in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias)


def conv_bn(
    in_channels: int,
    out_channels: int,
    kernel_size: int = 3,
    *,
    stride: int = 1,
    bias: bool = True,
    momentum: float = 0.1,
    relu: bool = True,
) -> list[nn.Module]:
    """Convolution, BatchNorm and, if asked for, ReLU."""
    layers: list[nn.Module] = [
        same_conv(in_channels, out_channels, kernel_size, stride=stride, bias=bias),
        nn.BatchNorm2d(out_channels, momentum=momentum),
    ]
    return [*layers, nn.ReLU(inplace=True)] if relu else layers


def resize(x: Tensor, size: Iterable[int], align_corners: bool = False) -> Tensor:
    """Bilinear resampling to (H, W); returns ``x`` itself when it has that size."""
    target = tuple(size)
    if x.shape[-2:] == target:
        return x
    return F.interpolate(x, size=target, mode='bilinear', align_corners=align_corners)


def upsample(x: Tensor, factor: int = 2, align_corners: bool = True) -> Tensor:
    """Bilinear enlargement by an integer factor."""
    return F.interpolate(x, scale_factor=factor, mode='bilinear', align_corners=align_corners)


def channel_statistics(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and maximum over the channels, each (B, 1, H, W)."""
    return x.mean(dim=1, keepdim=True), x.amax(dim=1, keepdim=True)


def stack(
    block: Callable[..., nn.Module], in_channels: int, out_channels: int, depth: int = 1, **first: float
) -> nn.Sequential:
    """``depth`` blocks in a row; only the first changes the width and receives the options ``first``."""
    rest = (block(out_channels, out_channels) for _ in range(depth - 1))
    return nn.Sequential(block(in_channels, out_channels, **first), *rest)


def pointwise_gate(channels: int, reduction: int = 4, *, bias: bool = True, momentum: float = 0.1) -> nn.Sequential:
    """(B, C, H, W) → weights in (0, 1) of the same shape: conv1, BN, ReLU, conv1, BN, sigmoid."""
    hidden = channels // reduction
    return nn.Sequential(
        *conv_bn(channels, hidden, 1, bias=bias, momentum=momentum),
        *conv_bn(hidden, channels, 1, bias=bias, momentum=momentum, relu=False),
        nn.Sigmoid(),
    )


def pooled_gate(channels: int, reduction: int = 4, *, bias: bool = True, momentum: float = 0.1) -> nn.Sequential:
    """(B, C, H, W) → one weight in (0, 1) per channel, (B, C, 1, 1): the pointwise gate of the mean."""
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), *pointwise_gate(channels, reduction, bias=bias, momentum=momentum))


class PooledGate(nn.Module):
    """`pooled_gate` under the name that L2SKNet and RPCANet++ publish it."""

    def __init__(self, channels: int, *, bias: bool) -> None:
        super().__init__()
        self.avg_channel = pooled_gate(channels, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.avg_channel(x)


class FCNHead(nn.Module):
    """Logits from features: conv3 to a quarter of the channels, BN, ReLU, dropout 0.1, conv1."""

    def __init__(self, in_channels: int, out_channels: int = 1, *, bias: bool = False, momentum: float = 0.1) -> None:
        super().__init__()
        hidden = in_channels // 4
        self.block = nn.Sequential(
            *conv_bn(in_channels, hidden, bias=bias, momentum=momentum),
            nn.Dropout(0.1),
            same_conv(hidden, out_channels, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.block(x)


class BasicBlock(nn.Module):
    """The two-convolution residual block of ResNet-18 (He et al., CVPR 2016), torchvision's names."""

    batch_norms = {'conv1': 'bn1', 'conv2': 'bn2'}

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1, shortcut_momentum: float = 0.1) -> None:
        super().__init__()
        self.conv1 = same_conv(in_channels, out_channels, stride=stride, bias=False)
        self.bn1 = nn.BatchNorm2d(out_channels)
        self.conv2 = same_conv(out_channels, out_channels, bias=False)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.downsample: nn.Module | None = None
        if stride != 1 or in_channels != out_channels:
            self.downsample = nn.Sequential(
                *conv_bn(
                    in_channels, out_channels, 1, stride=stride, bias=False, momentum=shortcut_momentum, relu=False
                )
            )

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        y = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(y)) + shortcut)


def resnet_stem(in_channels: int, channels: int, momentum: float = 0.1) -> nn.Sequential:
    """Input BN, three 3 × 3 convolutions (the first with stride 2), max-pool: (2·channels, H/4, W/4)."""
    return nn.Sequential(
        nn.BatchNorm2d(in_channels, momentum=momentum),
        *conv_bn(in_channels, channels, stride=2, bias=False, momentum=momentum),
        *conv_bn(channels, channels, bias=False, momentum=momentum),
        *conv_bn(channels, 2 * channels, bias=False, momentum=momentum),
        nn.MaxPool2d(3, stride=2, padding=1),
    )


class ResidualBlock(nn.Module):
    """act(F(x) + shortcut(x)) with F = conv3, BN, act, conv3, BN; convolutions with bias.

    Args:
        in_channels: Channels of x.
        out_channels: Channels of the result. The shortcut is conv1 + BN where the two differ.
        negative_slope: 0 for ReLU, otherwise the slope of a leaky ReLU.
    """

    batch_norms = {'conv1': 'bn1', 'conv2': 'bn2'}

    def __init__(self, in_channels: int, out_channels: int, negative_slope: float = 0.0) -> None:
        super().__init__()
        self.conv1 = same_conv(in_channels, out_channels)
        self.bn1 = nn.BatchNorm2d(out_channels)
        self.conv2 = same_conv(out_channels, out_channels)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.activation = nn.LeakyReLU(negative_slope) if negative_slope else nn.ReLU()
        self.shortcut: nn.Module | None = None
        if in_channels != out_channels:
            self.shortcut = nn.Sequential(*conv_bn(in_channels, out_channels, 1, relu=False))

    def features(self, x: Tensor) -> Tensor:
        return self.bn2(self.conv2(self.activation(self.bn1(self.conv1(x)))))

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.shortcut is None else self.shortcut(x)
        return self.activation(self.features(x) + shortcut)


class CBAMBlock(ResidualBlock):
    """ResidualBlock with channel and spatial attention (CBAM, Woo et al., ECCV 2018) before the sum."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels)
        self.ca = ChannelAttention(out_channels)
        self.sa = SpatialAttention()

    def features(self, x: Tensor) -> Tensor:
        y = super().features(x)
        y = self.ca(y) * y
        return self.sa(y) * y


class ChannelAttention(nn.Module):
    """sigmoid(MLP(mean x) + MLP(max x)), (B, C, 1, 1), with one shared MLP C → C/16 → C without bias."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fc1 = same_conv(channels, channels // 16, 1, bias=False)
        self.fc2 = same_conv(channels // 16, channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        mean, peak = x.mean(dim=(2, 3), keepdim=True), x.amax(dim=(2, 3), keepdim=True)
        return torch.sigmoid(self.fc2(F.relu(self.fc1(mean))) + self.fc2(F.relu(self.fc1(peak))))


class SpatialAttention(nn.Module):
    """sigmoid(conv7([channel mean, channel max])), (B, 1, H, W)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = same_conv(2, 1, 7, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return torch.sigmoid(self.conv1(torch.cat(channel_statistics(x), dim=1)))
