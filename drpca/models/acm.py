"""ACM (Dai et al., Asymmetric Contextual Modulation for Infrared Small Target Detection, WACV 2021).

A three-stage ResNet whose deep and shallow features modulate each other: the deep ones weigh the
channels of the shallow ones (top-down), the shallow ones weigh the pixels of the deep ones (bottom-up).
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

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
    resnet_stem,
    stack,
)

# Of every BatchNorm outside the two-convolution branches of the residual blocks.
MOMENTUM = 0.9


class AsymmetricFusion(nn.Module):
    """post(2·low·topdown(high) + 2·high·bottomup(low)); high, low and the result are (B, C, H, W)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.topdown = pooled_gate(channels, momentum=MOMENTUM)
        self.bottomup = pointwise_gate(channels, momentum=MOMENTUM)
        self.post = nn.Sequential(*conv_bn(channels, channels, momentum=MOMENTUM))

    def forward(self, high: Tensor, low: Tensor) -> Tensor:
        return self.post(2 * low * self.topdown(high) + 2 * high * self.bottomup(low))


class ACMBackbone(Comparator):
    """Stem and residual layers that ACM and ALCNet share.

    Args:
        in_channels: Channels of the image.
        num_blocks: Residual blocks of each layer.
        channels: Widths (c0, c1, c2, c3); layer n has width cn at resolution 1/2^(n+1).
    """

    min_train_batch = 2

    def __init__(self, in_channels: int, num_blocks: Sequence[int], channels: Sequence[int]) -> None:
        super().__init__()
        self.in_channels = in_channels
        c0, c1, c2, c3 = channels
        self.stem = resnet_stem(in_channels, c0, MOMENTUM)
        self.layer1 = stack(BasicBlock, c1, c1, num_blocks[0], shortcut_momentum=MOMENTUM)
        self.layer2 = stack(BasicBlock, c1, c2, num_blocks[1], stride=2, shortcut_momentum=MOMENTUM)
        self.layer3 = stack(BasicBlock, c2, c3, num_blocks[2], stride=2, shortcut_momentum=MOMENTUM)
        self.deconv2 = nn.ConvTranspose2d(c3, c2, 4, stride=2, padding=1)
        self.uplayer2 = stack(BasicBlock, c2, c2, num_blocks[1])
        self.deconv1 = nn.ConvTranspose2d(c2, c1, 4, stride=2, padding=1)
        self.uplayer1 = stack(BasicBlock, c1, c1, num_blocks[0])


@MODELS.register_module()
class ACM(ACMBackbone):
    """ACM on a residual U-Net, 397,823 parameters as published.

    Published training: (grey 0–255 − mean)/std of the data set, batch-wise SoftIoU, Adam 5e-4, batch 16,
    400 epochs, × 0.1 at 200 and 300.

    Args:
        in_channels: Channels of the image.
        num_blocks: Residual blocks of the three layers.
        channels: Widths (c0, c1, c2, c3); c1 must be 2·c0, the stem's output.
    """

    size_multiple = 16

    def __init__(
        self, in_channels: int = 1, num_blocks: Sequence[int] = (3, 3, 3), channels: Sequence[int] = (8, 16, 32, 64)
    ) -> None:
        super().__init__(in_channels, num_blocks, channels)
        self.fuse2 = AsymmetricFusion(channels[2])
        self.fuse1 = AsymmetricFusion(channels[1])
        self.head = FCNHead(channels[1], momentum=MOMENTUM)

    def forward(self, image: Tensor) -> tuple[Tensor]:
        """(B, in_channels, H, W) → target logits (B, 1, H, W)."""
        check_image(self, image)
        c1 = self.layer1(self.stem(image))
        c2 = self.layer2(c1)
        x = self.layer3(c2)
        x = self.uplayer2(self.fuse2(self.deconv2(x), c2))
        x = self.uplayer1(self.fuse1(self.deconv1(x), c1))
        return (resize(self.head(x), image.shape[-2:]),)
