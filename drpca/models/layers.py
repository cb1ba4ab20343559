"""Building blocks that several networks share.

Shapes: B images, C channels, H × W pixels. Convolutions keep H × W and have a bias.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def conv(in_channels: int, out_channels: int, kernel_size: int) -> nn.Conv2d:
    """k × k convolution, stride 1, same padding, with bias."""
    return nn.Conv2d(in_channels, out_channels, kernel_size, padding=kernel_size // 2)


class Float32Conv2d(nn.Conv2d):
    """A convolution from or to one channel, one of D, B, T and N, that autocast leaves in the type of its weights.

    In bfloat16 values near 1 have steps of 1/256, coarser than those of 8-bit images: rounding them on the way in alone
    puts the published RPCANet's logits off by 7.6 (root mean square), instead of 0.8.
    """

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            return super().forward(x.to(self.weight.dtype))


def conv_stack(
    widths: list[int],
    *,
    first_kernel: int = 3,
    normalise: bool = False,
    activation: Callable[[], nn.Module] | None = None,
) -> list[nn.Module]:
    """Convolutions ``widths[0] → widths[1] → …``, each followed by BatchNorm (optional) and an activation.

    Args:
        widths: Channels before the first and after every convolution.
        first_kernel: Kernel size of the first convolution; the others are 3 × 3.
        normalise: Put a BatchNorm between convolution and activation.
        activation: Makes the activation; ReLU by default.
    """
    layers: list[nn.Module] = []
    for index, (before, after) in enumerate(zip(widths[:-1], widths[1:])):
        layers.append(conv(before, after, first_kernel if index == 0 else 3))
        if normalise:
            layers.append(nn.BatchNorm2d(after))
        layers.append(activation() if activation else nn.ReLU(inplace=True))
    return layers


def arrange(network: nn.Module, memory_format: torch.memory_format) -> None:
    """Put the weights of 2-D convolutions into a memory order; that of 3-D ones stays, which have none of these."""
    for values in (*network.parameters(), *network.buffers()):
        if values.dim() == 4:
            values.data = values.data.contiguous(memory_format=memory_format)


def initialise(network: nn.Module) -> None:
    """Published initialisation: Xavier-normal convolution weights, BatchNorm weight 1 and bias 0."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.xavier_normal_(module.weight)
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.ones_(module.weight)
            nn.init.zeros_(module.bias)


class SqueezeExcitation(nn.Module):
    """Channel gate: x · sigmoid(W₂ ReLU(W₁ mean(x))) (Hu et al., CVPR 2018). Shapes (B, C, H, W)."""

    def __init__(self, channels: int, reduction: int = 16) -> None:
        super().__init__()
        self.excitation = nn.Sequential(
            conv(channels, channels // reduction, 1),
            nn.ReLU(inplace=True),
            conv(channels // reduction, channels, 1),
            nn.Sigmoid(),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x * self.excitation(x.mean(dim=(2, 3), keepdim=True))


class ChannelAttention(nn.Module):
    """x · sigmoid(MLP(mean(x)) + MLP(max(x))) with one shared MLP (CBAM, Woo et al., ECCV 2018)."""

    def __init__(self, channels: int, reduction: int = 16) -> None:
        super().__init__()
        self.fc = nn.Sequential(
            conv(channels, channels // reduction, 1), nn.ReLU(inplace=True), conv(channels // reduction, channels, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        mean = self.fc(x.mean(dim=(2, 3), keepdim=True))
        peak = self.fc(x.amax(dim=(2, 3), keepdim=True))
        return x * torch.sigmoid(mean + peak)


def image_gradient(image: Tensor) -> Tensor:
    """Magnitude of the central differences per channel, √(Δr² + Δc² + 1e-6), zeros outside; same shape."""
    padded = F.pad(image, (1, 1, 1, 1))
    vertical = padded[..., 2:, 1:-1] - padded[..., :-2, 1:-1]
    horizontal = padded[..., 1:-1, 2:] - padded[..., 1:-1, :-2]
    return torch.sqrt(vertical**2 + horizontal**2 + 1e-6)
