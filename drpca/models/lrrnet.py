"""LRRNet (Zhang et al., IEEE TGRS 2025, doi 10.1109/TGRS.2025.3608239).

One pass instead of stages: a U-Net learns the features of the low-rank background directly, and the
subtraction happens in feature space:

    u = features(D)        x = UNet(u)          the background's features
    y = residual(u − x)    T = head(y)
    d = y + x              D = head(d)
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from drpca.registry import MODELS

from .layers import conv, initialise
from .unfolding import StageState

GROUPS = 16


class SelfAttention(nn.Module):
    """x + W softmax(QKᵀ/√C) V over all positions, one head, by the library's fused kernel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(GROUPS, channels)
        self.to_qkv = conv(channels, 3 * channels, 1)
        self.to_out = conv(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        # (B, 3C, H, W) → three of (B, 1 head, H·W positions, C); the kernel needs the channels of a position side by
        # side, else the library computes the whole H·W × H·W matrix.
        qkv = self.to_qkv(self.norm(x)).flatten(2).transpose(1, 2).contiguous().unsqueeze(1)
        query, key, value = qkv.chunk(3, dim=-1)
        attended = F.scaled_dot_product_attention(query, key, value)
        return x + self.to_out(attended.squeeze(1).transpose(1, 2).reshape(x.shape))


class ResidualBlock(nn.Module):
    """shortcut(x) + s·conv(dropout(ReLU(GN(conv(ReLU(GN(x))))))), s learned per channel; then attention.

    ``signed`` leaves out the first ReLU.
    """

    def __init__(
        self, in_channels: int, channels: int, dropout: float, attention: bool = False, signed: bool = False
    ) -> None:
        super().__init__()
        self.first_activation = nn.Identity() if signed else nn.ReLU()
        self.norm_1 = nn.GroupNorm(GROUPS, in_channels)
        self.conv_1 = conv(in_channels, channels, 3)
        self.norm_2 = nn.GroupNorm(GROUPS, channels)
        self.conv_2 = nn.Sequential(nn.Dropout(dropout), conv(channels, channels, 3))
        self.scale = nn.Parameter(torch.ones(1, channels, 1, 1))
        self.residual_connection = nn.Identity() if in_channels == channels else conv(in_channels, channels, 1)
        self.attention = SelfAttention(channels) if attention else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv_1(self.first_activation(self.norm_1(x)))
        y = self.conv_2(F.relu(self.norm_2(y)))
        return self.attention(self.residual_connection(x) + self.scale * y)

    def for_inference(self) -> ResidualBlock:
        """The block itself, its scale multiplied into its last convolution and its ReLUs in place."""
        convolution: Any = self.conv_2[1]
        scale = self.scale.flatten()
        with torch.no_grad():
            convolution.weight *= scale[:, None, None, None]
            convolution.bias *= scale
            self.scale.fill_(1)
        if isinstance(self.first_activation, nn.ReLU):
            self.first_activation = nn.ReLU(inplace=True)
        self.__class__ = _ScaledResidualBlock
        return self


class _ScaledResidualBlock(ResidualBlock):
    """The block whose scale is in its last convolution."""

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv_1(self.first_activation(self.norm_1(x)))
        y = self.conv_2(F.relu_(self.norm_2(y)))
        return self.attention(y + self.residual_connection(x))


class Downsample(nn.Module):
    """Half the size by a 3 × 3 convolution of stride 2."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.downsample = nn.Conv2d(channels, channels, 3, stride=2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.downsample(x)


class Upsample(nn.Module):
    """Twice the size: nearest neighbour, then a 3 × 3 convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.upsample = nn.Sequential(nn.Upsample(scale_factor=2, mode='nearest'), conv(channels, channels, 3))

    def forward(self, x: Tensor) -> Tensor:
        return self.upsample(x)


@MODELS.register_module()
class LRRNet(nn.Module):
    """LRRNet, 3,454,994 parameters as published.

    The published code needs H and W to be multiples of 8; here other sizes are padded by reflection
    at the bottom and the right and cropped back (``reflect_multiple``).

    Args:
        base_channels: Width C of the first level; a multiple of 16.
        channel_mults: Width of each level as a multiple of C.
        num_res_blocks: Residual blocks per encoder level; the decoder has one more.
        dropout: Probability in every residual block.
        signed_subtraction: Hand u − x to the convolutions with its sign. As published, the first thing that
            happens to the difference is a ReLU, so that wherever the background's features exceed those of
            the image, how far is lost, which its authors call too aggressive. The parameters are the same.
    """

    outputs = ('reconstruction', 'target')
    size_multiple = 1
    min_size = 8

    def __init__(
        self,
        base_channels: int = 16,
        channel_mults: tuple[int, ...] = (1, 2, 4, 8),
        num_res_blocks: int = 2,
        dropout: float = 0.2,
        signed_subtraction: bool = False,
    ) -> None:
        super().__init__()
        self.reflect_multiple = 2 ** (len(channel_mults) - 1)
        self.init_conv = conv(1, base_channels, 3)
        self.second_conv = conv(base_channels, base_channels, 3)

        self.downs = nn.ModuleList()
        width = base_channels
        skips = [width]
        for level, mult in enumerate(channel_mults):
            for _ in range(num_res_blocks):
                self.downs.append(ResidualBlock(width, mult * base_channels, dropout))
                width = mult * base_channels
                skips.append(width)
            if level + 1 < len(channel_mults):
                self.downs.append(Downsample(width))
                skips.append(width)

        self.mid = nn.ModuleList(
            [ResidualBlock(width, width, dropout, attention=True), ResidualBlock(width, width, dropout)]
        )

        self.ups = nn.ModuleList()
        for level, mult in reversed(list(enumerate(channel_mults))):
            for _ in range(num_res_blocks + 1):
                self.ups.append(ResidualBlock(width + skips.pop(), mult * base_channels, dropout))
                width = mult * base_channels
            if level > 0:
                self.ups.append(Upsample(width))

        self.out_resblock = ResidualBlock(width, width, dropout, signed=signed_subtraction)
        self.out_norm = nn.GroupNorm(GROUPS, width)
        self.out_conv = conv(width, 1, 3)
        self.out_norm1 = nn.GroupNorm(GROUPS, width)
        self.out_conv1 = conv(width, 1, 3)
        initialise(self)

    def _background_features(self, u: Tensor) -> Tensor:
        x = self.second_conv(u)
        skips = [x]
        for layer in self.downs:
            x = layer(x)
            skips.append(x)
        for layer in self.mid:
            x = layer(x)
        for layer in self.ups:
            x = layer(x) if isinstance(layer, Upsample) else layer(torch.cat([x, skips.pop()], dim=1))
        return x

    def _features(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Features of the background (x) and of the target (y), (B, C, H', W') with padded H', W'."""
        height, width = image.shape[-2:]
        pad = (0, -width % self.reflect_multiple, 0, -height % self.reflect_multiple)
        u = self.init_conv(F.pad(image, pad, mode='reflect') if any(pad) else image)
        x = self._background_features(u)
        return x, self.out_resblock(u - x)

    def _target_head(self, y: Tensor) -> Tensor:
        return self.out_conv(F.relu(self.out_norm(y)))

    def _image_head(self, d: Tensor) -> Tensor:
        return self.out_conv1(F.relu(self.out_norm1(d)))

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 1, H, W) in [0, 1] → reconstruction and target logits, both (B, 1, H, W)."""
        height, width = image.shape[-2:]
        x, y = self._features(image)
        return self._image_head(y + x)[..., :height, :width], self._target_head(y)[..., :height, :width]

    def detect(self, image: Tensor) -> Tensor:
        """Target logits alone, (B, 1, H, W): skips the reconstruction head."""
        _, y = self._features(image)
        return self._target_head(y)[..., : image.shape[-2], : image.shape[-1]]

    def decompose(self, image: Tensor) -> list[StageState]:
        """One record. The background is what the image head makes of the background features alone."""
        height, width = image.shape[-2:]
        x, y = self._features(image)
        reconstruction, background, target = (
            output[..., :height, :width]
            for output in (self._image_head(y + x), self._image_head(x), self._target_head(y))
        )
        return [StageState(reconstruction, background, target)]
