"""MTU-Net (Wu et al., MTU-Net: Multilevel TransUNet for Space-Based Infrared Tiny Ship Detection, TGRS 2023).

A residual U-Net. Each of the four upper encoder levels also goes through a one-layer transformer whose
tokens lie on the same H/16 × W/16 grid; their outputs join the deepest features.
"""

from __future__ import annotations

import math
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from drpca.errors import UserError
from drpca.registry import MODELS

from .comparator_layers import Comparator, FCNHead, ResidualBlock, check_image, same_conv, stack, upsample
from .layers import initialise

POSITIONS = (64, 64)  # token grid of the 1024 × 1024 images the network was published for
LeakyBlock = partial(ResidualBlock, negative_slope=0.01)


class Attention(nn.Module):
    """softmax(s·QKᵀ)V with s = d/2: the published code multiplies by it where 1/√d is usual.

    Rows 3c, 3c + 1 and 3c + 2 of the joint projection are q, k and v of channel c.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.scale = dim / 2
        self.qkv_layer = nn.Linear(dim, 3 * dim, bias=False)
        self.out_attention = nn.Linear(dim, dim, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        query, key, value = self.qkv_layer(tokens).unflatten(-1, (-1, 3)).unsqueeze(1).unbind(-1)
        return self.out_attention(F.scaled_dot_product_attention(query, key, value, scale=self.scale)[:, 0])


class MLP(nn.Module):
    """Two linear layers with GELU and dropout."""

    def __init__(self, dim: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.mlp_layers = nn.Sequential(
            nn.Linear(dim, hidden), nn.GELU(), nn.Dropout(dropout), nn.Linear(hidden, dim), nn.Dropout(dropout)
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.mlp_layers(x)


class TransformerLayer(nn.Module):
    """Attention and MLP, each followed by sum and LayerNorm."""

    def __init__(self, dim: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.layer_norm1 = nn.LayerNorm(dim)
        self.layer_norm2 = nn.LayerNorm(dim)
        self.multi_head_attention = Attention(dim)
        self.mlp = MLP(dim, hidden, dropout)
        self.dropout = nn.Dropout(dropout)

    def forward(self, tokens: Tensor) -> Tensor:
        tokens = self.layer_norm1(tokens + self.dropout(self.multi_head_attention(tokens)))
        return self.layer_norm2(tokens + self.mlp(tokens))


class Transformer(nn.Module):
    """A sequence of layers; one in the published network."""

    def __init__(self, dim: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.layer_blocks = nn.ModuleList([TransformerLayer(dim, hidden, dropout)])

    def forward(self, tokens: Tensor) -> Tensor:
        for layer in self.layer_blocks:
            tokens = layer(tokens)
        return tokens


class ViT(nn.Module):
    """Features (B, C, P·h, P·w) → (B, d, h, w): one token per position of the h × w grid.

    A token does not collect a P × P block but a comb: token (i, j) holds the pixels (a·h + i, b·w + j),
    0 ≤ a, b < P, in the order (a, b, channel).

    Args:
        in_channels: C.
        patch: P.
        dim: Width d of a token.
        position_grid: Rows and columns of the token grid that the position table was trained on.
            None reads the table as published, one row per token; grids of more than 4096 tokens take the
            table for 64 × 64.
    """

    def __init__(
        self, in_channels: int, patch: int, dim: int = 64, position_grid: tuple[int, int] | None = None
    ) -> None:
        super().__init__()
        self.patch = patch
        self.position_grid = position_grid
        self.projection = nn.Linear(in_channels * patch**2, dim)
        self.embedding = nn.Parameter(torch.rand(math.prod(POSITIONS) + 1, dim))
        self.cls_token = nn.Parameter(torch.randn(1, 1, dim))
        self.dropout = nn.Dropout(0.1)
        self.transformer = Transformer(dim, hidden=4096, dropout=0.1)

    def positions(self, rows: int, columns: int) -> Tensor:
        """Position embeddings (1 + rows·columns, d), the class token's first; bilinear between grids."""
        grid = self.position_grid
        if grid is None:
            if rows * columns <= math.prod(POSITIONS):
                return self.embedding[: rows * columns + 1]
            grid = POSITIONS
        if grid == (rows, columns):
            return self.embedding[: rows * columns + 1]
        table = self.embedding[1 : math.prod(grid) + 1].T.unflatten(1, grid)
        table = F.interpolate(table[None], size=(rows, columns), mode='bilinear', align_corners=False)
        return torch.cat([self.embedding[:1], table[0].flatten(1).T])

    def forward(self, x: Tensor) -> Tensor:
        batch, channels, height, width = x.shape
        rows, columns = height // self.patch, width // self.patch
        comb = x.reshape(batch, channels, self.patch, rows, self.patch, columns).permute(0, 3, 5, 2, 4, 1)
        tokens = self.projection(comb.flatten(3).flatten(1, 2))
        tokens = torch.cat([self.cls_token.expand(batch, -1, -1), tokens], dim=1)
        tokens = self.transformer(self.dropout(tokens + self.positions(rows, columns)))
        return tokens[:, 1:].transpose(1, 2).unflatten(2, (rows, columns))


@MODELS.register_module()
class MTUNet(Comparator):
    """MTU-Net, 12,750,134 parameters as published with one channel (12,750,610 with three).

    ``conv0_0_0``, ``vit1`` and ``head`` (together 3,480,165 parameters with one channel) never run; they
    are there for the published files. Published training: RGB copy, mean 0.1583, std 0.0885, crop 1024,
    batch 1, Adagrad 0.05, 1000 epochs, FocalIoU loss.

    Args:
        in_channels: Channels of the image.
        position_grid: Token grid (image size / 16) that the weights' position tables were trained on;
            other sizes then interpolate the tables. None is the published rule: the first H/16 · W/16 rows
            of the tables, whatever the grid, and interpolation from 64 × 64 only where they do not suffice.

    Raises:
        UserError: ``position_grid`` has more than 4096 tokens.
    """

    size_multiple = 16
    unused_parameters = ('conv0_0_0.*', 'vit1.*', 'head.*')

    def __init__(self, in_channels: int = 1, position_grid: tuple[int, int] | None = None) -> None:
        super().__init__()
        self.in_channels = in_channels
        if position_grid is not None and math.prod(position_grid) > math.prod(POSITIONS):
            raise UserError(
                f'MTUNet has {math.prod(POSITIONS)} positions, but got position_grid={tuple(position_grid)} '
                f'with {math.prod(position_grid)} tokens: give the grid of the training size divided by 16.'
            )
        grid = None if position_grid is None else (int(position_grid[0]), int(position_grid[1]))
        w = (16, 32, 64, 128, 256)
        self.conv0_0_0 = stack(LeakyBlock, in_channels, in_channels)
        self.conv0_0 = stack(LeakyBlock, in_channels, w[0])
        for level in range(1, 5):
            self.add_module(f'conv{level}_0', stack(LeakyBlock, w[level - 1], w[level], 2))
        self.vit1 = ViT(w[4], 1, dim=w[4])
        self.vit2 = ViT(w[3], 2, position_grid=grid)
        self.vit3 = ViT(w[2], 4, position_grid=grid)
        self.vit4 = ViT(w[1], 8, position_grid=grid)
        self.vit5 = ViT(w[0], 16, position_grid=grid)
        self.conv3_1_1 = stack(LeakyBlock, 4 * 64 + w[4], w[4])
        self.conv3_1 = stack(LeakyBlock, w[3] + w[4], w[3])
        self.conv2_2 = stack(LeakyBlock, w[2] + w[3], w[2])
        self.conv1_3 = stack(LeakyBlock, w[1] + w[2], w[1])
        self.conv0_4 = stack(LeakyBlock, w[0] + w[1], w[0])
        self.final = same_conv(w[0], 1, 1)
        self.head = FCNHead(w[0], momentum=0.9)
        initialise(self)

    def forward(self, image: Tensor) -> tuple[Tensor]:
        """(B, in_channels, H, W) → target logits (B, 1, H, W)."""
        check_image(self, image)
        skips = [self.conv0_0(image)]
        for level in range(1, 5):
            skips.append(self.get_submodule(f'conv{level}_0')(F.max_pool2d(skips[-1], 2)))
        deepest = skips.pop()
        tokens = [self.get_submodule(f'vit{5 - level}')(skips[level]) for level in (3, 2, 1, 0)]
        x = self.conv3_1_1(torch.cat([*tokens, deepest], dim=1))
        for level in (3, 2, 1, 0):
            block = self.get_submodule(f'conv{level}_{4 - level}')
            x = block(torch.cat([skips[level], upsample(x)], dim=1))
        return (self.final(x),)
