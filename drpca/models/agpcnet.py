"""AGPCNet (Zhang et al., Attention-Guided Pyramid Context Networks for Detecting Infrared Small Target
Under Complex Background, TAES 2023).

A ResNet-18 without its early pooling; on its deepest features a pyramid of context blocks, each of
which runs non-local attention inside the patches of a grid, guided by attention between the patches.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from drpca.registry import MODELS

from .comparator_layers import (
    BasicBlock,
    Comparator,
    FCNHead,
    check_image,
    conv_bn,
    pointwise_gate,
    pooled_gate,
    resize,
    same_conv,
    stack,
)


class Backbone(nn.Module):
    """ResNet-18, first convolution with stride 1, no max-pool: 128, 256, 512 channels at 1/2, 1/4, 1/8."""

    batch_norms = {'conv1': 'bn1'}

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.conv1 = same_conv(in_channels, 64, 7, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.layer1 = stack(BasicBlock, 64, 64, 2)
        self.layer2 = stack(BasicBlock, 64, 128, 2, stride=2)
        self.layer3 = stack(BasicBlock, 128, 256, 2, stride=2)
        self.layer4 = stack(BasicBlock, 256, 512, 2, stride=2)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        c1 = self.layer2(self.layer1(F.relu(self.bn1(self.conv1(image)))))
        c2 = self.layer3(c1)
        return c1, c2, self.layer4(c2)


class NonLocal(nn.Module):
    """γ·softmax(qᵀk)·v + x over all positions, unscaled (Wang et al., CVPR 2018); γ learned, initially 0."""

    def __init__(self, channels: int, reduction: int) -> None:
        super().__init__()
        self.query_conv = same_conv(channels, channels // reduction, 1)
        self.key_conv = same_conv(channels, channels // reduction, 1)
        self.value_conv = same_conv(channels, channels, 1)
        self.gamma = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = (
            project(x).flatten(2).transpose(1, 2)[:, None]  # (B, 1, HW, C): one head
            for project in (self.query_conv, self.key_conv, self.value_conv)
        )
        y = F.scaled_dot_product_attention(query, key, value, scale=1.0)
        return self.gamma * y[:, 0].transpose(1, 2).view_as(x) + x


class PatchGuide(nn.Module):
    """One weight in (0, 1) per channel and patch, (B, C, s, s), from the patches' maxima."""

    def __init__(self, channels: int, scale: int, reduction: int) -> None:
        super().__init__()
        self.pool = nn.AdaptiveMaxPool2d(scale)
        self.non_local_att = NonLocal(channels, reduction=1)
        self.conv_att = pointwise_gate(channels, reduction)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv_att(self.non_local_att(self.pool(x)))


def patch_spans(length: int, scale: int) -> list[tuple[int, int, int]]:
    """Cut a side into ``scale`` patches, the last taking the rest: (start, patches, size) of both kinds."""
    step = length // scale
    start = step * (scale - 1)
    return [(0, scale - 1, step), (start, 1, length - start)]


class ContextBlock(nn.Module):
    """Attention-guided context block on an s × s grid of patches (s ≥ 2), ReLU(γ·BN(conv3(y)) + x).

    Patches of equal size are stacked along the batch: (B·rows·columns, C, height, width).
    """

    def __init__(self, channels: int, scale: int, reduction: int) -> None:
        super().__init__()
        self.scale = scale
        self.attention = PatchGuide(channels, scale, reduction)
        self.non_local = NonLocal(channels, reduction)
        self.conv = nn.Sequential(*conv_bn(channels, channels, relu=False))
        self.gamma = nn.Parameter(torch.zeros(1))

    def _attend(self, x: Tensor, guide: Tensor) -> Tensor:
        """A part with patches of one size: x (B, C, rows·h, columns·w), guide (B, C, rows, columns)."""
        batch, channels, rows, columns = guide.shape
        patches = x.reshape(batch, channels, rows, x.shape[2] // rows, columns, -1).permute(0, 2, 4, 1, 3, 5)
        y = self.non_local(patches.flatten(0, 2)) * guide.permute(0, 2, 3, 1).reshape(-1, channels, 1, 1)
        return y.view(patches.shape).permute(0, 3, 1, 4, 2, 5).reshape(x.shape)

    def forward(self, x: Tensor) -> Tensor:
        guide = self.attention(x)
        last = self.scale - 1
        rows = []
        for top, num_rows, height in patch_spans(x.shape[2], self.scale):
            band = x[:, :, top : top + num_rows * height]
            band_guide = guide[:, :, :last] if top == 0 else guide[:, :, last:]
            parts = []
            for left, num_columns, width in patch_spans(x.shape[3], self.scale):
                part_guide = band_guide[..., :last] if left == 0 else band_guide[..., last:]
                parts.append(self._attend(band[..., left : left + num_columns * width], part_guide))
            rows.append(torch.cat(parts, dim=3))
        return F.relu(self.gamma * self.conv(torch.cat(rows, dim=2)) + x)


class ContextPyramid(nn.Module):
    """Context blocks of several scales on channels reduced by 16, concatenated and expanded again."""

    def __init__(self, channels: int, scales: Sequence[int]) -> None:
        super().__init__()
        reduced = channels // 16
        self.conv1 = nn.Sequential(*conv_bn(channels, reduced, 1))
        self.scale_list = nn.ModuleList(ContextBlock(reduced, scale, reduction=4) for scale in scales)
        self.conv2 = nn.Sequential(*conv_bn(reduced * (len(scales) + 1), channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        reduced = self.conv1(x)
        return self.conv2(torch.cat([reduced, *(block(reduced) for block in self.scale_list)], dim=1))


class AsymmetricFusion(nn.Module):
    """end_conv(low + h)·ca(h)·pa(low) with h = plus_conv(high); high already has the size of low."""

    def __init__(self, high_channels: int, low_channels: int) -> None:
        super().__init__()
        self.plus_conv = nn.Sequential(*conv_bn(high_channels, low_channels, 1))
        self.pa = pointwise_gate(low_channels)
        self.ca = pooled_gate(low_channels)
        self.end_conv = nn.Sequential(*conv_bn(low_channels, low_channels))

    def forward(self, high: Tensor, low: Tensor) -> Tensor:
        high = self.plus_conv(resize(high, low.shape[-2:], align_corners=True))
        return self.end_conv(low + high) * self.ca(high) * self.pa(low)


@MODELS.register_module()
class AGPCNet(Comparator):
    """AGPCNet, 12,360,461 parameters as published ("agpcnet_1", three channels).

    Published training: RGB copy, ImageNet mean and std, size 256, per-sample SoftIoU, SGD 0.05, poly 0.9,
    batch 8, 5 epochs.

    Args:
        in_channels: Channels of the image.
        scales: Patches per side of each context block, at least 2; (10, 6, 5, 4) is "agpcnet_2". The largest
            decides the smallest image, 8 pixels per patch.
    """

    min_train_batch = 2

    def __init__(self, in_channels: int = 3, scales: Sequence[int] = (10, 6, 5, 3)) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.min_size = max(type(self).min_size, 8 * max(scales))
        self.backbone = Backbone(in_channels)
        self.context = ContextPyramid(512, scales)
        self.fuse23 = AsymmetricFusion(512, 256)
        self.fuse12 = AsymmetricFusion(256, 128)
        self.head = FCNHead(128, bias=True)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode='fan_out', nonlinearity='relu')

    def forward(self, image: Tensor) -> tuple[Tensor]:
        """(B, in_channels, H, W) → target logits (B, 1, H, W)."""
        check_image(self, image)
        c1, c2, c3 = self.backbone(image)
        x = self.fuse23(self.context(c3), c2)
        x = self.fuse12(x, c1)
        return (resize(self.head(x), image.shape[-2:], align_corners=True),)
