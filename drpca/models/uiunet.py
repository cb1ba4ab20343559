"""UIU-Net (Wu et al., UIU-Net: U-Net in U-Net for Infrared Small Object Detection, TIP 2023).

A U-Net whose every stage is a residual U-Net itself, with cross-attention between encoder and decoder
and a prediction from each decoder stage.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from drpca.registry import MODELS

from .comparator_layers import Comparator, channel_statistics, check_image, conv_bn, pooled_gate, resize, same_conv


def halve(x: Tensor) -> Tensor:
    """2 × 2 max-pooling; odd sizes are rounded up."""
    return F.max_pool2d(x, 2, ceil_mode=True)


class Unit(nn.Module):
    """ReLU(BN(dilated conv3(x)))."""

    batch_norms = {'conv_s1': 'bn_s1'}

    def __init__(self, in_channels: int, out_channels: int, dilation: int) -> None:
        super().__init__()
        self.conv_s1 = same_conv(in_channels, out_channels, dilation=dilation)
        self.bn_s1 = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn_s1(self.conv_s1(x)))


class ResidualUBlock(nn.Module):
    """x₀ + U(x₀), x₀ = unit(x), with a small U-Net U of ``depth`` levels.

    Args:
        in_channels: Channels of x.
        mid_channels: Width inside U.
        out_channels: Channels of x₀ and of the result.
        depth: Units on the way down. The last has dilation 2 and no pooling before it.
        flat: Keep the resolution: dilations 1, 2, 4, 8 in place of pooling ("RSU-4F").
    """

    def __init__(self, in_channels: int, mid_channels: int, out_channels: int, depth: int, flat: bool = False) -> None:
        super().__init__()
        self.depth = depth
        self.flat = flat
        dilations = [2**n for n in range(depth)] if flat else [1] * (depth - 1) + [2]
        self.rebnconvin = Unit(in_channels, out_channels, 1)
        for n, dilation in enumerate(dilations, start=1):
            before = out_channels if n == 1 else mid_channels
            self.add_module(f'rebnconv{n}', Unit(before, mid_channels, dilation))
        for n in range(depth - 1, 0, -1):
            after = out_channels if n == 1 else mid_channels
            self.add_module(f'rebnconv{n}d', Unit(2 * mid_channels, after, dilations[n - 1]))

    def forward(self, x: Tensor) -> Tensor:
        entry = self.rebnconvin(x)
        skips = []
        y = entry
        for n in range(1, self.depth + 1):
            if not self.flat and 1 < n < self.depth:
                y = halve(y)
            y = self.get_submodule(f'rebnconv{n}')(y)
            skips.append(y)
        for n in range(self.depth - 1, 0, -1):
            skip = skips[n - 1]
            y = self.get_submodule(f'rebnconv{n}d')(torch.cat([resize(y, skip.shape[-2:]), skip], dim=1))
        return y + entry


class SpatialScore(nn.Module):
    """conv3([channel mean, channel max]), (B, 1, H, W), without sigmoid."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = same_conv(2, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv1(torch.cat(channel_statistics(x), dim=1))


class CrossFusion(nn.Module):
    """Cross-attention of decoder (high) and encoder (skip): two maps of C channels, concatenated.

    h = feature_high(high), t = topdown(h), u = bottomup(skip·t); post(2·skip·t) and post(2·h·u), in this
    order: both pass the same ``post``, whose running statistics move twice per training step.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.feature_high = nn.Sequential(*conv_bn(channels, channels, 1))
        self.topdown = pooled_gate(channels)
        self.bottomup = nn.Sequential(*conv_bn(channels, channels // 4, 1), SpatialScore(), nn.Sigmoid())
        self.post = nn.Sequential(*conv_bn(channels, channels))

    def forward(self, high: Tensor, skip: Tensor) -> Tensor:
        high = self.feature_high(high)
        gated = skip * self.topdown(high)
        low = self.post(2 * gated)
        return torch.cat([low, self.post(2 * high * self.bottomup(gated))], dim=1)


@MODELS.register_module()
class UIUNet(Comparator):
    """UIU-Net, 50,540,309 parameters as published with one channel (50,541,461 with three).

    ``target`` is the fused map d0, ``aux1`` … ``aux6`` are the side outputs d1 … d6 at the image's
    resolution. Published training: image/max, (x − 0.485)/0.229, crop 288, batch 3, Adam 1e-3, 500 epochs,
    sum of seven mean binary cross-entropies.

    Args:
        in_channels: Channels of the image.
    """

    outputs = ('target', 'aux1', 'aux2', 'aux3', 'aux4', 'aux5', 'aux6')
    min_train_batch = 2

    def __init__(self, in_channels: int = 1) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.stage1 = ResidualUBlock(in_channels, 32, 64, depth=7)
        self.stage2 = ResidualUBlock(64, 32, 128, depth=6)
        self.stage3 = ResidualUBlock(128, 64, 256, depth=5)
        self.stage4 = ResidualUBlock(256, 128, 512, depth=4)
        self.stage5 = ResidualUBlock(512, 256, 512, depth=4, flat=True)
        self.stage6 = ResidualUBlock(512, 256, 512, depth=4, flat=True)
        self.stage5d = ResidualUBlock(1024, 256, 512, depth=4, flat=True)
        self.stage4d = ResidualUBlock(1024, 128, 256, depth=4)
        self.stage3d = ResidualUBlock(512, 64, 128, depth=5)
        self.stage2d = ResidualUBlock(256, 32, 64, depth=6)
        self.stage1d = ResidualUBlock(128, 16, 64, depth=7)
        self.fuse5 = CrossFusion(512)
        self.fuse4 = CrossFusion(512)
        self.fuse3 = CrossFusion(256)
        self.fuse2 = CrossFusion(128)
        for level, width in enumerate((64, 64, 128, 256, 512, 512), start=1):
            self.add_module(f'side{level}', same_conv(width, 1))
        self.outconv = same_conv(6, 1, 1)

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """(B, in_channels, H, W) of any size → seven maps of logits, each (B, 1, H, W)."""
        check_image(self, image)
        skips = [self.stage1(image)]
        for level in range(2, 7):
            skips.append(self.get_submodule(f'stage{level}')(halve(skips[-1])))
        x = skips.pop()
        decoded = [x]
        for level in range(5, 0, -1):
            skip = skips.pop()
            x = resize(x, skip.shape[-2:])
            x = self.get_submodule(f'fuse{level}')(x, skip) if level > 1 else torch.cat([x, skip], dim=1)
            x = self.get_submodule(f'stage{level}d')(x)
            decoded.insert(0, x)
        sides = [
            resize(self.get_submodule(f'side{level}')(x), image.shape[-2:]) for level, x in enumerate(decoded, start=1)
        ]
        return (self.outconv(torch.cat(sides, dim=1)), *sides)
