"""ResUNet: a four-level U-Net of residual blocks, as BasicIRSTD compares it.

It is the backbone of DNA-Net (Li et al., TIP 2023) without dense nesting, attention and fifth level.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from drpca.registry import MODELS

from .comparator_layers import Comparator, ResidualBlock, check_image, same_conv, stack, upsample


@MODELS.register_module()
class ResUNet(Comparator):
    """ResUNet, 904,785 parameters as published.

    Published training: (grey 0–255 − mean)/std of the data set, batch-wise SoftIoU, Adam 5e-4, batch 16,
    400 epochs, × 0.1 at 200 and 300.

    Args:
        in_channels: Channels of the image.
        num_blocks: Residual blocks of encoder levels 1, 2 and 3 (all others have one).
        channels: Widths of the four levels.
        out_channels: Maps that it returns; more than one as a backbone of others.
    """

    size_multiple = 8

    def __init__(
        self,
        in_channels: int = 1,
        num_blocks: Sequence[int] = (2, 2, 2),
        channels: Sequence[int] = (16, 32, 64, 128),
        out_channels: int = 1,
    ) -> None:
        super().__init__()
        self.in_channels = in_channels
        f0, f1, f2, f3 = channels
        self.conv0_0 = stack(ResidualBlock, in_channels, f0)
        self.conv1_0 = stack(ResidualBlock, f0, f1, num_blocks[0])
        self.conv2_0 = stack(ResidualBlock, f1, f2, num_blocks[1])
        self.conv3_0 = stack(ResidualBlock, f2, f3, num_blocks[2])
        self.conv2_1 = stack(ResidualBlock, f2 + f3, f2)
        self.conv1_2 = stack(ResidualBlock, f1 + f2, f1)
        self.conv0_3 = stack(ResidualBlock, f0 + f1, f0)
        self.final = same_conv(f0, out_channels, 1)

    def forward(self, image: Tensor) -> tuple[Tensor]:
        """(B, in_channels, H, W) → target logits (B, out_channels, H, W)."""
        check_image(self, image)
        x0 = self.conv0_0(image)
        x1 = self.conv1_0(F.max_pool2d(x0, 2))
        x2 = self.conv2_0(F.max_pool2d(x1, 2))
        y = self.conv3_0(F.max_pool2d(x2, 2))
        decoder: tuple[tuple[nn.Module, Tensor], ...] = ((self.conv2_1, x2), (self.conv1_2, x1), (self.conv0_3, x0))
        for block, skip in decoder:
            y = block(torch.cat([skip, upsample(y)], dim=1))
        return (self.final(y),)
