"""RPCANet++ (Wu et al., RPCANet++: Deep Interpretable Robust PCA for Sparse Object Segmentation, 2025).

RPCANet with a memory from stage to stage in the background step and a deep contrast prior in the
target step. One stage, with hidden and cell state (h, c) of a convolutional LSTM:

    x = D − T            u = R₁(A(x)),  (h, c) = LSTM(u, h, c),  B = x + C(R₂(h))
    x = T + D − B        T = x − ε·S(x + K(x))
    D = M(B + T)

A lifts x to C channels, R₁ and R₂ are residual blocks, K is the contrast block.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from drpca.registry import MODELS

from .comparator_layers import PooledGate, check_image
from .layers import conv, conv_stack, initialise
from .rpcanet import ReconstructionStep
from .unfolding import Stage, StageState, UnfoldingNetwork

Memory = tuple[Tensor, Tensor]


class ConvLSTM(nn.Module):
    """Convolutional LSTM cell: gates f, i, o and candidate j from input u and hidden state h (B, C, H, W).

    The first stage has no state yet: c = i·j, and h = o·c without tanh, as published.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        for gate in 'fioj':
            self.add_module(f'conv_x{gate}', conv(channels, channels, 3))
            self.add_module(f'conv_h{gate}', conv(channels, channels, 3))

    def forward(self, u: Tensor, memory: Memory | None) -> Memory:
        def gate(name: str) -> Tensor:
            x = self.get_submodule(f'conv_x{name}')(u)
            return x if memory is None else x + self.get_submodule(f'conv_h{name}')(memory[0])

        i, o, j = torch.sigmoid(gate('i')), torch.sigmoid(gate('o')), torch.tanh(gate('j'))
        if memory is None:
            c = i * j
            return o * c, c
        c = torch.sigmoid(gate('f')) * memory[1] + i * j
        return o * torch.tanh(c), c


class ResidualBlock(nn.Module):
    """u + conv3(ReLU(conv3(u)))."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = conv(channels, channels, 3)
        self.conv2 = conv(channels, channels, 3)

    def forward(self, u: Tensor) -> Tensor:
        return u + self.conv2(F.relu(self.conv1(u)))


class BackgroundStep(nn.Module):
    """B = x + C(R₂(h)) with x = D − T and h from the LSTM; returns B and the LSTM's state."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1_C = nn.Sequential(*conv_stack([1, channels], normalise=True))
        self.RB_1 = ResidualBlock(channels)
        self.RB_2 = ResidualBlock(channels)
        self.convC_1 = conv(channels, 1, 3)
        self.ConvLSTM = ConvLSTM(channels)

    def forward(self, state: StageState, memory: Memory | None) -> tuple[Tensor, Memory]:
        x = state.reconstruction - state.target
        memory = self.ConvLSTM(self.RB_1(self.conv1_C(x)), memory)
        return x + self.convC_1(self.RB_2(memory[0])), memory


class ContrastLayer(nn.Module):
    """attn(v)·(W_sum v) − W v: centre against 17 × 17 surroundings, W_sum being W's taps summed to 1 × 1."""

    def __init__(self, channels: int, kernel_size: int = 17) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, kernel_size, padding=kernel_size // 2, bias=False)
        self.attn = PooledGate(channels, bias=True)

    def forward(self, v: Tensor) -> Tensor:
        summed = F.conv2d(v, self.conv.weight.sum(dim=(2, 3), keepdim=True))
        return self.attn(v) * summed - self.conv(v)


class TargetStep(nn.Module):
    """T = x − ε·S(x + K(x)) with x = T + D − B, ε learned."""

    def __init__(self, channels: int, depth: int) -> None:
        super().__init__()
        self.contrast = nn.Sequential(
            *conv_stack([1, channels]),
            ContrastLayer(channels),
            nn.BatchNorm2d(channels),
            nn.LeakyReLU(0.1, inplace=True),
            conv(channels, 1, 3),
        )
        self.convs = nn.Sequential(*conv_stack([1] + [channels] * (depth + 1)), conv(channels, 1, 3))
        self.epsilon = nn.Parameter(torch.full((1,), 0.01))

    def forward(self, state: StageState) -> Tensor:
        x = state.target + state.reconstruction - state.background
        return x - self.epsilon * self.convs(x + self.contrast(x))


@MODELS.register_module()
class RPCANetPlusPlus(UnfoldingNetwork):
    """RPCANet++, 2,961,582 parameters with six stages as published ("S6"; S3 1,480,791, S9 4,442,373).

    The first stage has no memory to read, so five convolutions of its LSTM (46,240 parameters) never run;
    they are there for the published files. Published training: x/255, size 256, SoftIoU +
    0.01·MSE(D^K, D), Adam 1e-4, batch 8, poly 0.9, 800 epochs.

    Args:
        num_stages: K.
        channels: Width C of every hidden layer.
        target_depth: Hidden convolutions of S after the first.
        reconstruction_depth: Hidden convolutions of M after the first.
    """

    in_channels = 1
    min_train_batch = 2
    unused_parameters = tuple(f'decos.0.lowrank.ConvLSTM.conv_{name}.*' for name in ('xf', 'hf', 'hi', 'ho', 'hj'))

    def __init__(
        self, num_stages: int = 6, channels: int = 32, target_depth: int = 6, reconstruction_depth: int = 3
    ) -> None:
        def make_stage() -> Stage:
            return Stage(
                BackgroundStep(channels),
                TargetStep(channels, target_depth),
                ReconstructionStep(channels, reconstruction_depth),
            )

        super().__init__(num_stages, make_stage)
        initialise(self)

    def unroll(self, image: Tensor, final_reconstruction: bool = True) -> Iterator[StageState]:
        """As in `UnfoldingNetwork`, with the LSTM's state handed from stage to stage."""
        check_image(self, image)
        state = StageState(image, background=torch.zeros_like(image), target=torch.zeros_like(image))
        memory: Memory | None = None
        for index, stage in enumerate(cast(Iterable[Stage], self.decos)):
            background, memory = stage.lowrank(state, memory)
            state = state._replace(background=background)
            state = state._replace(target=stage.sparse(state))
            if final_reconstruction or index + 1 < len(self.decos):
                state = state._replace(reconstruction=stage.merge(state))
            yield state
