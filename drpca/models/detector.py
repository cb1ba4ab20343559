"""The trainable detector: a network, its input rules and its losses, in MMEngine's three modes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from mmengine.model import BaseModel
from torch import Tensor, nn
from torch.nn import functional as F

from drpca.registry import MODELS


@MODELS.register_module()
class DetectionModel(BaseModel):
    """A network with losses.

    Modes of ``forward``:
        ``'tensor'``: dict of the network's outputs, each (B, 1, H, W).
        ``'loss'``: dict of weighted loss terms.
        ``'predict'``: one dict per image: ``name``, ``scores`` (H, W) in [0, 1], ``gt_mask`` (H, W) bool.

    Args:
        network: Config of the network.
        losses: Name → config of each term; their sum is minimised.
        mean: Subtracted from the image in [0, 1] before it enters the network.
        std: The image is divided by it after that.
        in_channels: The grey image is repeated to so many channels.
        channels_last: Keep weights and features in NHWC memory order. Faster; the same mathematics.
        precision: ``'float32'`` or ``'bfloat16'`` (autocast). For float16 use MMEngine's
            ``AmpOptimWrapper``, which scales the loss.
    """

    def __init__(
        self,
        network: dict[str, Any] | nn.Module,
        losses: Mapping[str, dict[str, Any]] | None = None,
        mean: float | Sequence[float] = 0.0,
        std: float | Sequence[float] = 1.0,
        in_channels: int = 1,
        channels_last: bool = False,
        precision: str = 'float32',
        data_preprocessor: dict[str, Any] | None = None,
        init_cfg: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(data_preprocessor, init_cfg)
        self.network: Any = network if isinstance(network, nn.Module) else MODELS.build(network)
        self.losses = nn.ModuleDict({name: MODELS.build(term) for name, term in (losses or {}).items()})
        self.in_channels = in_channels
        self.precision = getattr(torch, precision)
        self.normalises = any(value != 0 for value in np.ravel(mean)) or any(value != 1 for value in np.ravel(std))
        self.register_buffer('mean', torch.tensor(mean).reshape(-1, 1, 1), persistent=False)
        self.register_buffer('std', torch.tensor(std).reshape(-1, 1, 1), persistent=False)
        self.memory_format = torch.channels_last if channels_last else torch.contiguous_format
        self.network.to(memory_format=self.memory_format)  # type: ignore[call-overload]

    def _prepare(self, image: Tensor) -> Tensor:
        """Normalised, repeated to the network's channels and padded at the bottom and the right."""
        if self.normalises:
            image = (image - self.mean) / self.std
        if image.shape[1] != self.in_channels:
            image = image.expand(-1, self.in_channels, -1, -1)
        multiple, smallest = self.network.size_multiple, self.network.min_size
        height, width = (max(side, smallest) for side in image.shape[-2:])
        pad = (
            0,
            width + -width % multiple - image.shape[-1],
            0,
            height + -height % multiple - image.shape[-2],
        )
        return F.pad(image, pad) if any(pad) else image

    def _run(self, function: Callable[[Tensor], Any], image: Tensor) -> Any:
        """Call the network, or a part of it, on a prepared image in the configured precision."""
        prepared = self._prepare(image).contiguous(memory_format=self.memory_format)
        with torch.autocast(image.device.type, self.precision, enabled=self.precision is not torch.float32):
            return function(prepared)

    def outputs(self, image: Tensor) -> dict[str, Tensor]:
        """(B, 1, H, W) in [0, 1] → the network's outputs by name, each (B, 1, H, W)."""
        height, width = image.shape[-2:]
        values = self._run(self.network, image)
        return {name: value[..., :height, :width] for name, value in zip(self.network.outputs, values)}

    def detect(self, image: Tensor) -> Tensor:
        """(B, 1, H, W) in [0, 1] → target logits (B, 1, H, W), float32, without unneeded outputs."""
        if not hasattr(self.network, 'detect'):
            return self.outputs(image)['target'].float()
        logits = self._run(self.network.detect, image)
        return logits[..., : image.shape[-2], : image.shape[-1]].float()

    def forward(  # type: ignore[override]
        self,
        image: Tensor,
        gt_mask: Tensor | None = None,
        name: Sequence[str] = (),
        mode: str = 'tensor',
        **unused: Any,
    ) -> Any:
        if mode == 'tensor':
            return self.outputs(image)
        if mode == 'loss':
            outputs = self.outputs(image)
            return {f'loss_{key}': term(outputs, image, gt_mask) for key, term in self.losses.items()}
        if mode == 'predict':
            scores = torch.sigmoid(self.detect(image))[:, 0]
            masks = torch.zeros_like(scores) if gt_mask is None else gt_mask[:, 0]
            return [
                {'name': name[index], 'scores': scores[index], 'gt_mask': masks[index] > 0}
                for index in range(len(scores))
            ]
        raise ValueError(f"mode must be 'tensor', 'loss' or 'predict', got {mode!r}")
