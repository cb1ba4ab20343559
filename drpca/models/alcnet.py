"""ALCNet (Dai et al., Attentional Local Contrast Networks for Infrared Small Target Detection, TGRS 2021).

The network that is compared in the literature under this name: a feature pyramid on ACM's backbone
with ACM's asymmetric fusion. It has no dilated local contrast modules.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from drpca.registry import MODELS

from .acm import MOMENTUM, ACMBackbone, AsymmetricFusion
from .comparator_layers import BasicBlock, FCNHead, check_image, resize, stack


@MODELS.register_module()
class ALCNet(ACMBackbone):
    """ALCNet, 519,889 parameters as published, of which 426,961 are used.

    ``uplayer1`` and ``uplayer2`` (92,928 parameters) never run; they are there for the published files.
    Published training: as `ACM`.

    Args:
        in_channels: Channels of the image.
        num_blocks: Residual blocks of the three or four layers. A fourth layer stays at width c3 and
            makes the sides multiples of 32.
        channels: Widths (c0, c1, c2, c3); c1 must be 2·c0, the stem's output.
    """

    size_multiple = 16
    unused_parameters = ('uplayer1.*', 'uplayer2.*')

    def __init__(
        self, in_channels: int = 1, num_blocks: Sequence[int] = (4, 4, 4), channels: Sequence[int] = (8, 16, 32, 64)
    ) -> None:
        super().__init__(in_channels, num_blocks, channels)
        c0, c1, c2, c3 = channels
        self.layer4: nn.Module | None = None
        if len(num_blocks) == 4:
            self.size_multiple = 32
            self.layer4 = stack(BasicBlock, c3, c3, num_blocks[3], stride=2, shortcut_momentum=MOMENTUM)
            self.fuse34 = AsymmetricFusion(c3)
        self.fuse23 = AsymmetricFusion(c2)
        self.fuse12 = AsymmetricFusion(c1)
        self.deconv0 = nn.ConvTranspose2d(c1, c0, 4, stride=2, padding=1)
        self.head = FCNHead(c0, momentum=MOMENTUM)

    def forward(self, image: Tensor) -> tuple[Tensor]:
        """(B, in_channels, H, W) → target logits (B, 1, H, W)."""
        check_image(self, image)
        c1 = self.layer1(self.stem(image))
        c2 = self.layer2(c1)
        x = self.layer3(c2)
        if self.layer4 is not None:
            x = self.fuse34(resize(self.layer4(x), x.shape[-2:]), x)
        x = self.fuse23(self.deconv2(x), c2)
        x = self.fuse12(self.deconv1(x), c1)
        return (resize(self.head(self.deconv0(x)), image.shape[-2:]),)
