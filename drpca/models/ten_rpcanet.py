"""TenRPCANet: attention over a window of frames, after the structure that its authors describe.

They publish its parts, not its sizes, code or weights: tokens by local subspace embedding, a stride of 4 so that
attention sees background, window attention over 8 frames in an encoder and decoder, refinement by local linear
filtering, a threshold gate and upsampling; 8 frames in, 8 maps out. Everything else here is a choice of this project,
and so are its figures: it is not the published network.

    tokens    f = E·patch(D), 4 × 4 pixels, E: a subspace of c directions, orthogonal at the start
    encoder   f₁ = A(f), f₂ = A(½f₁)      decoder   f₃ = A(2f₂ + f₁)
    A         x + attention(x) in blocks of p × p tokens and all n frames, then x + MLP(x)
    refine    a·f + b, a and b from local means and variances of f and f₃ (a guided filter, He et al., TPAMI 2013)
    gate      g·sigmoid(|g| − τ), τ learned for each channel
    logits    ↑4 of a 1 × 1 convolution of that, + a 3 × 3 one of D

Shape legend: (B, n, c, h, w) is (windows, frames, channels, rows, columns), h = H/4.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from drpca.registry import MODELS

from .comparator_layers import Comparator, check_image

_STRIDE = 4
_PRIOR = -4.0
_EPSILON = 1e-4


class WindowAttention(nn.Module):
    """x + attention(x), then x + MLP(x), over all frames of a block of p × p tokens; (B·n, c, h, w), h and w multiples
    of p.

    Args:
        channels: c.
        heads: Of the attention.
        side: p.
        frames: n.
    """

    def __init__(self, channels: int, heads: int, side: int, frames: int) -> None:
        super().__init__()
        self.heads, self.side, self.frames = heads, side, frames
        self.norm1, self.norm2 = nn.LayerNorm(channels), nn.LayerNorm(channels)
        self.position = nn.Parameter(torch.zeros(frames * side * side, channels))
        self.qkv = nn.Linear(channels, 3 * channels)
        self.project = nn.Linear(channels, channels)
        self.mlp = nn.Sequential(nn.Linear(channels, 2 * channels), nn.GELU(), nn.Linear(2 * channels, channels))

    def forward(self, x: Tensor) -> Tensor:
        count, channels, height, width = x.shape
        frames, p = self.frames, self.side
        batch = count // frames
        blocks = x.reshape(batch, frames, channels, height // p, p, width // p, p).permute(0, 3, 5, 1, 4, 6, 2)
        tokens = blocks.reshape(batch * (height // p) * (width // p), frames * p * p, channels)
        query, key, value = (
            part.reshape(tokens.shape[0], frames * p * p, self.heads, channels // self.heads).transpose(1, 2)
            for part in self.qkv(self.norm1(tokens) + self.position).chunk(3, dim=-1)
        )
        seen = F.scaled_dot_product_attention(query, key, value).transpose(1, 2).reshape(tokens.shape)
        tokens = tokens + self.project(seen)
        tokens = tokens + self.mlp(self.norm2(tokens))
        blocks = tokens.reshape(batch, height // p, width // p, frames, p, p, channels).permute(0, 3, 6, 1, 4, 2, 5)
        return blocks.reshape(count, channels, height, width)


def linear_filter(guide: Tensor, values: Tensor, radius: int = 2) -> Tensor:
    """Guided filter: in every neighbourhood ``values`` is replaced by its best linear function of ``guide``.

    a = cov(guide, values)/(var(guide) + ε), b = mean(values) − a·mean(guide); mean(a)·guide + mean(b), with means over
    (2·radius + 1)² places, of those that there are at the border. Shapes (B, C, h, w).
    """

    def mean(x: Tensor) -> Tensor:
        return F.avg_pool2d(x, 2 * radius + 1, 1, radius, count_include_pad=False)

    mean_guide, mean_values = mean(guide), mean(values)
    covariance = mean(guide * values) - mean_guide * mean_values
    a = covariance / (mean(guide * guide) - mean_guide**2).clamp(min=0).add(_EPSILON)
    return mean(a) * guide + mean(mean_values - a * mean_guide)


@MODELS.register_module()
class TenRPCANet(Comparator):
    """TenRPCANet's structure with sizes of this project: 24,674 parameters. Not the published network.

    Args:
        frames: n.
        channels: c, a multiple of ``heads``.
        heads: Of the attention.
        side: Tokens along a block of attention.

    Attributes:
        frames: n.
        reported: All of them.
    """

    frames = 8

    def __init__(self, frames: int = 8, channels: int = 24, heads: int = 4, side: int = 4) -> None:
        super().__init__()
        self.frames = self.in_channels = frames
        self.reported = tuple(range(frames))
        self.size_multiple = self.min_size = 2 * _STRIDE * side
        self.embedding = nn.Conv2d(1, channels, _STRIDE, stride=_STRIDE)
        nn.init.orthogonal_(self.embedding.weight)
        self.encoder = nn.ModuleList(WindowAttention(channels, heads, side, frames) for _ in range(2))
        self.decoder = WindowAttention(channels, heads, side, frames)
        self.threshold = nn.Parameter(torch.zeros(channels, 1, 1))
        self.head = nn.Conv2d(channels, _STRIDE**2, 1)
        self.detail = nn.Conv2d(1, 1, 3, padding=1)
        nn.init.constant_(self.detail.bias, _PRIOR)  # type: ignore[arg-type]

    def forward(self, image: Tensor) -> tuple[Tensor]:
        """Window (B, n, H, W), sides multiples of ``size_multiple`` → target logits of all its frames, (B, n, H, W)."""
        check_image(self, image)
        single = image.flatten(0, 1)[:, None]
        embedded = self.embedding(single)
        first = self.encoder[0](embedded)
        second = self.encoder[1](F.avg_pool2d(first, 2))
        up = second.repeat_interleave(2, dim=-2).repeat_interleave(2, dim=-1)
        decoded = self.decoder(up + first)
        refined = linear_filter(embedded, decoded)
        gated = refined * torch.sigmoid(refined.abs() - self.threshold)
        logits = F.pixel_shuffle(self.head(gated), _STRIDE) + self.detail(single)
        return (logits[:, 0].unflatten(0, (-1, self.frames)),)
