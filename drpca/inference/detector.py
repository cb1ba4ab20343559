"""From frames to score maps: one interface for networks and classical methods."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from mmengine.config import Config

from drpca.datasets.io import resize_image, to_unit
from drpca.engine.checkpoint import load_weights
from drpca.engine.config import explain_build_error
from drpca.errors import UserError
from drpca.models.detector import DetectionModel
from drpca.registry import BASELINES, MODELS

Frame = tuple[str, np.ndarray]


class ScoreMapper(Protocol):
    """What ``inference.py`` needs of a detector."""

    def score_maps(self, frames: Iterable[Frame]) -> Iterator[Frame]:
        """(name, (H, W) uint8 or uint16) → (name, (H', W') float32 in [0, 1]), in order."""
        ...


class NetworkMapper:
    """Score maps of a trained network.

    Args:
        model: A :class:`drpca.models.detector.DetectionModel` with weights.
        size: Side of the square to which frames are resized, as the published recipes do; the map has that
            size. None: each frame's own size, padded where the network needs it.
        device: ``'cuda'``, ``'cpu'``, …; None takes a GPU where there is one.
        batch_size: Frames of equal size that go through the network together; None: 16 on a GPU, 1 on a CPU,
            whose caches hold no more.
    """

    def __init__(
        self,
        model: DetectionModel,
        size: int | None = 256,
        device: str | None = None,
        batch_size: int | None = None,
    ) -> None:
        self.device = torch.device(device or ('cuda' if torch.cuda.is_available() else 'cpu'))
        self.model = model.to(self.device, memory_format=torch.channels_last).eval()
        self.model.memory_format = torch.channels_last
        self.size = size
        self.batch_size = batch_size or (1 if self.device.type == 'cpu' else 16)

    def _tensor(self, frame: np.ndarray) -> torch.Tensor:
        if self.size is not None:
            frame = resize_image(frame, (self.size, self.size))
        return torch.from_numpy(to_unit(frame))[None]

    @torch.inference_mode()
    def _run(self, batch: list[tuple[str, torch.Tensor]]) -> Iterator[Frame]:
        images = torch.stack([image for _, image in batch]).to(self.device)
        scores = torch.sigmoid(self.model.detect(images))[:, 0].cpu().numpy()
        for (name, _), score in zip(batch, scores):
            yield name, score

    def score_maps(self, frames: Iterable[Frame]) -> Iterator[Frame]:
        batch: list[tuple[str, torch.Tensor]] = []
        for name, frame in frames:
            image = self._tensor(frame)
            if batch and (len(batch) == self.batch_size or batch[0][1].shape != image.shape):
                yield from self._run(batch)
                batch = []
            batch.append((name, image))
        if batch:
            yield from self._run(batch)


class BaselineMapper:
    """Score maps of a classical method; frames are resized where its preset says so."""

    def __init__(self, baseline: Any) -> None:
        self.baseline = baseline

    def score_maps(self, frames: Iterable[Frame]) -> Iterator[Frame]:
        for name, frame in frames:
            if self.baseline.input_size is not None:
                frame = resize_image(frame, self.baseline.input_size)
            yield name, self.baseline.scores(frame)


def is_baseline(config: Config) -> bool:
    """The config names a classical method, which has no weights."""
    return config.model.type in BASELINES


def build_mapper(
    config: Config,
    checkpoint: str | Path | None,
    size: int | None,
    device: str | None = None,
    batch_size: int | None = None,
) -> ScoreMapper:
    """The detector that a config describes.

    Args:
        config: With ``model``.
        checkpoint: Weight file; None for classical methods only.
        size: See :class:`NetworkMapper`.
        device: Likewise.
        batch_size: Likewise.

    Raises:
        UserError: Bad config or checkpoint, no checkpoint where one is needed, no such device.
    """
    try:
        if is_baseline(config):
            return BaselineMapper(BASELINES.build(config.model))
        if checkpoint is None:
            raise UserError(f'{config.model.network.type} needs weights: give --checkpoint FILE.')
        model = MODELS.build(config.model)
    except (TypeError, KeyError) as error:
        raise explain_build_error(error) or error from None
    load_weights(model.network, checkpoint)
    try:
        return NetworkMapper(model, size, device, batch_size)
    except (RuntimeError, AssertionError) as error:
        raise UserError(f'Cannot use device {device!r}: {str(error).splitlines()[0]}') from None
