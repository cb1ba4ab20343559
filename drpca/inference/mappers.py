"""Score maps of frames: one interface for networks, exported networks and classical methods."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import groupby, repeat
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from mmengine.config import Config

from drpca.baselines import Baseline
from drpca.baselines.base import as_grey
from drpca.baselines.frame_windows import SequenceError, SolvedFrames, WindowBaseline, scaled
from drpca.checkpoint import load_weights
from drpca.config import building
from drpca.datasets.io import GreyRule, Levelled, ValueRange, resize_image, unit
from drpca.deploy.backends import Backend
from drpca.deploy.optimise import optimise_model
from drpca.errors import UserError, warn
from drpca.inference.frames import MIN_SIDE, Frame, FrameSource, sequence_of
from drpca.inference.tiling import in_tiles, map_in_tiles
from drpca.inference.window_stream import delay_of, stream_windows
from drpca.models.detector import DetectionModel, receptive_radius
from drpca.options import AUTO, TILE
from drpca.registry import BASELINES, MODELS

OVERLAP = 64
WORKERS = 4
LARGEST_AT_ONCE = 512
"""Most batches, and longest side of frames, that are computed at the same time: the memory grows with both."""
_TRAINING_ONLY = ('losses', 'initialisation')


class ScoreMapper(Protocol):
    """What ``inference.py`` needs of a detector."""

    values: ValueRange

    @property
    def grey(self) -> GreyRule: ...

    def score_maps(self, frames: Iterable[tuple[str, np.ndarray | Levelled]]) -> Iterator[Frame]:
        """(name, (H, W) grey values) → (name, (H', W') float32 in [0, 1]), in order."""
        ...


class MappedFrame(NamedTuple):
    """A frame and its score map.

    Attributes:
        name: Its name.
        frame: (H, W) as it came, on a known scale.
        image: (H', W') float32 in [0, 1], as the detector saw it.
        scores: (H', W') float32 in [0, 1].
        logits: (H', W') float32, of which ``scores`` is the sigmoid; None of a classical method or of blended tiles.
    """

    name: str
    frame: Levelled
    image: np.ndarray
    scores: np.ndarray
    logits: np.ndarray | None = None


class ScoredBatch(NamedTuple):
    """Score maps of a batch, (H, W) float32 in [0, 1] each, and the logits that they are the sigmoid of, if any."""

    scores: Sequence[np.ndarray]
    logits: Sequence[np.ndarray] | None = None


class FrameMapper(ABC):
    """Resizes, tiles and batches frames; a subclass turns a batch, or a window of consecutive frames, into scores.

    Args:
        size: (height, width) to which frames are resized, None for their own size. Maps have that size.
        tile: Frames with a longer side are cut into tiles of this side; None: never.
        overlap: Pixels that neighbouring tiles share at least, where :attr:`radius` does not say how many they need.
        batch_size: Frames of equal size, or tiles, per call of :meth:`score_batch`.
    """

    def __init__(
        self, size: tuple[int, int] | None, tile: int | None = None, overlap: int = OVERLAP, batch_size: int = 1
    ) -> None:
        self.frame_size = size
        self.values = ValueRange()
        self.tile = tile
        self.overlap = min(overlap, tile // 2) if tile else overlap
        self.batch_size = batch_size
        self.has_warned = False
        self.at_once = False

    @property
    def workers(self) -> int:
        """Batches that are computed at the same time where ``at_once`` asks for it, each by its share of the threads.

        That takes less time than all threads on one batch after the other, but the first result comes later.
        """
        return 1

    @property
    def frames(self) -> int:
        """Consecutive frames that it looks at together."""
        return 1

    @property
    def reported(self) -> Sequence[int]:
        """Which of them a look gives maps of."""
        return (0,)

    @property
    def delay(self) -> int:
        """Frames that must follow one before its map is there, at most."""
        return delay_of(self.frames, self.reported)

    @property
    def min_side(self) -> int:
        """Smallest height and width of a frame."""
        return MIN_SIDE if self.frame_size is None else 1

    @property
    def grey(self) -> GreyRule:
        """How colour files become grey."""
        return 'opencv'

    def source(self, images: Any, keep_going: bool = False) -> FrameSource:
        """The frames of ``images``, read as this detector needs them; see :class:`FrameSource`.

        Raises:
            UserError: As :meth:`FrameSource.check_sequences`.
        """
        frames = FrameSource(images, keep_going, self.min_side, self.grey, self.values.kind != AUTO)
        frames.check_sequences(self.frames)
        return frames

    @abstractmethod
    def score_batch(self, images: list[np.ndarray]) -> list[np.ndarray]:
        """(H, W) float32 images in [0, 1] of equal size → (H, W) float32 score maps in [0, 1]."""

    def map_batch(self, images: list[np.ndarray]) -> ScoredBatch:
        """The same with logits, where there are any."""
        return ScoredBatch(self.score_batch(images))

    def map_frames(self, frames: Iterable[tuple[str, np.ndarray | Levelled]]) -> Iterator[MappedFrame]:
        """Score maps with their images, in order. Equal sizes in a row share a batch.

        Of windows each is looked at by itself, and never in tiles: one window is in memory.
        """
        if self.frames > 1:
            yield from self._map_windows(frames)
            return
        for batch in self._mapped_batches(frames):
            yield from map(_checked, batch)

    def _mapped_batches(self, frames: Iterable[tuple[str, np.ndarray | Levelled]]) -> Iterator[list[MappedFrame]]:
        with self._pool() as pool:
            waiting: deque[Future[list[MappedFrame]]] = deque()
            for batch in self._batches(frames):
                if pool is not None and max(batch[0][2].shape) <= LARGEST_AT_ONCE:
                    waiting.append(pool.submit(self._map, batch))
                    if len(waiting) > self.workers:
                        yield waiting.popleft().result()
                    continue
                while waiting:
                    yield waiting.popleft().result()
                yield self._map(batch)
            while waiting:
                yield waiting.popleft().result()

    @contextmanager
    def _pool(self) -> Iterator[ThreadPoolExecutor | None]:
        """Where batches are computed at the same time, None where they are not."""
        workers, threads = self.workers, torch.get_num_threads()
        if not self.at_once or workers == 1:
            yield None
            return
        pool = ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(threads // workers,))
        try:
            yield pool
        finally:
            pool.shutdown(cancel_futures=True)
            torch.set_num_threads(threads)  # a new thread takes the number that was set last

    def _batches(
        self, frames: Iterable[tuple[str, np.ndarray | Levelled]]
    ) -> Iterator[list[tuple[str, Levelled, np.ndarray]]]:
        """Frames of equal size with their images, up to a batch of them; one that is cut into tiles by itself."""
        batch: list[tuple[str, Levelled, np.ndarray]] = []
        for name, values in frames:
            frame = self.values.level(values, name)
            image = self.prepare(frame)
            if batch and (batch[0][2].shape != image.shape):
                yield batch
                batch = []
            batch.append((name, frame, image))
            if len(batch) == self.batch_size or self._is_cut(image):
                yield batch
                batch = []
        if batch:
            yield batch

    def _is_cut(self, image: np.ndarray) -> bool:
        return self.tile is not None and max(image.shape) > self.tile

    def _map(self, batch: list[tuple[str, Levelled, np.ndarray]]) -> list[MappedFrame]:
        images = [image for *_, image in batch]
        scored = self.map_large(images[0]) if self._is_cut(images[0]) else self.map_batch(images)
        all_logits: Iterable[np.ndarray | None] = repeat(None) if scored.logits is None else scored.logits
        return [
            MappedFrame(name, frame, image, scores, logits)
            for (name, frame, image), scores, logits in zip(batch, scored.scores, all_logits)
        ]

    def windows(
        self, frames: Iterable[tuple[str, np.ndarray | Levelled]]
    ) -> Iterator[tuple[list[tuple[str, Levelled, np.ndarray]], Sequence[int]]]:
        """Windows of (name, frame, image as the detector sees it), and which of their frames are new.

        Each folder and each video is a sequence of its own, and so are frames of another size.
        """

        def prepared() -> Iterator[tuple[str, Levelled, np.ndarray]]:
            for name, values in frames:
                frame = self.values.level(values, name)
                yield name, frame, self.prepare(frame)

        for _, sequence in groupby(prepared(), key=lambda item: (sequence_of(item[0]), item[2].shape)):
            yield from stream_windows(sequence, self.frames, self.reported)

    def _map_windows(self, frames: Iterable[tuple[str, np.ndarray | Levelled]]) -> Iterator[MappedFrame]:
        memory: dict[int, torch.Tensor] = {}
        for window, places in self.windows(frames):
            scored = self.map_window([image for *_, image in window], memory)
            for place in places:
                found = list(self.reported).index(place)
                logits = None if scored.logits is None else scored.logits[found]
                yield _checked(MappedFrame(*window[place], scored.scores[found], logits))

    def map_window(self, window: list[np.ndarray], memory: dict[int, torch.Tensor]) -> ScoredBatch:
        """Maps of the reported frames of a window.

        Args:
            window: (H, W) float32 images in [0, 1].
            memory: What may be kept from one window of a stream to the next, by the ``id`` of an image.
        """
        raise NotImplementedError

    @property
    def radius(self) -> int | None:
        """Pixels around one on which its logit depends, alike everywhere; None: all of the frame, or unknown."""
        return None

    def map_large(self, image: np.ndarray) -> ScoredBatch:
        """As :meth:`map_batch` for one image with a side longer than a tile.

        Warns, once, where tiles change its scores; then there are no logits.
        """
        assert self.tile is not None
        radius = self.radius
        if radius is None or 2 * radius > self.tile // 2:
            self._warn_of_tiles(radius)
            return ScoredBatch([map_in_tiles(image, self.score_batch, self.tile, self.overlap, self.batch_size)])

        def logits(images: list[np.ndarray]) -> Sequence[np.ndarray]:
            scored = self.map_batch(images)
            assert scored.logits is not None
            return scored.logits

        whole = map_in_tiles(image, logits, self.tile, 2 * radius, self.batch_size, radius)
        return _sigmoid(torch.from_numpy(whole)[None, None])

    def _warn_of_tiles(self, radius: int | None) -> None:
        if not self.has_warned:
            self.has_warned = True
            advice = 'the whole frame at once is tile=None (--tile 0), if the memory holds it'
            if radius is not None:
                advice = f'tiles of at least {4 * radius} would not'
            text = (
                f'{self.described} is computed in tiles of {self.tile} x {self.tile}, which changes its score maps '
                f'(docs/deployment.md says by how much): {advice}.'
            )
            warn(text)

    @property
    def described(self) -> str:
        """Its name in messages."""
        return type(self).__name__

    def score_maps(self, frames: Iterable[tuple[str, np.ndarray | Levelled]]) -> Iterator[Frame]:
        """(name, frame) → (name, score map), in order."""
        for mapped in self.map_frames(frames):
            yield mapped.name, mapped.scores

    def prepare(self, frame: np.ndarray | Levelled) -> np.ndarray:
        """(H, W) of grey values → (H', W') float32 in [0, 1], as the detector sees it."""
        image = self.values.level(frame).image
        return unit(image if self.frame_size is None else resize_image(image, self.frame_size))


def _checked(mapped: MappedFrame) -> MappedFrame:
    """A map, which says something of every pixel.

    Raises:
        UserError: NaN in it, which no threshold would find.
    """
    if wrong := np.count_nonzero(np.isnan(mapped.scores)):
        raise UserError(
            f'{mapped.name}: expected scores from 0 to 1, got {wrong} NaN of {mapped.scores.size}: the weights are '
            'damaged, or a parameter or the precision does not suit this frame; compute in fp32.'
        )
    return mapped


class NetworkMapper(FrameMapper):
    """Score maps of a network in PyTorch.

    Args:
        model: A :class:`drpca.models.detector.DetectionModel` with weights. Left as it is.
        size: Side of the square to which frames are resized, as the published recipes do; the map has that
            size. None: each frame's own size, padded where the network needs it.
        device: ``'cuda'``, ``'cpu'``, …; None takes a GPU where there is one.
        batch_size: None: 16 on a GPU, 1 on a CPU, whose caches hold no more.
        tile: See :class:`FrameMapper`, as of ``overlap``.
        precision: See :class:`drpca.Detector`, as of the next three; :mod:`drpca.deploy.optimise` does them.
        winograd: See :func:`drpca.deploy.optimise.optimise_model`.
    """

    def __init__(
        self,
        model: DetectionModel,
        size: int | None = 256,
        device: str | None = None,
        batch_size: int | None = None,
        *,
        tile: int | None = TILE,
        overlap: int = OVERLAP,
        precision: str = 'fp32',
        optimise: bool = True,
        compile: bool = False,
        cuda_graph: bool = False,
        winograd: bool = False,
    ) -> None:
        self.device = torch.device(device or ('cuda' if torch.cuda.is_available() else 'cpu'))
        super().__init__(
            None if size is None else (size, size),
            tile,
            overlap,
            batch_size or (1 if self.device.type == 'cpu' else 16),
        )
        self.size = size
        self._takes_turns = compile or winograd or self.device.type != 'cpu' or model.network.frames > 1
        self.model = optimise_model(model, self.device, precision, optimise, compile, cuda_graph, winograd)

    @torch.inference_mode()
    def map_batch(self, images: list[np.ndarray]) -> ScoredBatch:
        batch = torch.from_numpy(np.stack(images))[:, None].to(self.device)
        return _sigmoid(self.model.detect(batch))

    def score_batch(self, images: list[np.ndarray]) -> list[np.ndarray]:
        return list(self.map_batch(images).scores)

    @property
    def workers(self) -> int:
        return 1 if self._takes_turns else min(WORKERS, torch.get_num_threads())

    @property
    def frames(self) -> int:
        return self.model.network.frames

    @property
    def reported(self) -> Sequence[int]:
        return self.model.network.reported

    @torch.inference_mode()
    def map_window(self, window: list[np.ndarray], memory: dict[int, torch.Tensor]) -> ScoredBatch:
        batch = torch.from_numpy(np.stack(window))[None].to(self.device)
        if hasattr(self.model.network, 'embed') and not self.model.scale_to_max:
            return _sigmoid(self.model.detect_window(batch, [*map(id, window)], memory))
        return _sigmoid(self.model.detect(batch))

    @torch.inference_mode()
    def map_large(self, image: np.ndarray) -> ScoredBatch:
        network: Any = self.model.network
        if not getattr(network, 'local_steps', False):
            return super().map_large(image)
        assert self.tile is not None
        tiled = in_tiles(network, self.tile, self.batch_size)
        batch = torch.from_numpy(image)[None, None].to(self.device)
        # Of the class, since an instance may have a compiled form.
        (logits,) = self.model.apply_to(lambda prepared: (type(network).detect(tiled, prepared),), batch)
        return _sigmoid(logits.float())

    @property
    def radius(self) -> int | None:
        return receptive_radius(self.model)

    @property
    def described(self) -> str:
        return type(self.model.network).__name__

    @property
    def has_stages(self) -> bool:
        """The network has a decomposition to look at."""
        return hasattr(self.model.network, 'decompose')


class BaselineMapper(FrameMapper):
    """Score maps of a classical method; frames are resized where its preset says so, and never cut."""

    def __init__(self, baseline: Any) -> None:
        super().__init__(baseline.input_size)
        self.baseline = baseline

    @property
    def min_side(self) -> int:
        return max(MIN_SIDE, self.baseline.min_size) if self.frame_size is None else 1

    @property
    def grey(self) -> GreyRule:
        return self.baseline.grey

    def score_batch(self, images: list[np.ndarray]) -> list[np.ndarray]:
        return [self.baseline.scores(image) for image in images]

    def map_frames(self, frames: Iterable[tuple[str, np.ndarray | Levelled]]) -> Iterator[MappedFrame]:
        for name, values in frames:
            frame = self.values.level(values, name)
            resized = self.baseline.prepare(frame.image)
            yield _checked(MappedFrame(name, frame, unit(resized), self.baseline.scores(resized)))


class WindowMapper(BaselineMapper):
    """Score maps of a method for windows of consecutive frames. Each folder and each video is a sequence of its own."""

    baseline: WindowBaseline

    @property
    def frames(self) -> int:
        return self.baseline.window

    @property
    def delay(self) -> int:
        return self.baseline.delay

    def map_frames(self, frames: Iterable[tuple[str, np.ndarray | Levelled]]) -> Iterator[MappedFrame]:
        for name, frame, image, solved in self.solved_frames(frames):
            yield _checked(MappedFrame(name, frame, image, scaled(solved.target[0])))

    def solved_frames(
        self, frames: Iterable[tuple[str, np.ndarray | Levelled]]
    ) -> Iterator[tuple[str, Levelled, np.ndarray, SolvedFrames]]:
        """Name, frame, (H, W) float32 in [0, 1] as the method sees it, and what it says of it; holds one window."""
        waiting: deque[tuple[str, Levelled, np.ndarray]] = deque()

        def grey_values(sequence: Iterable[tuple[str, np.ndarray | Levelled]]) -> Iterator[np.ndarray]:
            for name, values in sequence:
                frame = self.values.level(values, name)
                resized = self.baseline.prepare(frame.image)
                waiting.append((name, frame, unit(resized)))
                yield as_grey(resized)

        for (folder, stem), sequence in groupby(frames, key=lambda frame: sequence_of(frame[0])):
            try:
                for solved in self.baseline.stream(grey_values(sequence)):
                    for number in range(len(solved.target)):
                        yield (*waiting.popleft(), solved[number : number + 1])
            except SequenceError as error:
                name = '/'.join(filter(None, (folder, stem)))
                raise UserError(f'{name}: {error}' if name else str(error)) from None

    @property
    def described(self) -> str:
        return type(self.baseline).__name__


def baseline_mapper(baseline: Baseline) -> BaselineMapper:
    """Score maps of a classical method, of single frames or of windows of them."""
    return (WindowMapper if isinstance(baseline, WindowBaseline) else BaselineMapper)(baseline)


def is_baseline(config: Config) -> bool:
    """The config names a classical method, which has no weights."""
    return config.model.type in BASELINES


def network_mapper(
    model: DetectionModel, size: int | None, device: str | None, batch_size: int | None = None, **options: Any
) -> NetworkMapper:
    """A :class:`NetworkMapper`, with one line for a device that is not there.

    Raises:
        UserError: Unknown device, or none of that kind.
    """
    if str(device).partition(':')[0] == 'meta':
        raise UserError(f"Cannot use device {device!r}: it computes nothing; expected 'cpu', 'cuda' or 'cuda:N'.")
    try:
        return NetworkMapper(model, size, device, batch_size, **options)
    except (RuntimeError, AssertionError, ImportError, ValueError, NotImplementedError) as error:
        raise UserError(f'Cannot use device {device!r}: {(str(error).splitlines() or [""])[0]}') from None


class ExportedMapper(FrameMapper):
    """Score maps of an exported network."""

    def __init__(self, backend: Backend, size: int | None, **options: Any) -> None:
        super().__init__(None if size is None else (size, size), **options)
        self.backend = backend

    @property
    def radius(self) -> int | None:
        return self.backend.rules.radius

    @property
    def described(self) -> str:
        return f'The exported {self.backend.rules.network}'

    @property
    def frames(self) -> int:
        return self.backend.rules.frames

    @property
    def reported(self) -> Sequence[int]:
        return self.backend.rules.reported

    def map_window(self, window: list[np.ndarray], memory: dict[int, torch.Tensor]) -> ScoredBatch:
        logits = self.backend.logits(np.stack(window)[None].astype(np.float32))
        return _sigmoid(torch.from_numpy(logits.astype(np.float32)))

    def map_batch(self, images: list[np.ndarray]) -> ScoredBatch:
        return run_exported(self.backend, images)

    def score_batch(self, images: list[np.ndarray]) -> list[np.ndarray]:
        return list(self.map_batch(images).scores)


def run_exported(backend: Backend, images: list[np.ndarray]) -> ScoredBatch:
    """Score maps of (H, W) images of equal size by an exported file."""
    logits = backend.logits(np.stack(images)[:, None].astype(np.float32))
    return _sigmoid(torch.from_numpy(logits.astype(np.float32)))


def _sigmoid(logits: torch.Tensor) -> ScoredBatch:
    """(B, 1, H, W) logits on any device, or (1, m, H, W) → so many score maps with them."""
    return ScoredBatch(*(list(maps.flatten(0, 1).cpu().numpy()) for maps in (torch.sigmoid(logits), logits)))


def build_baseline(config: Config, size: int | str | None = None) -> Baseline:
    """The classical method that a config describes.

    Args:
        config: With ``model``.
        size: Side of the square to which frames are resized, ``'native'`` for their own size, None for that of
            the preset.

    Raises:
        UserError: A parameter that it does not have, or a value of the wrong kind.
    """
    model = dict(config.model)
    if size is not None:
        model['input_size'] = None if isinstance(size, str) else (size, size)
    with building():
        return BASELINES.build(model)


def build_model(config: Config, checkpoint: str | os.PathLike[str]) -> DetectionModel:
    """The network that a config describes, its input rules and its weights, without losses.

    Raises:
        UserError: Bad config or checkpoint.
    """
    with building():
        model = MODELS.build({key: value for key, value in config.model.items() if key not in _TRAINING_ONLY})
    if not isinstance(model, DetectionModel):
        raise UserError(f'model: expected type={DetectionModel.__name__!r}, got {config.model.type!r}.')
    load_weights(model.network, Path(checkpoint))
    return model
