"""DRPCA-Net (Xiong et al., DRPCA-Net: Make Robust PCA Great Again for Infrared Small Target Detection, 2025).

RPCANet whose scalars are generated from the image (one value per image each) and whose
reconstruction is a group of residual blocks with dynamic attention. One stage:

    x = D − T                            B = x + P(x)
    γ = g_γ(T)    x = γT + (1 − γ)(D − B)
    ε = g_ε(x)                           T = x − ε·S(x)
    D = M(B + T)
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from drpca.registry import MODELS

from .layers import ChannelAttention, conv, conv_stack, initialise
from .rpcanet import BackgroundStep
from .unfolding import Stage, StageState, UnfoldingNetwork


class ScalarGenerator(nn.Module):
    """g: (B, 1, H, W) → one value in (0, 1) per image, (B, 1, 1, 1)."""

    def __init__(self, hidden: int = 3) -> None:
        super().__init__()
        self.generator = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), conv(1, hidden, 1), nn.ReLU(inplace=True), conv(hidden, 1, 1), nn.Sigmoid()
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.generator(x)


class TargetStep(nn.Module):
    """x = γT + (1 − γ)(D − B), T = x − ε·S(x), with γ and ε generated per image."""

    def __init__(self, channels: int, depth: int) -> None:
        super().__init__()
        self.convs = nn.Sequential(*conv_stack([1] + [channels] * (depth + 1)), conv(channels, 1, 3))
        self.gamma_generator = ScalarGenerator()
        self.epsilon_generator = ScalarGenerator()

    def forward(self, state: StageState) -> Tensor:
        gamma = self.gamma_generator(state.target)
        x = gamma * state.target + (1 - gamma) * (state.reconstruction - state.background)
        return x - self.epsilon_generator(x) * self.convs(x)


class DynamicSpatialAttention(nn.Module):
    """Multiply by sigmoid(k ∗ mean_c(x)), the 3 × 3 kernel k generated from the image itself.

    Shape legend: x (B, C, H, W); channel mean (B, 1, H, W); kernel (B, 9), row by row.
    """

    reach = 1

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.kernel_generator = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), conv(channels, channels, 1), nn.ReLU(inplace=True), conv(channels, 9, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        kernel = self.kernel_generator(x)
        mean = F.pad(x.mean(dim=1, keepdim=True), (1, 1, 1, 1))
        # Nine shifted products rather than a convolution with one group per image: the number of
        # groups would be the batch size, which export to ONNX cannot leave open.
        response = torch.zeros_like(x[:, :1])
        for tap in range(9):
            row, column = divmod(tap, 3)
            shifted = mean[:, :, row : row + height, column : column + width]
            response = response + kernel[:, tap : tap + 1] * shifted
        return x * torch.sigmoid(response)


class DynamicResidualBlock(nn.Module):
    """x + attention(conv, BN, LeakyReLU, conv, BN (x)), channel attention first, then spatial."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            conv(channels, channels, 3),
            nn.BatchNorm2d(channels),
            nn.LeakyReLU(0.2, inplace=True),
            conv(channels, channels, 3),
            nn.BatchNorm2d(channels),
            ChannelAttention(channels),
            DynamicSpatialAttention(channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)

    def for_inference(self) -> FastDynamicResidualBlock:
        """The same with fewer passes over the features."""
        return FastDynamicResidualBlock(self)


class FastDynamicResidualBlock(nn.Module):
    """:class:`DynamicResidualBlock` with fewer passes over its features y = F(x).

    With the channel gate g and the spatial gate s, which depends on means of g·y alone, the block is x + s·(g·y).
    """

    reach = 1

    def __init__(self, block: DynamicResidualBlock) -> None:
        super().__init__()
        self.features = block.body[:-2]
        channel_attention: Any = block.body[-2]
        spatial_attention: Any = block.body[-1]
        self.fc = channel_attention.fc
        self.kernel_generator = spatial_attention.kernel_generator

    def forward(self, x: Tensor) -> Tensor:
        y = self.features(x)
        batch, channels, height, width = y.shape
        # Pooling, because ``amax`` is slow in half precision on a CPU.
        mean, peak = F.adaptive_avg_pool2d(y, 1), F.adaptive_max_pool2d(y, 1)
        gate = torch.sigmoid(self.fc(mean) + self.fc(peak))
        kernel = self.kernel_generator(gate * mean).reshape(batch, 1, 3, 3)
        average = y.permute(0, 2, 3, 1).flatten(1, 2) @ (gate.flatten(2) / channels)  # (B, H·W, 1)
        response = F.conv2d(average.reshape(1, batch, height, width), kernel, padding=1, groups=batch)
        return y.mul_(gate).mul_(torch.sigmoid(response).reshape(batch, 1, height, width)).add_(x)


class DynamicResidualGroup(nn.Module):
    """x + conv(blocks(x))."""

    def __init__(self, channels: int, depth: int) -> None:
        super().__init__()
        self.body = nn.Sequential(*(DynamicResidualBlock(channels) for _ in range(depth)), conv(channels, channels, 3))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


class ReconstructionStep(nn.Module):
    """D = M(B + T)."""

    def __init__(self, channels: int, depth: int) -> None:
        super().__init__()
        self.mapping = nn.Sequential(
            conv(1, channels, 1),
            nn.BatchNorm2d(channels),
            nn.LeakyReLU(0.2, inplace=True),
            DynamicResidualGroup(channels, depth),
            conv(channels, 1, 1),
        )

    def forward(self, state: StageState) -> Tensor:
        return self.mapping(state.background + state.target)


@MODELS.register_module()
class DRPCANet(UnfoldingNetwork):
    """DRPCA-Net, 1,168,980 parameters as published.

    Args:
        num_stages: K.
        channels: Width C of every hidden layer; at least 16.
        background_depth: Hidden convolutions of P after the first.
        target_depth: Hidden convolutions of S after the first.
        reconstruction_depth: Residual blocks of M.
    """

    local_steps = True

    def __init__(
        self,
        num_stages: int = 6,
        channels: int = 32,
        background_depth: int = 3,
        target_depth: int = 6,
        reconstruction_depth: int = 5,
    ) -> None:
        def make_stage() -> Stage:
            return Stage(
                BackgroundStep(channels, background_depth),
                TargetStep(channels, target_depth),
                ReconstructionStep(channels, reconstruction_depth),
            )

        super().__init__(num_stages, make_stage)
        initialise(self)
