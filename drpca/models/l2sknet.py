"""L2SKNet (Wu et al., Saliency at the Helm: Steering Infrared Small Target Detection With Learnable
Kernels, TGRS 2025).

Skips pass through learnable local saliency kernels: a convolution W answers with the difference of
surroundings and centre,

    y = W_sum x − W x + θ(x)·W_c x

where W_sum is the 1 × 1 convolution with W's taps summed, W_c the one with its central tap, and θ a
channel gate. Two skeletons (U-Net and FPN) and two kernels (k × k, or 1 × k followed by k × 1).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from drpca.registry import MODELS

from .comparator_layers import Comparator, FCNHead, PooledGate, check_image, conv_bn, resize, same_conv, stack

WIDTHS = (16, 32, 64, 128)
# Kernel sizes and dilations of the saliency kernels on each level.
SQUARE_KERNELS = (((9, 2), (5, 2), (3, 2), (3, 1)), ((5, 2), (3, 2), (3, 1)), ((3, 2), (3, 1)), ((3, 1),))
SEPARABLE_KERNELS = ((17, 9, 5, 3), (9, 5, 3), (5, 3), (3,))
SEPARABLE_UNUSED = ('contrast*.conv.weight',)


class SaliencyKernel(nn.Module):
    """The saliency kernel of the module's docstring, k × k with a dilation."""

    def __init__(self, channels: int, kernel_size: int, dilation: int = 1) -> None:
        super().__init__()
        self.conv = same_conv(channels, channels, kernel_size, dilation=dilation, bias=False)
        self.attn = PooledGate(channels, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        weight = self.conv.weight
        middle = weight.shape[-1] // 2
        summed = F.conv2d(x, weight.sum(dim=(2, 3), keepdim=True))
        central = F.conv2d(x, weight[:, :, middle, middle, None, None])
        return summed - self.conv(x) + self.attn(x) * central


class SeparableSaliencyKernel(nn.Module):
    """The saliency kernel with W x = (k × 1)((1 × k)(x)).

    W_sum and W_c take the outer product of both kernels for every (output, input) pair, as published;
    this is not the kernel of the composed convolution. ``conv`` never runs.
    """

    def __init__(self, channels: int, kernel_size: int) -> None:
        super().__init__()
        middle = kernel_size // 2
        self.conv = same_conv(channels, channels, kernel_size, bias=False)
        self.conv_1xn = nn.Conv2d(channels, channels, (1, kernel_size), padding=(0, middle))
        self.conv_nx1 = nn.Conv2d(channels, channels, (kernel_size, 1), padding=(middle, 0))
        self.attn = PooledGate(channels, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        row, column = self.conv_1xn.weight, self.conv_nx1.weight
        middle = row.shape[-1] // 2
        summed = F.conv2d(x, row.sum(dim=3, keepdim=True) * column.sum(dim=2, keepdim=True))
        central = F.conv2d(x, row[:, :, :, middle, None] * column[:, :, middle, :, None])
        return summed - self.conv_nx1(self.conv_1xn(x)) + self.attn(x) * central


class SaliencyNetwork(Comparator):
    """Saliency kernels of the four levels, which U-Net and FPN share.

    Args:
        in_channels: Channels of the image.

    Attributes:
        separable: Kernels 1 × k and k × 1 rather than k × k.
    """

    separable = False
    min_train_batch = 2

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.in_channels = in_channels
        for level, width in enumerate(WIDTHS):
            kernels: list[nn.Module] = (
                [SeparableSaliencyKernel(width, size) for size in SEPARABLE_KERNELS[level]]
                if self.separable
                else [SaliencyKernel(width, *kernel) for kernel in SQUARE_KERNELS[level]]
            )
            for index, kernel in enumerate(kernels):
                name = f'contrast{level}_{index}' if level < 3 else 'contrast3'
                self.add_module(name, nn.Sequential(kernel, nn.BatchNorm2d(width), nn.LeakyReLU(0.1)))
            if level < 3:
                self.add_module(f'contrConV_{level}', nn.Sequential(*conv_bn(width, width, bias=False)))

    def contrast(self, features: list[Tensor]) -> list[Tensor]:
        """Saliency of each level's features (B, C, H, W), same shapes."""
        result = []
        for level, x in enumerate(features[:3]):
            kernels = range(len(SQUARE_KERNELS[level]))
            total = sum(self.get_submodule(f'contrast{level}_{index}')(x) for index in kernels)
            result.append(self.get_submodule(f'contrConV_{level}')(total))
        return [*result, self.get_submodule('contrast3')(features[3])]


class ConvBlock(nn.Module):
    """Twice conv3, BN, ReLU."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = nn.Sequential(*conv_bn(in_channels, out_channels), *conv_bn(out_channels, out_channels))

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)


class UpBlock(nn.Module):
    """Nearest ×2, conv3, BN, ReLU."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.up = nn.Sequential(nn.Upsample(scale_factor=2), *conv_bn(in_channels, out_channels))

    def forward(self, x: Tensor) -> Tensor:
        return self.up(x)


@MODELS.register_module()
class L2SKNet(SaliencyNetwork):
    """L2SKNet on a U-Net, 898,913 parameters as published ("L2SKNet_UNet").

    Published training: x/255, batch-wise SoftIoU, Adam 5e-4, batch 8, 400 epochs, × 0.1 at 200 and 300.

    Args:
        in_channels: Channels of the image.
    """

    size_multiple = 8

    def __init__(self, in_channels: int = 1) -> None:
        super().__init__(in_channels)
        before = in_channels
        for level, width in enumerate(WIDTHS, start=1):
            self.add_module(f'Conv{level}', ConvBlock(before, width))
            before = width
        for level in (4, 3, 2):
            width, above = WIDTHS[level - 1], WIDTHS[level - 2]
            self.add_module(f'Up{level}', UpBlock(width, above))
            self.add_module(f'Up_conv{level}', ConvBlock(2 * above, above))
        self.Conv = same_conv(WIDTHS[0], 1, 1)

    def forward(self, image: Tensor) -> tuple[Tensor]:
        """(B, in_channels, H, W) → target logits (B, 1, H, W)."""
        check_image(self, image)
        x = image
        features = []
        for level in (1, 2, 3, 4):
            x = self.get_submodule(f'Conv{level}')(F.max_pool2d(x, 2) if level > 1 else x)
            features.append(x)
        *skips, x = self.contrast(features)
        for level in (4, 3, 2):
            x = torch.cat([skips.pop(), self.get_submodule(f'Up{level}')(x)], dim=1)
            x = self.get_submodule(f'Up_conv{level}')(x)
        return (self.Conv(x),)


class Block(nn.Module):
    """ReLU(body(x) + shortcut), body = conv3, BN, ReLU, conv3, BN without biases."""

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *conv_bn(in_channels, out_channels, stride=stride, bias=False),
            *conv_bn(out_channels, out_channels, bias=False, relu=False),
        )
        self.shortcut: nn.Module | None = None
        if stride != 1 or in_channels != out_channels:
            layers = conv_bn(in_channels, out_channels, 1, stride=stride, bias=False, relu=False)
            self.shortcut = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.body(x) + (x if self.shortcut is None else self.shortcut(x)))


class TopDown(nn.Module):
    """low + feature_high(high), high resized to low."""

    def __init__(self, high_channels: int, low_channels: int) -> None:
        super().__init__()
        self.feature_high = nn.Sequential(*conv_bn(high_channels, low_channels, 1))

    def forward(self, high: Tensor, low: Tensor) -> Tensor:
        return low + self.feature_high(resize(high, low.shape[-2:]))


@MODELS.register_module()
class L2SKNetFPN(SaliencyNetwork):
    """L2SKNet on a feature pyramid, 1,071,053 parameters as published ("L2SKNet_FPN"), any image size.

    Published training: as `L2SKNet`.

    Args:
        in_channels: Channels of the image.
    """

    def __init__(self, in_channels: int = 1) -> None:
        super().__init__(in_channels)
        before = in_channels
        for level, width in enumerate(WIDTHS):
            self.add_module(f'layer{level}', stack(Block, before, width, 2, stride=2 if level else 1))
            before = width
        self.fuse32 = TopDown(WIDTHS[3], WIDTHS[2])
        self.fuse21 = TopDown(WIDTHS[2], WIDTHS[1])
        self.fuse10 = TopDown(WIDTHS[1], WIDTHS[0])
        self.head = FCNHead(WIDTHS[0])

    def forward(self, image: Tensor) -> tuple[Tensor]:
        """(B, in_channels, H, W) → target logits (B, 1, H, W)."""
        check_image(self, image)
        x = image
        features = []
        for level in range(4):
            x = self.get_submodule(f'layer{level}')(x)
            features.append(x)
        c0, c1, c2, c3 = self.contrast(features)
        x = self.fuse10(self.fuse21(self.fuse32(c3, c2), c1), c0)
        return (self.head(x),)


@MODELS.register_module()
class L2SKNet1D(L2SKNet):
    """L2SKNet on a U-Net with kernels 1 × k and k × 1, 1,326,753 parameters ("L2SKNet_1D_UNet").

    507,904 of them, the k × k kernels it keeps, never run; they are there for the published files.

    Args:
        in_channels: Channels of the image.
    """

    separable = True
    unused_parameters = SEPARABLE_UNUSED


@MODELS.register_module()
class L2SKNet1DFPN(L2SKNetFPN):
    """L2SKNet on a feature pyramid with kernels 1 × k and k × 1, 1,498,893 parameters ("L2SKNet_1D_FPN").

    507,904 of them, the k × k kernels it keeps, never run; they are there for the published files.

    Args:
        in_channels: Channels of the image.
    """

    separable = True
    unused_parameters = SEPARABLE_UNUSED
