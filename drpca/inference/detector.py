"""The one way to a detector: from names, files and options to score maps, masks and lists of targets."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from mmengine.config import Config
from torch import nn

from drpca.cards import PUBLISHED, published_files, weight_cards, weight_file
from drpca.checkpoint import file_hash, read_checkpoint
from drpca.config import (
    HOME,
    config_for,
    default_models,
    evaluation_data,
    find_config,
    list_models,
    load_config,
    set_dataset,
)  # fmt: skip
from drpca.config_text import check_model, read_config
from drpca.datasets.io import RangeRule, ValueRange, resize_map, unit
from drpca.datasets.sequence_dataset import MadeFrames, open_frames
from drpca.datasets.sequences import LabelledFrames
from drpca.datasets.splits import Split, open_split
from drpca.deploy.backends import SUFFIXES, open_backend
from drpca.errors import UserError, warn
from drpca.inference.detections import Detection
from drpca.inference.frames import CheckedFrames, FrameSource
from drpca.inference.live import QUEUE, LiveStream
from drpca.inference.mappers import (
    OVERLAP,
    ExportedMapper,
    FrameMapper,
    baseline_mapper,
    build_baseline,
    build_model,
    is_baseline,
    network_mapper,
)  # fmt: skip
from drpca.models.detector import DetectionModel
from drpca.names import canonical_name, joined_names, simplify
from drpca.options import AUTO, NATIVE, RECIPE, TILE, called
from drpca.registry import MODELS
from drpca.run_folder import newest_weights

if TYPE_CHECKING:
    from drpca.deploy.fastest import Choice

_ELSEWHERE = 'NUDT-SIRST'


class Detector:
    """Finds small targets in infrared frames. The only way to one: the commands, tools and the page use it too.

    Any number of threads may share one. It can be pickled, copied and sent to another process; an exported file is
    then read again.

    >>> detector = drpca.Detector('rpcanet_sirstv1', 'RPCANet_SIRST.pkl')
    >>> detections = detector('frames/')
    >>> for detection in detector.stream('flight.mp4'): ...
    >>> for detection in detector.live(0, when_full='drop'): ...

    Args:
        model: A network or :class:`drpca.models.detector.DetectionModel` with weights; a config's name or file; a
            registered network's name (``'RPCANet'``), which stands for its home config, the one of SIRST V1; or a
            file that ``tools/export.py`` wrote. None: the config inside the weights.
        weights: Weight file, as authors publish it or as trained here; with a name, a config or None.
            ``'published'``: that of the config's authors, which is fetched unless it is in the cache. None: the
            newest ``best.pth`` or ``final.pth`` under ``checkpoints`` (of that config), else the weights that
            come with the project.
        size: Side of the square to which frames are resized, as the published recipes do. Scores, masks and targets are
            in pixels of the frame that came in all the same (:mod:`drpca.inference.detections`).
            ``'native'``: each frame's own size, padded inside where a network needs it, also for videos.
            ``'recipe'``: the config's ``inference_size``. None: as ``'native'``. A classical method keeps the size
            of its preset unless a number or ``'native'`` is given.
        threshold: Scores above it are detections; in [0, 1).
        tile: Frames with a longer side are computed in overlapping tiles of this side; None: never. ``'auto'``: 1024,
            and never for classical methods, which take no other value. RPCANet, RPCANet+ and DRPCA-Net give the map
            of the whole frame; other networks that look at all of it give another one, with a warning
            (:mod:`drpca.inference.tiling`).
        overlap: Pixels that tiles share at least, where the network does not say how many they need.
        batch_size: Frames of equal size, or tiles, at once; None: 16 on a GPU, 1 on a CPU.
        device: ``'cuda'``, ``'cpu'``, …; None takes a GPU where there is one. For networks in PyTorch.
        precision: ``'fp32'``, ``'bf16'`` or ``'fp16'``; likewise, as are the next three.
        optimise: Run the equivalent, faster form of the network.
        compile: Run it through ``torch.compile``.
        cuda_graph: Replay a CUDA graph per size of frame; needs an NVIDIA GPU.
        threads: Threads of the CPU; None leaves PyTorch's setting.
        backend: Runtime. Of an exported file: ``'onnx'``, ``'openvino'``, ``'tensorrt'``, ``'torch'``, or ``'auto'``,
            the fastest of those installed, which is what None means. Of a network on a CPU: None and ``'torch'``:
            PyTorch, in one form everywhere; ``'onnx'``, ``'openvino'``; or ``'auto'``: the fastest form here, exported,
            compared with PyTorch and timed once (:mod:`drpca.deploy.fastest`), whose scores differ by rounding, with
            ``precision='bf16'`` by that of bfloat16.
        trust: Open a ``.pt2`` file, which can run any code; for files of one's own.
        dataset: Data set in place of the config's.
        data_root: Folder of the data sets; None: the config's, else ``$DRPCA_DATA``, else ``datasets``.
        options: Dotted keys of the config → values.
        range: Which grey values become 0 and 1, a rule of :class:`drpca.datasets.io.ValueRange`: ``'auto'``,
            ``'minmax'``, ``'full'``, ``('percentile', LO, HI)`` or ``(LO, HI)``. None: that of the config's test
            images, which is ``'auto'`` unless it says otherwise.
        bad_pixels: Replace isolated outliers by the median around them; None: likewise, which is not to.

    Attributes:
        name: As it was asked for, else of its config, else of its weights; a network's own where it was handed over.
        config: Its config.
        checkpoint: File of its weights; None for a classical method or a network that was handed over.
        mapper: What makes the score maps.
        tile: In pixels; None: never.
        threshold: Scores above it are detections.
        precision: Of the convolutions.
        runtime: What ``backend`` chose for a network, and why; None where it had nothing to choose.

    Raises:
        UserError: Unknown model or config, no weights or some that do not fit, an unreadable file, a bad option,
            or one that means nothing to this kind of detector.
    """

    def __init__(
        self,
        model: nn.Module | str | os.PathLike[str] | None = None,
        weights: str | os.PathLike[str] | None = None,
        *,
        size: int | str | None = None,
        threshold: float = 0.5,
        tile: int | str | None = AUTO,
        overlap: int = OVERLAP,
        batch_size: int | None = None,
        device: str | None = None,
        precision: str = 'fp32',
        optimise: bool = True,
        compile: bool = False,
        cuda_graph: bool = False,
        threads: int | None = None,
        backend: str | None = None,
        trust: bool = False,
        dataset: str | None = None,
        data_root: str | Path | None = None,
        options: Mapping[str, Any] | None = None,
        range: RangeRule | None = None,
        bad_pixels: bool | None = None,
    ) -> None:
        if not 0 <= threshold < 1:
            raise UserError(f'Expected a threshold in [0, 1), got {threshold}.')
        if isinstance(size, str) and size not in (NATIVE, RECIPE):
            raise UserError(f"Expected a size in pixels, 'native' or 'recipe', got {size!r}.")
        if isinstance(tile, str) and tile != AUTO:
            raise UserError(f"Expected a tile in pixels, None or 'auto', got {tile!r}.")
        if batch_size is not None and batch_size < 1:
            raise UserError(f'--batch-size must be at least 1, got {batch_size}.')
        if threads is not None:
            torch.set_num_threads(threads)
        self.threshold, self.precision = threshold, precision
        self.dataset, self.data_root = dataset, data_root
        self.tile = TILE if isinstance(tile, str) else tile
        tiles: dict[str, Any] = {'tile': self.tile, 'overlap': overlap}
        speed: dict[str, Any] = {
            'precision': precision, 'optimise': optimise, 'compile': compile, 'cuda_graph': cuda_graph,
        }  # fmt: skip
        self.runtime: Choice | None = None
        in_pytorch = {**speed, 'precision': precision != 'fp32', 'optimise': not optimise}
        self.mapper: FrameMapper
        if isinstance(model, nn.Module):
            if weights is not None or options:
                raise UserError('weights come with a name or a config, and so do options: set the network up yourself.')
            network = model if isinstance(model, DetectionModel) else DetectionModel(model)
            self.name = type(network.network).__name__
            self.config, self.checkpoint = described_network(self.name), None
            self._open_network(network, size, device, batch_size, backend, **tiles, **speed)
            self.set_range(range, bad_pixels)
            return
        config, self.checkpoint = resolve(model, weights, dataset=dataset, data_root=data_root, options=options)
        own = Path(config.filename).stem if config is not None and config.filename else str(self.checkpoint)
        self.name = own if model is None else os.fspath(model)
        if self.checkpoint is not None and self.checkpoint.suffix in SUFFIXES:
            _refuse(f'{self.checkpoint} is compiled, precision included', **in_pytorch, device=device is not None)
            exported = open_backend(self.checkpoint, backend or AUTO, threads, trust)
            rules = exported.rules
            self.config = config or described_network(rules.network, rules.inference_size)
            if self.method != rules.network:
                raise UserError(
                    f'{self.checkpoint} holds {rules.network}, but {self.name} describes {self.method}: name a config '
                    f'of {rules.network}, or none.'
                )
            self.mapper = ExportedMapper(exported, self._side(size), batch_size=batch_size or 1, **tiles)
            self.set_range(range, bad_pixels)
            return
        assert config is not None
        self.config = config
        if self.checkpoint is None:
            is_cut, is_chosen = (option not in (None, AUTO) for option in (tile, backend))
            _refuse(f'{self.name} is a classical method', **in_pytorch, tile=is_cut, backend=is_chosen)
            self.mapper = baseline_mapper(build_baseline(config, size if size != RECIPE else None))
            self.set_range(range, bad_pixels)
            return
        network = build_model(config, self.checkpoint)
        self._open_network(network, size, device, batch_size, backend, **tiles, **speed)
        self.set_range(range, bad_pixels)

    def _open_network(
        self,
        network: DetectionModel,
        size: int | str | None,
        device: str | None,
        batch_size: int | None,
        backend: str | None,
        **options: Any,
    ) -> None:
        side = self._side(size)
        if backend in (None, 'torch') or network.network.frames > 1:
            _refuse(f'{self.name} looks at several frames', backend=backend not in (None, 'torch', AUTO))
            if backend == AUTO:
                warn(f'{self.name} looks at several frames: PyTorch runs it, the one that does.')
            self.mapper = network_mapper(network, side, device, batch_size, **options)
            return
        forms = {'optimise': not options.pop('optimise')}
        forms |= {name: options.pop(name) for name in ('compile', 'cuda_graph')}
        _refuse(f'backend={backend} chooses the form of the network', **forms)
        from drpca.inference.runtimes import fastest_mapper

        self.mapper, self.precision, self.runtime = fastest_mapper(
            network, side, device, batch_size, backend=backend, **options
        )

    @classmethod
    def from_pretrained(cls, name: str, **options: Any) -> Detector:
        """A detector with the weights that the authors of a network published.

        >>> detector = Detector.from_pretrained('rpcanet_sirstv1')

        Args:
            name: Config; ``drpca weights`` lists those that have published weights.
            **options: As of :class:`Detector`.

        Raises:
            UserError: There are none, they cannot be fetched, or as :class:`Detector`.
        """
        return cls(name, PUBLISHED, **options)

    @classmethod
    def from_mapper(cls, mapper: FrameMapper, threshold: float = 0.5) -> Detector:
        """A detector around score maps that are made elsewhere."""
        detector = cls.__new__(cls)
        detector.mapper, detector.threshold, detector.precision = mapper, threshold, 'fp32'
        detector.runtime = None
        detector.name, detector.checkpoint, detector.tile = type(mapper).__name__, None, mapper.tile
        detector.config, detector.dataset, detector.data_root = described_network(detector.name), None, None
        return detector

    def set_range(self, range: RangeRule | None = None, bad_pixels: bool | None = None) -> None:
        """Which grey values become 0 and 1 from now on; the arguments are those of the class.

        Raises:
            UserError: An unknown rule.
        """
        source = evaluation_data(self.config)
        rule = source.get('range', AUTO) if range is None else range
        replaces = source.get('bad_pixels', False) if bad_pixels is None else bad_pixels
        self.mapper.values = ValueRange(rule, replaces)

    def _side(self, size: int | str | None) -> int | None:
        if size == RECIPE:
            size = self.config.get('inference_size', 256)
        return None if size is None or isinstance(size, str) else size

    @property
    def method(self) -> str:
        """Registered name of the network or the classical method."""
        return self._described_model['type']

    @property
    def _described_model(self) -> dict[str, Any]:
        return self.config.model.get('network', self.config.model)

    @property
    def frames(self) -> int:
        """Consecutive frames that it looks at together; 1 for most detectors."""
        return self.mapper.frames

    @property
    def delay(self) -> int:
        """Frames that must follow one before its detection is there, at most."""
        return self.mapper.delay

    @property
    def size(self) -> int | tuple[int, int] | None:
        """Side of the square, or (height, width), to which frames are resized; None: their own size."""
        sides = self.mapper.frame_size
        return sides[0] if sides is not None and sides[0] == sides[1] else sides

    def described(self) -> dict[str, Any]:
        """What it is, for files; as in a results folder's ``run.json``."""
        runtime = {}
        if self.runtime is not None and self.runtime.changes_maps:
            runtime['runtime'] = self.runtime.variant
        return {
            **runtime,
            'config': self.method,
            'model': json.loads(json.dumps(dict(self._described_model))),
            'checkpoint': None if self.checkpoint is None else str(self.checkpoint),
            'checkpoint_sha256': None if self.checkpoint is None else file_hash(self.checkpoint),
            'size': NATIVE if self.size is None else self.size,
            'range': str(self.mapper.values),
            'bad_pixels': self.mapper.values.bad_pixels,
        }

    def open_split(self, split: str = 'test', dataset: str | None = None, data_root: str | Path | None = None) -> Split:
        """The images of a data set: of the one named here, else of the detector's, else of its config's.

        Raises:
            UserError: None of them names a data set, or it is not there; a detector of several frames.
        """
        if self.frames > 1:
            raise UserError(
                f'{self.name} looks at {self.frames} consecutive frames, which the images of a data set are not: give '
                f'a folder of frames or a video; {called("infer")} takes data sets of sequences, {called("sequences")} '
                'scores labelled ones.'
            )
        name, source = self._data(dataset)
        return open_split(name, split, data_root or self.data_root or source.get('data_root'))

    def open_frames(
        self, split: str = 'test', dataset: str | None = None, data_root: str | Path | None = None
    ) -> LabelledFrames | MadeFrames:
        """Likewise all frames of a data set of sequences, in order, for a detector of windows of them.

        Raises:
            UserError: None of them names a data set, or there are no such sequences.
        """
        name, source = self._data(dataset)
        root = data_root or self.data_root or source.get('data_root')
        return open_frames(name, split, root, source.get('synthetic'))

    def open_images(
        self, split: str = 'test', dataset: str | None = None, data_root: str | Path | None = None
    ) -> Split:
        """What it can look at: :meth:`open_split`, or :meth:`open_frames` of a detector of several frames."""
        return (self.open_split if self.frames == 1 else self.open_frames)(split, dataset, data_root)

    def _data(self, dataset: str | None) -> tuple[str, Mapping[str, Any]]:
        """Name of a data set, and what the config says of its test images."""
        source = evaluation_data(self.config)
        name = dataset or self.dataset or source.get('dataset')
        if not name:
            raise UserError('Which images? Give --dataset.')
        return name, source

    def __call__(self, images: Any) -> list[Detection]:
        """All frames of ``images`` (see :class:`drpca.inference.frames.FrameSource`), also for a single one.

        Raises:
            UserError: A frame cannot be read.
        """
        return list(self.stream(images))

    def stream(self, frames: Any) -> Iterator[Detection]:
        """The same one by one, holding one batch, or window of frames, in memory: for videos and long sequences.

        A detector that looks at several frames takes each folder and each video as a sequence; what stands beyond its
        ends are its first and last frame again. It comes out in order, each frame once, :attr:`delay` frames late.

        Pass a :class:`drpca.inference.frames.FrameSource` with ``keep_going=True`` to go on past damaged frames;
        otherwise one ends the sequence, and is told after what came before it.

        Raises:
            UserError: A frame cannot be read, or does not fit the detector.
        """
        source = _UntilFailure(self._source(frames))
        try:
            yield from self._detections(source)
        except UserError as error:  # of too few frames for a window, say
            raise source.failure or error from None
        if source.failure is not None:
            raise source.failure

    def _detections(self, frames: Iterable[Any]) -> Iterator[Detection]:
        for mapped in self.mapper.map_frames(frames):
            frame = mapped.frame.image
            shape = frame.shape
            scores = resize_map(mapped.scores, shape)
            logits = None if mapped.logits is None else resize_map(mapped.logits, shape)
            image = mapped.image if mapped.image.shape == shape else unit(frame)
            yield Detection(mapped.name, image, scores, scores > self.threshold, logits=logits, mapped=mapped)

    def live(
        self, frames: Any, *, queue: int = QUEUE, when_full: str = 'block', rate: float | None = None
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

    def _source(self, frames: Any) -> FrameSource | CheckedFrames:
        return frames if isinstance(frames, FrameSource | CheckedFrames) else self.mapper.source(frames)


class _UntilFailure:
    """Frames up to one that cannot be read, so that what is under way is finished; ``failure`` says why it ended."""

    def __init__(self, frames: Iterable[Any]) -> None:
        self.frames = frames
        self.failure: UserError | None = None

    def __iter__(self) -> Iterator[Any]:
        try:
            yield from self.frames
        except UserError as error:
            self.failure = error


RUNS = 'checkpoints'
"""Folder of the runs whose weights are taken where none are named."""


def newest_best(config: str, folder: str | Path = RUNS) -> Path:
    """The selected weights, ``best.pth`` or ``final.pth``, written last; else those that come with the project.

    Args:
        config: Name of the config that was trained.
        folder: Of the runs.

    Raises:
        UserError: There are none.
    """
    found = newest_weights(folder, config)
    if found is not None:
        return found
    card = weight_cards().get(config)
    if card is None:
        raise UserError(
            f'No trained weights of {config} under {folder}: train with {called("train")}, or give '
            f'--checkpoint FILE{" or --checkpoint published" * (config in published_files())}.'
        )
    return card.check()


def resolve(
    model: str | os.PathLike[str] | None = None,
    weights: str | os.PathLike[str] | None = None,
    *,
    dataset: str | None = None,
    data_root: str | Path | None = None,
    options: Mapping[str, Any] | None = None,
) -> tuple[Config | None, Path | None]:
    """Config and weights from whichever of the two was given.

    Args:
        model: Name of a registered network, name or file of a config, or an exported file.
        weights: Weight file or exported file; None: the newest of the config, else those of the project.
            Without both: the newest of all, else the project's own detector (``configs/_base_/default_models.py``).
        dataset: In place of the config's. The network is normalised as its weights were trained, all the same: by
            mean and deviation of the set it was trained on, or, of joined ones, of this one.
        data_root: Likewise.
        options: Dotted keys of the config → values.

    Returns:
        The config, None for an exported file without one; the weights, None for a classical method.

    Raises:
        UserError: Unknown config, a bad option, no weights, or weights where none are taken.
    """
    checkpoint = None if weights is None else _weight_file(model, weights)
    if model is None and checkpoint is None:
        checkpoint = newest_weights(RUNS)
    if model is None and checkpoint is None:
        (model,) = default_models('detect')
        text = f'No trained weights under {RUNS}: taking {model}, whose weights come with the project.'
        warn(text)
    if model is not None and Path(model).suffix in SUFFIXES:
        if checkpoint is not None:
            raise UserError(f'{model} has its weights and precision in it: leave out weights and precision.')
        checkpoint, model = Path(model), None
    if model is not None:
        name = os.fspath(model)
        path = _home_config(name) if _is_network(name) else find_config(name)
        if path is None:
            if checkpoint is None or options:
                raise UserError(f'{name} has no config: give it weights, and no options.')
            return described_network(name), checkpoint
        config = load_config(path, None, data_root, options)
        if dataset is not None:
            trained = config if checkpoint is None or checkpoint.suffix in SUFFIXES else _config_in(checkpoint)
            set_dataset(config, dataset, normalise=_is_trained_on(trained, dataset))
        if not is_baseline(config):
            return config, checkpoint or newest_best(path.stem)
        if checkpoint is not None:
            raise UserError(f'{model} is a classical method and takes no weights: leave out --checkpoint.')
        return config, None
    assert checkpoint is not None
    if checkpoint.suffix in SUFFIXES:
        if options:
            raise UserError(f'{checkpoint} is compiled: its options were settled when it was exported.')
        return None, checkpoint
    config = _config_in(checkpoint)
    if config is None:
        raise UserError(
            f'{checkpoint} does not say which config it belongs to: give CONFIG, for example rpcanet_sirstv1.'
        )
    check_model(config, checkpoint)
    if dataset is not None:
        set_dataset(config, dataset, normalise=_is_trained_on(config, dataset))
    config.merge_from_dict(dict(options or {}))
    return config, checkpoint


def _weight_file(model: str | os.PathLike[str] | None, weights: str | os.PathLike[str]) -> Path:
    if weights != PUBLISHED:
        return Path(weights)
    if model is None:
        raise UserError(
            f"'published' weights of what? Give CONFIG, for example rpcanet_sirstv1; {called('weights')} lists them."
        )
    name = os.fspath(model)
    home = _home_config(name) if _is_network(name) else None
    return weight_file(home or name, weights)


def _config_in(checkpoint: Path) -> Config | None:
    """The config of the training that a checkpoint is of, where it holds one."""
    meta = read_checkpoint(checkpoint).get('meta')
    text = meta.get('cfg') if isinstance(meta, dict) else None
    return None if text is None else read_config(text, checkpoint)


def _is_trained_on(config: Config | None, dataset: str) -> bool:
    """Whether a training was on a data set, or on others joined with it: its images were normalised as its own."""
    source = ((config or {}).get('train_dataloader') or {}).get('dataset') or {}
    names = joined_names(source.get('dataset') or '')
    return simplify(canonical_name(dataset)) in (simplify(canonical_name(name)) for name in names)


def _is_network(name: str) -> bool:
    return name.isidentifier() and name != DetectionModel.__name__ and MODELS.defines(name)


def _home_config(name: str) -> Path | None:
    """The home config, that of SIRST V1, of a registered network; None where no config describes it."""
    for folder in sorted(list_models(), key=lambda folder: simplify(folder) != simplify(name)):
        path = config_for(folder, HOME)
        model = load_config(path).model
        if model.get('network', {}).get('type') == name:
            if load_config(config_for(folder, _ELSEWHERE)).model.get('mean') != model.get('mean'):
                text = f'{name} normalises as in {path.stem}; name a config for weights of another data set.'
                warn(text)
            return path
    return None


def described_network(name: str, inference_size: int | None = None) -> Config:
    """A config for a network that has none: one that was handed over, exported, or is not of this project."""
    network = {'type': DetectionModel.__name__, 'network': {'type': name}}
    return Config({'model': network, 'inference_size': inference_size})


def _refuse(why: str, **given: bool) -> None:
    """Raises :class:`drpca.errors.UserError` that names the options given which would have no effect."""
    names = [name for name, is_given in given.items() if is_given]
    if names:
        raise UserError(f'{why}: leave out {", ".join(names)}.')


def open_detectors(configs: Sequence[str], checkpoints: Sequence[str] = (), **options: Any) -> list[Detector]:
    """Several detectors, with names that tell them apart.

    Args:
        configs: Names or files: one network for all checkpoints, or one for each, in their order, and classical
            methods, which come last.
        checkpoints: Weight files.
        **options: Of all of them, see :class:`Detector`.

    Raises:
        UserError: As :class:`Detector`; or configs and checkpoints do not pair up.
    """
    networks: list[str] = []
    pairs: list[tuple[str, str | None]] = []
    for config in configs:
        if is_baseline(load_config(find_config(config), options=options.get('options'))):
            pairs.append((config, None))
        else:
            networks.append(config)
    if networks:
        if not checkpoints:
            raise UserError(f'{networks[0]} needs weights: give --checkpoint FILE.')
        if len(networks) not in (1, len(checkpoints)):
            raise UserError(
                f'{len(networks)} configs of networks and {len(checkpoints)} checkpoints: expected one config '
                'for all, or one for each.'
            )
        pairs = [*zip(networks * (len(checkpoints) if len(networks) == 1 else 1), checkpoints), *pairs]
    elif checkpoints:
        raise UserError(f'{configs[0]} is a classical method and takes no --checkpoint.')
    names = _names(pairs)
    detectors = [Detector(config, file, **options) for config, file in pairs]
    for detector, name in zip(detectors, names):
        detector.name = name
    return detectors


def _names(pairs: Sequence[tuple[str, str | None]]) -> list[str]:
    """File names without suffix, or whatever tells the detectors apart.

    Raises:
        UserError: Two are the same.
    """
    whole = [Path(config).stem if file is None else file for config, file in pairs]
    for names in (
        [Path(name).stem for name in whole],
        whole,
        [f'{Path(config).stem} {name}' for (config, _), name in zip(pairs, whole)],
    ):
        if len(set(names)) == len(names):
            return names
    raise UserError('One of the detectors is named twice; name each once.')
