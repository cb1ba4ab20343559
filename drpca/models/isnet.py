"""ISNet (Zhang et al., ISNet: Shape Matters for Infrared Small Target Detection, CVPR 2022).

Two branches: a residual U-Net whose skips are aggregated along rows and columns by deformable
convolutions (TTOA), and an edge branch on the image's gradient, refined by Taylor finite difference
blocks (TFD) under control of the U-Net. The edge map sharpens the features before the prediction.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from drpca.models.layers import image_gradient
from drpca.registry import MODELS

from .comparator_layers import Comparator, FCNHead, check_image, conv_bn, resize, resnet_stem, same_conv, stack
from .deform_conv import deform_conv2d, deform_conv2d_reference, find_operator


class Block(nn.Module):
    """ReLU(body(x) + shortcut), body = conv3, BN, ReLU, conv3, BN without biases."""

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *conv_bn(in_channels, out_channels, stride=stride, bias=False),
            *conv_bn(out_channels, out_channels, bias=False, relu=False),
        )
        self.downsample = nn.Sequential()
        if stride != 1 or in_channels != out_channels:
            self.downsample.extend(conv_bn(in_channels, out_channels, 1, stride=stride, bias=False, relu=False))

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.body(x) + self.downsample(x))


class DeformableConv(nn.Module):
    """Deformable convolution that predicts its offsets (and modulation) from its input.

    Args:
        channels: Channels of input and output.
        kernel_size: Rows and columns, odd.
        modulated: Predict a weight in (0, 1) per tap, too (DCN v2); changes a parameter's name.
    """

    def __init__(self, channels: int, kernel_size: tuple[int, int], modulated: bool) -> None:
        super().__init__()
        rows, columns = kernel_size
        self.padding = (rows // 2, columns // 2)
        self.taps = rows * columns
        self.operator = find_operator()
        convolution = nn.Conv2d(channels, channels, kernel_size)  # for its initialisation
        self.weight, self.bias = convolution.weight, convolution.bias
        maps = (3 if modulated else 2) * self.taps
        self.offset_name = 'conv_offset_mask' if modulated else 'conv_offset'
        offset = nn.Conv2d(channels, maps, kernel_size, padding=self.padding)
        for parameter in offset.parameters():
            nn.init.zeros_(parameter)
        self.add_module(self.offset_name, offset)

    def forward(self, x: Tensor) -> Tensor:
        maps = self.get_submodule(self.offset_name)(x)
        offset, modulation = maps[:, : 2 * self.taps], maps[:, 2 * self.taps :]
        mask = torch.sigmoid(modulation) if modulation.shape[1] else None
        return deform_conv2d(x, offset, self.weight, self.bias, self.padding, mask, self.operator)

    def for_export(self) -> DeformableConv:
        """In operations that every format has."""
        self.operator = deform_conv2d_reference
        return self


class TTOA(nn.Module):
    """Two-orientation attention aggregation: Σ over both orientations of a + sigmoid(dcn(a))·b."""

    def __init__(self, channels: int, modulated: bool) -> None:
        super().__init__()
        self.preprocess = nn.Sequential(same_conv(channels, channels // 2, 1), same_conv(channels // 2, channels, 1))
        self.dcn_row = DeformableConv(channels, (1, 3), modulated)
        self.dcn_colum = DeformableConv(channels, (3, 1), modulated)

    def forward(self, high: Tensor, low: Tensor) -> Tensor:
        a, b = self.preprocess(high), self.preprocess(low)
        return (a + torch.sigmoid(self.dcn_colum(a)) * b) + (a + torch.sigmoid(self.dcn_row(a)) * b)


class ConvPair(nn.Module):
    """F = conv3, BN, ReLU, conv3, BN without biases."""

    batch_norms = {'conv1': 'bn1', 'conv2': 'bn2'}

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = same_conv(channels, channels, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = same_conv(channels, channels, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))


class GatedConv(nn.Module):
    """conv1(x·(α + 1)), α (B, 1, H, W) in (0, 1) from x and one guiding map."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self._gate_conv = nn.Sequential(
            nn.BatchNorm2d(channels + 1),
            same_conv(channels + 1, channels + 1, 1),
            nn.ReLU(inplace=True),
            same_conv(channels + 1, 1, 1),
            nn.BatchNorm2d(1),
            nn.Sigmoid(),
        )
        self.weight = same_conv(channels, channels, 1, bias=False).weight

    def forward(self, x: Tensor, guide: Tensor) -> Tensor:
        alpha = self._gate_conv(torch.cat([x, guide], dim=1))
        return F.conv2d(x * (alpha + 1), self.weight)


class TFD(nn.Module):
    """Taylor finite difference block: 3δ + u₂ + gate(u₂, s).

    u₁ = ReLU(x + F₁(x)), δ = ReLU(F₁(x)), u₂ = ReLU(F₂(u₁)); x (B, 64, H, W), guiding map s (B, 1, H, W).
    """

    def __init__(self, channels: int = 64) -> None:
        super().__init__()
        self.res1 = ConvPair(channels)
        self.res2 = ConvPair(channels)
        self.gate = GatedConv(channels)

    def forward(self, x: Tensor, guide: Tensor) -> Tensor:
        change = self.res1(x)
        u2 = F.relu(self.res2(F.relu(x + change)))
        return 3 * F.relu(change) + u2 + self.gate(u2, guide)


class ShuffleAttention(nn.Module):
    """Parameters alone: the published network owns two and runs none."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        for name in ('cweight', 'sweight'):
            self.register_parameter(name, nn.Parameter(torch.zeros(1, channels, 1, 1)))
        for name in ('cbias', 'sbias'):
            self.register_parameter(name, nn.Parameter(torch.ones(1, channels, 1, 1)))
        self.gn = nn.GroupNorm(channels, channels)


@MODELS.register_module()
class ISNet(Comparator):
    """ISNet, 1,089,519 parameters as BasicIRSTD publishes it (one channel, ``modulated=False``).

    The authors' own network has three channels and ``modulated=True`` (1,090,671 parameters). Both own
    103,709 parameters that never run; they are there for the published files. ``edge`` are the logits of
    the target's contour at full resolution; the published losses compare their sigmoid with the gradient
    of the mask. Published training: RGB copy, ImageNet mean and std, crop 480, batch 12, Adagrad 0.05,
    3000 epochs.

    Args:
        in_channels: Channels of the image.
        modulated: Modulated deformable convolutions (DCN v2) rather than plain ones (DCN v1).
    """

    outputs = ('target', 'edge')
    size_multiple = 16
    unused_parameters = (
        *('res1.*', 'res2.*', 'res3.*', 'd1.*', 'd2.*', 'd3.*', 'gate1.*', 'gate2.*', 'gate3.*'),
        *('cw.*', 'SA.*', 'SA_att.*', 'head2.*', 'conv2_1.*', 'conv16.*'),
    )

    def __init__(self, in_channels: int = 1, modulated: bool = False) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.stem = resnet_stem(in_channels, 8)
        self.layer1 = stack(Block, 16, 16, 4)
        self.layer2 = stack(Block, 16, 32, 4, stride=2)
        self.layer3 = stack(Block, 32, 64, 4, stride=2)
        self.deconv2 = nn.ConvTranspose2d(64, 32, 4, stride=2, padding=1)
        self.TTOA_low = TTOA(32, modulated)
        self.uplayer2 = stack(Block, 32, 32, 4)
        self.deconv1 = nn.ConvTranspose2d(32, 16, 4, stride=2, padding=1)
        self.TTOA_high = TTOA(16, modulated)
        self.uplayer1 = stack(Block, 16, 16, 4)
        self.dsn1 = same_conv(64, 1, 1)
        self.dsn2 = same_conv(32, 1, 1)
        self.dsn3 = same_conv(16, 1, 1)
        self.dsup = same_conv(in_channels, 64, 1)
        self.myb1 = TFD()
        self.myb2 = TFD()
        self.myb3 = TFD()
        self.fuse = same_conv(64, 1, 1, bias=False)
        self.head = FCNHead(16)
        self._add_unused()

    def _add_unused(self) -> None:
        for index, width in enumerate((64, 32, 16), start=1):
            self.add_module(f'res{index}', ConvPair(width))
            self.add_module(f'd{index}', same_conv(width, width // 2, 1))
            self.add_module(f'gate{index}', GatedConv(width // 2))
        self.cw = same_conv(4, 1, 1, bias=False)
        self.SA = ShuffleAttention(1)
        self.SA_att = ShuffleAttention(4)
        self.head2 = FCNHead(16, 3)
        self.conv2_1 = same_conv(3, 1, 1)
        self.conv16 = same_conv(3, 16, 1)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """(B, in_channels, H, W) → target logits and edge logits, both (B, 1, H, W)."""
        check_image(self, image)
        size = image.shape[-2:]
        c1 = self.layer1(self.stem(image))
        c2 = self.layer2(c1)
        c3 = self.layer3(c2)
        up2 = self.uplayer2(self.TTOA_low(self.deconv2(c3), c2))
        up1 = self.uplayer1(self.TTOA_high(self.deconv1(up2), c1))

        edge = self.dsup(image_gradient(image))
        edge = self.myb1(edge, resize(self.dsn1(c3), size, align_corners=True))
        edge = self.myb2(edge, resize(self.dsn2(up2), size, align_corners=True))
        edge = self.myb3(edge, resize(self.dsn3(up1), size, align_corners=True))
        edge = self.fuse(edge)

        features = resize(up1, size)
        return self.head(features * torch.sigmoid(edge) + features), edge
