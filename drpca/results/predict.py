"""``predict()``: from a detector and frames to a results folder; what ``inference.py`` does."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from copy import copy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import nn

from drpca.config import evaluation_data
from drpca.datasets.sequence_dataset import MadeFrames
from drpca.errors import UserError
from drpca.files import check_folder, in_use, make_folder
from drpca.inference.decomposer import Decomposer, make_decomposer
from drpca.inference.detections import Detection
from drpca.inference.detector import Detector
from drpca.inference.frames import FrameSource, find_inputs, is_camera, is_video, stem_of
from drpca.inference.live import QUEUE, LiveStream
from drpca.inference.temporal import TemporalFilter
from drpca.inference.video_writer import DEFAULT_RATE, AnnotatedVideo, check_video
from drpca.options import RECIPE, called
from drpca.progress import watched
from drpca.results.folder import DETECTOR_MAPS, FRAME_MAPS, ResultsWriter
from drpca.results.stage_pictures import stages_picture
from drpca.version import versions

_VERSIONS = versions()
_AHEAD = 2
"""Frames that are read before their turn, and written after it."""


@dataclass(frozen=True)
class Prediction:
    """What was written.

    Attributes:
        folder: The results folder.
        done: Number of frames with a score map.
        seconds: Time with reading and writing.
        failed: A line for each frame, or rest of a video, that could not be read.
        latencies: Seconds from arrival to result of the last frames of a live stream; empty elsewhere.
        dropped: Frames of a live stream that were dropped.
        without_stages: Frames larger than the detector's tile, of which no stages were drawn.
        skipped: Subfolders with images that were left out.
        sizes: (height, width) of the frames and of their score maps as the detector gave them, those that differ.
    """

    folder: Path
    done: int
    seconds: float
    failed: list[str] = field(default_factory=list)
    latencies: list[float] = field(default_factory=list)
    dropped: int = 0
    without_stages: int = 0
    sizes: list[tuple[tuple[int, ...], tuple[int, ...]]] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)


def predict(
    detector: Detector | nn.Module | str | os.PathLike[str] | None = None,
    source: Any = None,
    out: str | os.PathLike[str] = 'results',
    *,
    dataset: str | None = None,
    split: str = 'test',
    data_root: str | Path | None = None,
    formats: Sequence[str] = ('png', 'mat'),
    overlay: bool = False,
    stages: bool = False,
    video_out: str | Path | None = None,
    temporal: TemporalFilter | None = None,
    live: str | None = None,
    queue: int | None = None,
    overwrite: bool = False,
    progress: bool = False,
    checkpoint: str | os.PathLike[str] | None = None,
    **options: Any,
) -> Prediction:
    """Writes score maps and targets of a data set, a folder, a video, a camera or single frames.

    >>> predict('rpcanet_sirstv1', checkpoint='RPCANet_SIRST.pkl')
    >>> predict(Detector('tophat'), 'frames/', formats=['csv'], overlay=True)

    Args:
        detector: A :class:`drpca.Detector`, or its first argument: a config's name, …; None: the config of the
            newest weights.
        source: Anything :class:`drpca.inference.frames.FrameSource` takes; a list of texts, each a file, a folder or a
            pattern (``'frames/*.png'``); None: a data set.
        out: The results folder is made in it, with the name of the data set or of the source, ``camera`` or
            ``frames`` (in memory).
        dataset: Which data set; None: the detector's.
        split: Which of its images.
        data_root: Folder of the data sets; None: the detector's.
        formats: Some of ``drpca.options.MAP_FORMATS``.
        overlay: Also write the images with detections outlined.
        stages: Also write pictures of the decomposition after every stage.
        video_out: Also write a video with the detections drawn in.
        temporal: Keeps the targets that it confirms.
        live: ``'block'`` or ``'drop'``: read ahead in a thread (:meth:`drpca.Detector.live`); None: only a camera,
            ``'drop'``.
        queue: Frames that may wait then; None: 8.
        overwrite: Replace another run's maps (any run of a camera or of frames in memory is another one), remove those
            of images that are not among these, and replace the file of ``video_out``.
        progress: Say on standard error how far it is.
        checkpoint: Second argument of the detector, unless it is made already.
        **options: Further ones, by keyword. Its ``size`` is ``'recipe'`` unless given.

    Raises:
        UserError: As :class:`drpca.Detector`; no such data; the folder holds another run's maps, or cannot be
            written; an option that does not go with the others.
    """
    check_folder(out)
    if video_out:
        check_video(video_out, overwrite)
    if not isinstance(detector, Detector):
        options = {'size': RECIPE, 'dataset': dataset, 'data_root': data_root, **options}
        detector = Detector(detector, checkpoint, **options)
    elif options or checkpoint is not None:
        raise UserError(f'The detector is made already: give {", ".join(options) or "checkpoint"} to Detector(...).')
    decomposer = make_decomposer(detector.mapper) if stages else None
    if stages and detector.frames > 1:
        raise UserError(
            f'{detector.name} looks at {detector.frames} frames together: {called("visualize-stages")} draws its '
            'stages, --save-stages those of single frames.'
        )
    frames, name, images, comes_again = _open_frames(detector, source, dataset, split, data_root)
    stream = _open_stream(detector, frames, live, queue)
    if video_out and isinstance(frames.images, str | os.PathLike) and _is_same(video_out, frames.images):
        raise UserError(f'{video_out} is the input: name another file for the video.')
    video = AnnotatedVideo(video_out, frames.rate or DEFAULT_RATE, overwrite) if video_out else None
    made_by = detector.described()
    size = made_by.pop('size')
    run = {
        **made_by,
        **images,
        'size': size,
        'tile': detector.tile,
        'precision': detector.precision,
        'maps': DETECTOR_MAPS if source is None else FRAME_MAPS,
        'threshold': detector.threshold,
        'temporal': None if temporal is None else temporal.described(),
        'images': frames.total,
        **({'window': detector.frames, 'delay': detector.delay} if detector.frames > 1 else {}),
        'versions': _VERSIONS,
    }
    folder = make_folder(out) / name
    with in_use(folder):
        writer = ResultsWriter(folder, run, overwrite, formats, overlay, detector.threshold, frames.names, comes_again)
        written = _write_all(detector, frames, stream, writer, decomposer, video, temporal, progress)
        writer.remove_earlier()
        return written


def _write_all(
    detector: Detector,
    frames: FrameSource,
    stream: LiveStream | None,
    writer: ResultsWriter,
    decomposer: Decomposer | None,
    video: AnnotatedVideo | None,
    temporal: TemporalFilter | None,
    progress: bool,
) -> Prediction:
    started = time.perf_counter()
    done = without_stages = 0
    detections: Iterable[Detection] = detector.stream(frames) if stream is None else stream
    if temporal is not None:
        detections = temporal(detections)
    if progress:
        detections = watched(detections, frames.total, 'image')

    def write(detection: Detection) -> None:
        writer.write(detection, frames.files.get(detection.name))
        if video is not None:
            video.write(detection.image, detection.targets, detection.name)

    frames.ahead = _AHEAD if stream is None else 0
    detector.mapper.at_once = stream is None
    writing: deque[Future[None]] = deque()
    # Reading and writing, which need little of Python's lock, go on while the next frame is computed.
    pool = ThreadPoolExecutor(1)
    try:
        for detection in detections:
            writing.append(pool.submit(write, detection))
            if len(writing) > _AHEAD:
                writing.popleft().result()
            if decomposer is not None and detector.tile and max(detection.seen.shape) > detector.tile:
                without_stages += 1
            elif decomposer is not None:
                decomposition = decomposer.decompose(detection.frame).at_frame(detection.image)
                writer.write_stages(detection.name, stages_picture(decomposition, detection.scores))
            done += 1
        for future in writing:
            future.result()
    finally:
        pool.shutdown()
        detector.mapper.at_once = False
        try:
            writer.close()
        finally:
            if video is not None:
                video.close()
    return Prediction(
        writer.folder,
        done,
        time.perf_counter() - started,
        frames.failed,
        [] if stream is None else list(stream.latencies),
        0 if stream is None else stream.dropped,
        without_stages,
        writer.sizes,
        frames.skipped,
    )


def _is_same(path: str | Path, other: str | os.PathLike[str]) -> bool:
    with suppress(OSError):
        return os.path.samefile(path, other)
    return False


def _open_frames(
    detector: Detector, source: Any, dataset: str | None, split: str, data_root: str | Path | None
) -> tuple[FrameSource, str, dict[str, Any], bool]:
    """The frames, the name of the folder for their results, their part of ``run.json``, and whether that names them."""
    if source is None:
        images = detector.open_images(split, dataset, data_root)
        is_made = isinstance(images, MadeFrames)
        read = images.read_image if is_made else images.image_path
        files = [(name, read(name)) for name in images.names]
        described: dict[str, Any] = {
            'dataset': images.dataset, 'split': images.split, 'data_root': str(images.root.resolve()), 'input': None,
        }  # fmt: skip
        if is_made:
            options = evaluation_data(detector.config).get('synthetic') or {}
            described |= {'data_root': None, 'synthetic': dict(options)}
        return detector.mapper.source(files, keep_going=True), images.dataset, described, True
    given = source.images if isinstance(source, FrameSource) else source
    comes_again = True
    if isinstance(given, list | tuple) and given and all(isinstance(item, str) for item in given):
        source, name = find_inputs(given)
        text = ' '.join(given)
    elif is_camera(given):
        name, text, comes_again = 'camera', str(given), False
    elif isinstance(given, str | os.PathLike):
        name, text = stem_of(given), str(given)
        if detector.frames > 1 and not is_video(given) and not Path(given).is_dir():
            source = [(name, Path(given))]  # a sequence of one frame
    else:
        name, text, comes_again = 'frames', 'frames', False
    if isinstance(source, FrameSource):
        source.check_sequences(detector.frames)
    frames = source if isinstance(source, FrameSource) else detector.mapper.source(source, keep_going=True)
    if comes_again:  # an iterator would lose its first frame
        _look(frames, text)
    return frames, name, {'dataset': None, 'split': None, 'data_root': None, 'input': text}, comes_again


def _look(frames: FrameSource, text: str) -> None:
    """Reads the first frame before anything is written.

    Raises:
        UserError: There is none that can be read.
    """
    first = copy(frames)
    first.failed = []
    if next(iter(first), None) is None:
        more = len(first.failed) - 1
        others = f' Nor can the {more} other{"s" * (more > 1)} there be read.' if more > 0 else ''
        raise UserError(f'{first.failed[0]}{others}' if first.failed else f'--input {text}: no frames there.')


def _open_stream(detector: Detector, frames: FrameSource, live: str | None, queue: int | None) -> LiveStream | None:
    """The live stream that is asked for; a camera is one unless something else is said."""
    when_full = live or ('drop' if is_camera(frames.images) else None)
    if when_full is not None:
        rate = frames.rate if when_full == 'drop' else None
        return detector.live(frames, queue=QUEUE if queue is None else queue, when_full=when_full, rate=rate)
    if queue is not None:
        raise UserError('--queue needs --live.')
    return None
