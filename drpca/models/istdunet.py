"""ISTDU-Net (Hou et al., ISTDU-Net: Infrared Small-Target Detection U-Net, GRSL 2022).

A U-Net whose encoder is a small ResNeSt (split attention, Zhang et al., CVPRW 2022) and whose skips
pass through external attention (Guo et al., TPAMI 2023), which strengthens small targets among the
feature maps.
"""

from __future__ import annotations

import math
from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional as F

from drpca.registry import MODELS

from .comparator_layers import Comparator, check_image, conv_bn, same_conv, upsample

RADIX = 2
CARDINALITY = 4
WIDTHS = (16, 32, 64, 128)
DEPTHS = (1, 2, 4, 8)
STRIDES = (1, 2, 2, 2)
EXPANSION = 4
MEMORY = 64  # units of the external attention


class SplitAttention(nn.Module):
    """Two feature sets from one grouped convolution, mixed per channel by a softmax over the two.

    Shapes: x (B, g, H, W); features (B, 2, g, H, W), radix first; attention (B, 2, g, 1, 1).
    """

    batch_norms = {'conv': 'bn0', 'fc1': 'bn1'}

    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = max(channels * RADIX // 4, 32)
        self.conv = same_conv(channels, channels * RADIX, groups=CARDINALITY * RADIX, bias=False)
        self.bn0 = nn.BatchNorm2d(channels * RADIX)
        self.fc1 = same_conv(channels, hidden, 1, groups=CARDINALITY)
        self.bn1 = nn.BatchNorm2d(hidden)
        self.fc2 = same_conv(hidden, channels * RADIX, 1, groups=CARDINALITY)

    def forward(self, x: Tensor) -> Tensor:
        batch, channels = x.shape[:2]
        features = F.relu(self.bn0(self.conv(x))).unflatten(1, (RADIX, channels))
        pooled = features.sum(dim=1).mean(dim=(2, 3), keepdim=True)
        scores = self.fc2(F.relu(self.bn1(self.fc1(pooled))))
        # The scores come as (cardinality, radix, channels of a group): bring the radix to the front.
        scores = scores.view(batch, CARDINALITY, RADIX, -1).transpose(1, 2)
        attention = scores.softmax(dim=1).reshape(batch, RADIX, channels, 1, 1)
        return (attention * features).sum(dim=1)


class ResNeStBlock(nn.Module):
    """Bottleneck in → g → 4g with split attention; average pooling where the resolution halves."""

    batch_norms = {'conv1': 'bn1', 'conv3': 'bn3'}

    def __init__(self, in_channels: int, channels: int, stride: int, downsample: bool) -> None:
        super().__init__()
        out_channels = channels * EXPANSION
        self.conv1 = same_conv(in_channels, channels, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = SplitAttention(channels)
        self.pool = nn.AvgPool2d(3, stride, padding=1) if stride > 1 else nn.Identity()
        self.conv3 = same_conv(channels, out_channels, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out_channels)
        self.downsample: nn.Module | None = None
        if downsample:
            self.downsample = nn.Sequential(
                nn.AvgPool2d(stride, stride, ceil_mode=True, count_include_pad=False),
                *conv_bn(in_channels, out_channels, 1, bias=False, relu=False),
            )

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        y = self.pool(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(self.bn3(self.conv3(y)) + shortcut)


class Encoder(nn.Module):
    """Image → features of 64, 128, 256 and 512 channels at 1, 1/2, 1/4 and 1/8 of its resolution."""

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.BatchNorm2d(in_channels, affine=False), *conv_bn(in_channels, WIDTHS[0], bias=False)
        )
        self.down = nn.Module()
        before = WIDTHS[0]
        for level, (width, depth, stride) in enumerate(zip(WIDTHS, DEPTHS, STRIDES), start=1):
            blocks = [ResNeStBlock(before, width, stride, downsample=True)]
            before = width * EXPANSION
            blocks += [ResNeStBlock(before, width, 1, downsample=False) for _ in range(depth - 1)]
            self.down.add_module(f'layer{level}', nn.Sequential(*blocks))

    def forward(self, image: Tensor) -> list[Tensor]:
        x = self.stem(image)
        features = []
        for layer in self.down.children():
            x = layer(x)
            features.append(x)
        return features


class ExternalAttention(nn.Module):
    """x + BN(conv1(attention)) with a learned memory of 64 units in place of keys and values.

    Shapes: positions flattened to (B, C, HW); attention (B, 64, HW), softmax over the positions, then
    normalised over the units.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = same_conv(channels, channels, 1)
        self.linear_0 = nn.Conv1d(channels, MEMORY, 1, bias=False)
        self.linear_1 = nn.Conv1d(MEMORY, channels, 1, bias=False)
        self.conv2 = nn.Sequential(*conv_bn(channels, channels, 1, bias=False, relu=False))

    def forward(self, x: Tensor) -> Tensor:
        attention = self.linear_0(self.conv1(x).flatten(2)).softmax(dim=-1)
        attention = attention / (1e-9 + attention.sum(dim=1, keepdim=True))
        return x + self.conv2(self.linear_1(attention).view_as(x))


class Skips(nn.Module):
    """External attention of each encoder level."""

    def __init__(self) -> None:
        super().__init__()
        for level, width in enumerate(WIDTHS, start=1):
            self.add_module(f'X{level}', ExternalAttention(width * EXPANSION))

    def forward(self, features: list[Tensor]) -> list[Tensor]:
        return [attention(x) for attention, x in zip(self.children(), features)]


class Decoder(nn.Module):
    """Halve the channels, enlarge, add the skip; three times."""

    def __init__(self) -> None:
        super().__init__()
        widths = [width * EXPANSION for width in reversed(WIDTHS)]
        for level, (before, after) in enumerate(pairwise(widths), start=1):
            self.add_module(f'up{level}', nn.Sequential(*conv_bn(before, after, 1, bias=False)))

    def forward(self, features: list[Tensor]) -> Tensor:
        *skips, x = features
        for up, skip in zip(self.children(), reversed(skips)):
            x = skip + upsample(up(x), align_corners=False)
        return x


class Head(nn.Module):
    """Logits from the decoder's 64 channels."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Sequential(*conv_bn(64, 16, bias=False), same_conv(16, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(x)


@MODELS.register_module()
class ISTDUNet(Comparator):
    """ISTDU-Net, 2,761,138 parameters as published.

    The published network has two heads, target mask (``headSeg``) and target centres (``headDet``, trained
    on a Gaussian heat map). The comparisons use the first alone; the second then holds 9,265 idle
    parameters. Published training: x/255, crop 512, batch 2, RAdam with Lookahead, lr 1e-3, MSE on both
    heads.

    Args:
        in_channels: Channels of the image.
        centre_head: Return the logits of the target centres as ``'aux1'``, too.
    """

    size_multiple = 8
    min_train_batch = 2
    unused_parameters: tuple[str, ...] = ('headDet.*',)

    def __init__(self, in_channels: int = 1, centre_head: bool = False) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.down = Encoder(in_channels)
        self.DN = Skips()
        self.up = Decoder()
        self.headDet = Head()
        self.headSeg = Head()
        if centre_head:
            self.outputs = ('target', 'aux1')
            self.unused_parameters = ()
        self._initialise()

    def _initialise(self) -> None:
        """N(0, 2/(k²·out)) in encoder layers and attention; value memory = transposed key memory."""
        for part in (self.down.down, self.DN):
            for module in part.modules():
                if isinstance(module, nn.Conv1d | nn.Conv2d):
                    fan_out = math.prod(module.kernel_size) * module.out_channels
                    nn.init.normal_(module.weight, std=math.sqrt(2 / fan_out))
        for module in self.DN.modules():
            if isinstance(module, ExternalAttention):
                module.linear_1.weight.data.copy_(module.linear_0.weight.data.transpose(0, 1))

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """(B, in_channels, H, W) → target logits (B, 1, H, W), with ``centre_head`` also the centres'."""
        check_image(self, image)
        x = self.up(self.DN(self.down(image)))
        logits = self.headSeg(x)
        return (logits, self.headDet(x)) if 'aux1' in self.outputs else (logits,)
