"""DNANet (Li et al., Dense Nested Attention Network for Infrared Small Target Detection, TIP 2023).

A grid of nodes x(I, J), level I and column J, I + J ≤ 4. Column 0 is the encoder; every other node
sees all nodes to its left on its level, the one below it in the column before (enlarged), and the one
above it in its own column (reduced). The nodes of the last diagonal are fused for the prediction.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from drpca.registry import MODELS

from .comparator_layers import CBAMBlock, Comparator, check_image, same_conv, stack, upsample
from .layers import initialise

LEVELS = 5


@MODELS.register_module()
class DNANet(Comparator):
    """DNANet, 4,696,568 parameters as published with one channel (4,696,888 with three).

    The side outputs ``aux1`` … ``aux3`` belong to x(0,1), x(0,2) and x(0,3), at full resolution.
    Published training: RGB copy, ImageNet mean and std, crop 256, batch-wise SoftIoU averaged over the four
    outputs, Adagrad 0.05, batch 16, 1500 epochs.

    Args:
        in_channels: Channels of the image.
        num_blocks: Blocks of a node on levels 1 to 4; (2, 2, 2, 2) is "resnet_18", (1, 1, 1, 1) "resnet_10"
            and (3, 4, 6, 3) "resnet_34".
        channels: Widths of the five levels, at least 16.
        deep_supervision: Return the side outputs.
    """

    size_multiple = 16

    def __init__(
        self,
        in_channels: int = 1,
        num_blocks: Sequence[int] = (2, 2, 2, 2),
        channels: Sequence[int] = (16, 32, 64, 128, 256),
        deep_supervision: bool = True,
    ) -> None:
        super().__init__()
        self.in_channels = in_channels
        depths = (1, *num_blocks)
        for column in range(LEVELS):
            for level in range(LEVELS - column):
                width = channels[level]
                if column:
                    above = channels[level - 1] if level else 0
                    inputs = column * width + channels[level + 1] + above
                else:
                    inputs = channels[level - 1] if level else in_channels
                self.add_module(f'conv{level}_{column}', stack(CBAMBlock, inputs, width, depths[level]))
        for level in range(1, LEVELS):
            self.add_module(f'conv0_{level}_1x1', same_conv(channels[level], channels[0], 1))
        self.conv0_4_final = stack(CBAMBlock, LEVELS * channels[0], channels[0])
        if deep_supervision:
            self.outputs = ('target', 'aux1', 'aux2', 'aux3')
        heads = ('final1', 'final2', 'final3', 'final4') if deep_supervision else ('final',)
        for head in heads:
            self.add_module(head, same_conv(channels[0], 1, 1))
        initialise(self)

    def _grid(self, image: Tensor) -> dict[tuple[int, int], Tensor]:
        """All nodes x(level, column)."""
        nodes: dict[tuple[int, int], Tensor] = {}
        for column in range(LEVELS):
            for level in range(LEVELS - column):
                if column:
                    inputs = [nodes[level, left] for left in range(column)]
                    inputs.append(upsample(nodes[level + 1, column - 1]))
                    if level:
                        above = nodes[level - 1, column]
                        half = F.interpolate(above, scale_factor=0.5, mode='bilinear', align_corners=True)
                        inputs.append(half)
                    x = torch.cat(inputs, dim=1)
                else:
                    x = F.max_pool2d(nodes[level - 1, 0], 2) if level else image
                nodes[level, column] = self.get_submodule(f'conv{level}_{column}')(x)
        return nodes

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """(B, in_channels, H, W) → target logits (B, 1, H, W), then the side outputs, same shape."""
        check_image(self, image)
        nodes = self._grid(image)
        diagonal = [
            upsample(self.get_submodule(f'conv0_{level}_1x1')(nodes[level, 4 - level]), 2**level)
            for level in range(LEVELS - 1, 0, -1)
        ]
        fused = self.conv0_4_final(torch.cat([*diagonal, nodes[0, 4]], dim=1))
        if len(self.outputs) == 1:
            return (self.get_submodule('final')(fused),)
        sides = (self.get_submodule(f'final{column}')(nodes[0, column]) for column in (1, 2, 3))
        return (self.get_submodule('final4')(fused), *sides)
