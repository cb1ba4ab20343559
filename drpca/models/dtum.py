"""DTUM (Li et al., Direction-Coded Temporal U-Shape Module for Multiframe Infrared Small Target Detection, TNNLS 2025).

One 2-D network turns every frame of a window into features, and a U over time joins them: convolutions along time
alone, between levels of half the height and width. What a level hands down is the largest of 2 × 2 pixels times a code
of its place, so that a sum over time tells a target that moves from one that blinks:

    x₁ = a(C₁x)        xₖ₊₁ = a(|Cₖ₊₁(pool(xₖ)·d)|), k = 1, 2, 3        d = −1.5, −0.5, 0.5, 1.5
    o₃ = a(C[↑x₄, x₃])    o₂ = a(C[↑o₃, x₂])    o₁ = a(C[↑o₂, x₁]) of one frame
    y = conv1(dropout(a(conv3[o₁, x of the last frame])))                a = ReLU of BatchNorm

Shape legend: (B, C, n, H, W) is (windows, channels, frames, rows, columns).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from drpca.registry import MODELS

from .comparator_layers import Comparator, check_image
from .resunet import ResUNet


def coded_pool(x: Tensor) -> Tensor:
    """(…, H, W) → (…, H/2, W/2): the largest of 2 × 2 pixels times the code of its place, the first one of equals."""
    parts = x[..., 0::2, 0::2], x[..., 0::2, 1::2], x[..., 1::2, 0::2], x[..., 1::2, 1::2]
    largest = torch.maximum(torch.maximum(parts[0], parts[1]), torch.maximum(parts[2], parts[3]))
    code = torch.where(parts[2] >= largest, 0.5, 1.5)
    for part, value in ((parts[1], -0.5), (parts[0], -1.5)):
        code = torch.where(part >= largest, value, code)
    return largest * code.to(x.dtype)


def _doubled(x: Tensor) -> Tensor:
    """Height and width ×2 by repetition."""
    return x.repeat_interleave(2, dim=-2).repeat_interleave(2, dim=-1)


class TemporalUNet(nn.Module):
    """The module over time; names are those of the published weights.

    Args:
        frames: n; time is padded so that n frames of the deepest level become one.
        channels: C.
        attached: Let the gradient through to the lower levels; see :class:`DTUM`.
        dropout: Of features before the last convolution.
    """

    def __init__(self, frames: int, channels: int, attached: bool, dropout: float) -> None:
        super().__init__()
        self.attached = attached

        def over_time(widths: int, padding: int) -> nn.Conv3d:
            return nn.Conv3d(widths, channels, (frames, 1, 1), padding=(padding, 0, 0))

        same = frames // 2
        self.bn0 = nn.BatchNorm3d(channels)
        for level in '1234':
            setattr(self, f'conv{level}_1', over_time(channels, same))
            setattr(self, f'bn{level}_1', nn.BatchNorm3d(channels))
        for level in '321':
            setattr(self, f'conv{level}_2', over_time(2 * channels, 0 if level == '1' else same))
            setattr(self, f'bn{level}_2', nn.BatchNorm3d(channels))
        self.final = nn.Sequential(
            nn.Conv3d(2 * channels, channels, (1, 3, 3), padding=(0, 1, 1)),
            nn.BatchNorm3d(channels),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Conv3d(channels, 1, 1),
        )

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, n, H, W), H and W multiples of 8 → target logits of the last frame, (B, 1, 1, H, W)."""
        x = F.relu(self.bn0(features))
        levels: list[Tensor] = []
        for level in '1234':
            values = getattr(self, f'conv{level}_1')(coded_pool(levels[-1]) if levels else x)
            levels.append(F.relu(getattr(self, f'bn{level}_1')(values.abs() if levels else values)))
        o = levels.pop()
        for level in '321':
            up = _doubled(o)
            if level == '1' and not self.attached:
                up = up.detach()
            values = getattr(self, f'conv{level}_2')(torch.cat([up, levels.pop()], dim=1))
            o = F.relu(getattr(self, f'bn{level}_2')(values))
        return self.final(torch.cat([o, x[:, :, -1:]], dim=1))


@MODELS.register_module()
class DTUM(Comparator):
    """Res-UNet with DTUM over windows of five frames, 298,305 parameters as published (DTUM itself 70,497).

    As released, the second level is cut off from the gradient: the 20 tensors of the levels below are never trained and
    stay as they were initialised, a random code of directions. ``attached`` trains them.

    Published training: soft IoU of the batch, Adam 1e-3 with betas 0.9 and 0.99, halved every 3 of 20 epochs, batch 1;
    frames (grey 0–255 − mean)/std of the data set.

    Args:
        frames: n, odd; the published weights are for 5.
        channels: Features of a frame.
        attached: Let the gradient through.
        dropout: Of features before the last convolution.

    Attributes:
        frames: n.
        reported: The last frame alone.
    """

    size_multiple = 8
    frames = 5

    def __init__(self, frames: int = 5, channels: int = 32, attached: bool = False, dropout: float = 0.5) -> None:
        super().__init__()
        if frames % 2 == 0 or frames < 3:
            raise ValueError(f'frames: expected an odd number from 3 on, got {frames}')
        self.frames = self.in_channels = frames
        self.reported = (frames - 1,)
        self.UNet = ResUNet(3, (2, 2, 2), (8, 16, 32, 64), channels)
        self.DTUM = TemporalUNet(frames, channels, attached, dropout)

    def embed(self, image: Tensor) -> Tensor:
        """Frames (B, 1, H, W) → their features (B, C, H, W), each by itself."""
        (features,) = self.UNet(image.expand(-1, 3, -1, -1))
        return features

    def fuse(self, features: Tensor) -> Tensor:
        """Features of a window, (B, n, C, H, W) → target logits of its last frame, (B, 1, H, W)."""
        return self.DTUM(features.transpose(1, 2))[:, :, 0]

    def forward(self, image: Tensor) -> tuple[Tensor]:
        """Window (B, n, H, W) → target logits of its last frame, (B, 1, H, W)."""
        check_image(self, image)
        features = self.embed(image.flatten(0, 1)[:, None])
        return (self.fuse(features.unflatten(0, (-1, self.frames))),)
