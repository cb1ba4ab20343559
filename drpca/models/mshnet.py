"""MSHNet (Liu et al., Infrared Small Target Detection with Scale and Location Sensitivity, CVPR 2024).

A plain U-Net of CBAM blocks with one prediction per decoder level and a final one from all of them.
What is new in the paper is the loss: see the scale and location sensitive loss.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from drpca.registry import MODELS

from .comparator_layers import CBAMBlock, Comparator, check_image, same_conv, stack, upsample

WIDTHS = (16, 32, 64, 128, 256)


@MODELS.register_module()
class MSHNet(Comparator):
    """MSHNet, 4,065,513 parameters as published (three channels; 4,065,481 with one).

    ``aux1`` … ``aux4`` are the masks of decoder levels 0 … 3 at 1, 1/2, 1/4 and 1/8 of the image's
    resolution (the published loss max-pools the ground truth to them). During the first epochs the
    published training uses ``aux1`` alone. Published training: RGB copy, ImageNet mean and std, crop 256,
    Adagrad 0.05, batch 4, 400 epochs.

    Args:
        in_channels: Channels of the image.
    """

    outputs = ('target', 'aux1', 'aux2', 'aux3', 'aux4')
    size_multiple = 16

    def __init__(self, in_channels: int = 3) -> None:
        super().__init__()
        self.in_channels = in_channels
        w = WIDTHS
        self.conv_init = same_conv(in_channels, w[0], 1)
        self.encoder_0 = stack(CBAMBlock, w[0], w[0])
        for level in (1, 2, 3):
            self.add_module(f'encoder_{level}', stack(CBAMBlock, w[level - 1], w[level], 2))
        self.middle_layer = stack(CBAMBlock, w[3], w[4], 2)
        for level in (3, 2, 1, 0):
            depth = 2 if level else 1
            self.add_module(f'decoder_{level}', stack(CBAMBlock, w[level] + w[level + 1], w[level], depth))
        for level in range(4):
            self.add_module(f'output_{level}', same_conv(w[level], 1, 1))
        self.final = same_conv(4, 1)

    def _level(self, name: str, level: int) -> nn.Module:
        return self.get_submodule(f'{name}_{level}')

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """(B, in_channels, H, W) → target logits (B, 1, H, W) and those of levels k = 0 … 3, (H, W)/2^k."""
        check_image(self, image)
        x = self.conv_init(image)
        skips = []
        for level in range(4):
            x = self._level('encoder', level)(x)
            skips.append(x)
            x = F.max_pool2d(x, 2)
        x = self.middle_layer(x)
        masks: list[Tensor] = []
        for level in (3, 2, 1, 0):
            x = self._level('decoder', level)(torch.cat([skips[level], upsample(x)], dim=1))
            masks.insert(0, self._level('output', level)(x))
        enlarged = [masks[0], *(upsample(mask, 2**level) for level, mask in enumerate(masks[1:], start=1))]
        return (self.final(torch.cat(enlarged, dim=1)), *masks)
