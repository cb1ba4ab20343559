"""RDIAN (Sun et al., Receptive-Field and Direction Induced Attention Network for Infrared Dim Small
Target Detection With a Large-Scale Dataset IRDST, TGRS 2023).

Eight fixed directional differences of the image give a map that is high where opposite directions
agree, as they do around a small target; it weighs the first features. Four residual branches with
kernels 1, 3, 5 and 7 follow, then channel and spatial attention.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from drpca.registry import MODELS

from .comparator_layers import Comparator, FCNHead, channel_statistics, check_image, resize, same_conv

# Tap of −1 in the 5 × 5 kernels d11 … d18 (the centre is +1): clockwise from the upper left.
DIRECTIONS = ((0, 0), (0, 2), (0, 4), (2, 4), (4, 4), (4, 2), (4, 0), (2, 0))


def conv_bn_leaky(in_channels: int, out_channels: int, kernel_size: int = 3, stride: int = 1) -> nn.Sequential:
    """Convolution without bias, BN, leaky ReLU 0.01."""
    return nn.Sequential(
        same_conv(in_channels, out_channels, kernel_size, stride=stride, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.LeakyReLU(inplace=True),
    )


class DirectionKernel(nn.Module):
    """x at the pixel minus x two pixels away in one direction; fixed, but part of the state dict."""

    def __init__(self, row: int, column: int) -> None:
        super().__init__()
        kernel = torch.zeros(1, 1, 5, 5)
        kernel[0, 0, 2, 2] = 1
        kernel[0, 0, row, column] = -1
        self.weight = nn.Parameter(kernel, requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight, padding=2)


class Bottleneck(nn.Module):
    """x + F(x), 32 → 16 → 32 channels, without an activation after the sum."""

    def __init__(self, kernel_size: int) -> None:
        super().__init__()
        self.layer1 = conv_bn_leaky(32, 16, kernel_size)
        self.layer2 = conv_bn_leaky(16, 32, kernel_size)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layer2(self.layer1(x))


class ChannelGate(nn.Module):
    """x · sigmoid(MLP(mean x) + MLP(max x)), 32 channels through a single hidden unit."""

    def __init__(self) -> None:
        super().__init__()
        self.mlp = nn.Sequential(nn.Flatten(), nn.Linear(32, 1), nn.ReLU(), nn.Linear(1, 32))

    def forward(self, x: Tensor) -> Tensor:
        scores = self.mlp(x.mean(dim=(2, 3))) + self.mlp(x.amax(dim=(2, 3)))
        return x * torch.sigmoid(scores)[:, :, None, None]


class SpatialGate(nn.Module):
    """x · sigmoid(BN(conv7([channel max, channel mean])))."""

    def __init__(self) -> None:
        super().__init__()
        self.spatial = nn.Sequential()
        self.spatial.add_module('conv', same_conv(2, 1, 7, bias=False))
        self.spatial.add_module('bn', nn.BatchNorm2d(1, momentum=0.01))

    def forward(self, x: Tensor) -> Tensor:
        mean, peak = channel_statistics(x)
        return x * torch.sigmoid(self.spatial(torch.cat([peak, mean], dim=1)))


class CBAM(nn.Module):
    """Channel, then spatial attention (Woo et al., ECCV 2018) as RDIAN has it."""

    def __init__(self) -> None:
        super().__init__()
        self.ChannelGate = ChannelGate()
        self.SpatialGate = SpatialGate()

    def forward(self, x: Tensor) -> Tensor:
        return self.SpatialGate(self.ChannelGate(x))


@MODELS.register_module()
class RDIAN(Comparator):
    """RDIAN, 216,758 parameters as published, of which 216,558 are trained (one grey channel only).

    The other 200 are the eight fixed direction kernels. Published training: (x + 0.1246)/1.0923 with x in
    [0, 1], crop 480, per-sample SoftIoU, Adagrad 0.005, 300 epochs.
    """

    def __init__(self) -> None:
        super().__init__()
        for index, (row, column) in enumerate(DIRECTIONS, start=1):
            self.add_module(f'd1{index}', DirectionKernel(row, column))
        self.conv1 = conv_bn_leaky(1, 16)
        self.conv2 = conv_bn_leaky(16, 32, stride=2)
        self.residual_block0 = nn.Sequential(Bottleneck(1))
        self.residual_block1 = nn.Sequential(Bottleneck(3), Bottleneck(3))
        self.residual_block2 = nn.Sequential(Bottleneck(5), Bottleneck(5))
        self.residual_block3 = nn.Sequential(Bottleneck(7), Bottleneck(7))
        self.conv_cat = conv_bn_leaky(128, 32)
        self.cbam = CBAM()
        self.conv_res = conv_bn_leaky(16, 32, 1)
        self.head = FCNHead(32)

    def direction_map(self, image: Tensor) -> Tensor:
        """sigmoid of the summed products of opposite directional differences, (B, 1, H, W)."""
        d = [self.get_submodule(f'd1{index}')(image) for index in range(1, 9)]
        return torch.sigmoid(d[0] * d[4] + d[1] * d[5] + d[2] * d[6] + d[3] * d[7])

    def forward(self, image: Tensor) -> tuple[Tensor]:
        """(B, 1, H, W) of any size → target logits (B, 1, H, W)."""
        check_image(self, image)
        shallow = self.conv1(image)
        x = self.conv2(shallow + shallow * self.direction_map(image))
        branches = (self.residual_block0, self.residual_block1, self.residual_block2, self.residual_block3)
        x = self.cbam(self.conv_cat(torch.cat([branch(x) for branch in branches], dim=1)))
        x = F.relu(resize(x, image.shape[-2:]) + self.conv_res(shallow))
        return (self.head(x),)
