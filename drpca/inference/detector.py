"""The detector: from anything that holds frames to score maps, masks and lists of targets."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn

from drpca.config import find_config, load_config
from drpca.deploy.backends import SUFFIXES, open_backend
from drpca.errors import UserError
from drpca.inference.detections import Detection, find_targets
from drpca.inference.frames import Frame, FrameSource
from drpca.inference.live import QUEUE, LiveStream
from drpca.inference.mappers import (
    BaselineMapper,
    ExportedMapper,
    FrameMapper,
    MappedFrame,
    NetworkMapper,
    ScoreMapper,
    build_mapper,
    is_baseline,
    network_mapper,
)
from drpca.models.detector import DetectionModel
from drpca.registry import MODELS

__all__ = [
    'BaselineMapper',
    'Detection',
    'Detector',
    'Frame',
    'NetworkMapper',
    'ScoreMapper',
    'build_mapper',
    'is_baseline',
]


class Detector:
    """Finds small targets in infrared frames.

    >>> detector = drpca.Detector('rpcanet_sirstv1', 'RPCANet_SIRST.pkl')
    >>> detections = detector('frames/')
    >>> for detection in detector.stream('flight.mp4'): ...
    >>> for detection in detector.live(0, when_full='drop'): ...

    Args:
        model: A network or :class:`drpca.models.detector.DetectionModel` with weights; a registered network's
            name (``'RPCANet'``); a config's name or file; or a file that ``tools/export.py`` wrote.
        weights: Weight file, as authors publish it or as trained here. Only with a name or a config.
        size: Side of the square to which frames are resized, as the published recipes do; maps and targets are
            then at that size. None: each frame's own size, padded inside where a network needs it.
        threshold: Scores above it are detections; in [0, 1).
        tile: Frames with a longer side are cut into overlapping tiles of this side; None: never.
        overlap: Pixels that tiles share at least.
        batch_size: Frames of equal size, or tiles, at once; None: 16 on a GPU, 1 on a CPU.
        device: ``'cuda'``, ``'cpu'``, …; None takes a GPU where there is one.
        precision: ``'fp32'``, ``'bf16'`` or ``'fp16'``.
        optimise: Run the equivalent, faster form of the network.
        compile: Run it through ``torch.compile``.
        cuda_graph: Replay a CUDA graph per size of frame; needs an NVIDIA GPU.
        threads: Threads of the CPU; None leaves PyTorch's setting.
        backend: For exported files: ``'onnx'``, ``'openvino'``, ``'tensorrt'``, ``'torch'``, or ``'auto'``, the
            fastest of those installed.

    Raises:
        UserError: Unknown model or config, weights that do not fit, an unreadable file, a bad option.
    """

    def __init__(
        self,
        model: nn.Module | str | os.PathLike[str],
        weights: str | os.PathLike[str] | None = None,
        *,
        size: int | None = None,
        threshold: float = 0.5,
        tile: int | None = 1024,
        overlap: int = 64,
        batch_size: int | None = None,
        device: str | None = None,
        precision: str = 'fp32',
        optimise: bool = True,
        compile: bool = False,
        cuda_graph: bool = False,
        threads: int | None = None,
        backend: str = 'auto',
    ) -> None:
        if not 0 <= threshold < 1:
            raise UserError(f'Expected a threshold in [0, 1), got {threshold}.')
        if threads is not None:
            torch.set_num_threads(threads)
        options = {
            'batch_size': batch_size, 'tile': tile, 'overlap': overlap, 'precision': precision,
            'optimise': optimise, 'compile': compile, 'cuda_graph': cuda_graph,
        }  # fmt: skip
        self.threshold = threshold
        self.mapper: FrameMapper
        if isinstance(model, str | os.PathLike) and Path(model).suffix in SUFFIXES:
            if weights is not None or precision != 'fp32':
                raise UserError(
                    f'{model} has its weights and precision in it: leave out weights and precision.'
                )
            exported = open_backend(model, backend, threads)
            self.mapper = ExportedMapper(
                exported, size, tile=tile, overlap=overlap, batch_size=batch_size or 1
            )
            return
        self.mapper = _make_mapper(model, weights, size, device, options)

    @classmethod
    def from_mapper(cls, mapper: FrameMapper, threshold: float = 0.5) -> Detector:
        """A detector around score maps that are made elsewhere."""
        detector = cls.__new__(cls)
        detector.mapper, detector.threshold = mapper, threshold
        return detector

    def __call__(self, images: Any) -> list[Detection]:
        """All frames of ``images`` (see :class:`drpca.inference.frames.FrameSource`), also for a single one.

        Raises:
            UserError: A frame cannot be read.
        """
        return list(self.stream(images))

    def stream(self, frames: Any) -> Iterator[Detection]:
        """The same one by one, holding one batch in memory: for videos and long sequences.

        Pass a :class:`drpca.inference.frames.FrameSource` with ``keep_going=True`` to go on past damaged frames.
        """
        for mapped in self.mapper.map_frames(self._source(frames)):
            yield self._detection(mapped)

    def live(
        self,
        frames: Any,
        *,
        queue: int = QUEUE,
        when_full: str = 'block',
        rate: float | None = None,
    ) -> LiveStream:
        """The same while a thread reads ahead, each frame by itself, with its latency.

        Args:
            frames: A video, the number of a camera, the URL of a stream, or anything :meth:`stream` takes.
            queue: Frames that may wait.
            when_full: ``'block'``: the source waits, nothing is lost. ``'drop'``: the frame that has waited
                longest is dropped, and ``LiveStream.dropped`` counts it.
            rate: Frames per second at which a recording is played; None: as fast as it is read.

        Raises:
            UserError: A bad option; while iterating, as :meth:`stream`.
        """
        return LiveStream(self, self._source(frames), queue, when_full, rate)

    def _source(self, frames: Any) -> FrameSource:
        return frames if isinstance(frames, FrameSource) else self.mapper.source(frames)

    def _detection(self, mapped: MappedFrame) -> Detection:
        mask = mapped.scores > self.threshold
        return Detection(
            mapped.name, mapped.image, mapped.scores, mask, find_targets(mapped.scores, mapped.image, mask)
        )


def _make_mapper(
    model: nn.Module | str | os.PathLike[str],
    weights: str | os.PathLike[str] | None,
    size: int | None,
    device: str | None,
    options: dict[str, Any],
) -> FrameMapper:
    if isinstance(model, nn.Module):
        if weights is not None:
            raise UserError('weights come with a name or a config; load them into the network yourself.')
        if not isinstance(model, DetectionModel):
            model = DetectionModel(model)
        return network_mapper(model, size, device, **options)
    name = os.fspath(model)
    if MODELS.get(name) is not None and name != DetectionModel.__name__:
        if weights is None:
            raise UserError(f"{name} needs weights: Detector('{name}', 'FILE').")
        from drpca.checkpoint import load_weights

        network = load_weights(MODELS.build({'type': name}), Path(weights))
        return _make_mapper(network, None, size, device, options)
    config = load_config(find_config(name))
    return build_mapper(config, weights, size, device, **options)
