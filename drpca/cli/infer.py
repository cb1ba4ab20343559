"""``inference.py``: score maps and targets of a data set, a folder, a video or an image."""

from __future__ import annotations

import argparse
import platform
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from mmengine.config import Config
from tqdm import tqdm

import drpca
from drpca.checkpoint import file_hash
from drpca.cli.common import EXIT_FAILED, guarded
from drpca.cli.infer_options import build_parser
from drpca.datasets import open_split
from drpca.deploy.backends import SUFFIXES, open_backend
from drpca.errors import UserError
from drpca.inference.decomposer import make_decomposer
from drpca.inference.detections import Detection
from drpca.inference.detector import Detector
from drpca.inference.frames import NATIVE, FrameSource, list_images
from drpca.inference.live import QUEUE, LiveStream
from drpca.inference.mappers import ExportedMapper, FrameMapper, build_mapper
from drpca.inference.opening import resolve
from drpca.inference.temporal import TemporalFilter
from drpca.inference.video import is_camera
from drpca.inference.video_writer import DEFAULT_RATE, AnnotatedVideo
from drpca.reports.stages import stages_picture
from drpca.results.writer import ResultsWriter


def open_detector(
    args: argparse.Namespace, config: Config, checkpoint: Path | None, size: int | None
) -> Detector:
    """The detector that the options describe.

    Raises:
        UserError: Bad config, weights or option.
    """
    mapper: FrameMapper
    if checkpoint is not None and checkpoint.suffix in SUFFIXES:
        if args.precision != 'fp32' or args.compile or args.cuda_graph:
            raise UserError(
                f'{checkpoint} is compiled, precision included: leave out --precision, --compile, --cuda-graph.'
            )
        backend = open_backend(checkpoint, args.backend)
        mapper = ExportedMapper(backend, size, tile=args.tile, batch_size=args.batch_size or 1)
    else:
        mapper = build_mapper(
            config, checkpoint, size, args.device, args.batch_size,
            tile=args.tile, precision=args.precision, compile=args.compile, cuda_graph=args.cuda_graph,
        )  # fmt: skip
    return Detector.from_mapper(mapper, args.threshold)


def open_input(text: str, mapper: FrameMapper) -> FrameSource:
    """The frames of an image, a video, a folder of images, a camera or a stream.

    Raises:
        UserError: No such path, no image in it, or two images of one name.
    """
    images: int | str | list[Path] = text
    if not Path(text).exists() and text.isdigit():
        images = int(text)
    if not is_camera(images):
        if not Path(text).exists():
            raise UserError(f'--input {text}: no such image, video or folder.')
        if Path(text).is_dir():
            images = list_images(text)
    return mapper.source(images, keep_going=True)


def open_frames(
    args: argparse.Namespace, config: Config, mapper: FrameMapper
) -> tuple[FrameSource, Path, dict[str, Any]]:
    """The frames that the options name, the folder for their results, and their part of ``run.json``."""
    if args.input:
        source = open_input(args.input, mapper)
        name = 'camera' if is_camera(source.images) else Path(args.input).resolve().stem
        return source, Path(args.out) / name, {'dataset': None, 'split': None, 'input': args.input}
    loader = config.get('test_dataloader')
    dataset = args.dataset or (loader and loader.dataset.dataset)
    if not dataset:
        raise UserError('Which images? Give --dataset or --input.')
    root = args.data_root or (loader and loader.dataset.get('data_root'))
    split = open_split(dataset, args.split or 'test', root)
    files = [(name, split.image_path(name)) for name in split.names]
    source = mapper.source(files, keep_going=True)
    described = {'dataset': split.dataset, 'split': split.split, 'input': None}
    return source, Path(args.out) / split.dataset, described


def open_filter(args: argparse.Namespace) -> tuple[TemporalFilter | None, dict[str, Any] | None]:
    """The temporal filter that the options describe, and its options for ``run.json``.

    Raises:
        UserError: Bad options, or options of the filter without --confirm.
    """
    options: dict[str, Any] = {
        name: value
        for name in ('candidate_threshold', 'max_speed', 'gate', 'min_speed', 'stabilise')
        if (value := getattr(args, name)) not in (None, False)
    }
    if args.confirm is None:
        if options:
            raise UserError(f'--{next(iter(options)).replace("_", "-")} needs --confirm M N.')
        return None, None
    options = {'candidate_threshold': args.threshold / 2, **options}
    if options['candidate_threshold'] > args.threshold:
        raise UserError(
            f'Expected a --candidate-threshold up to --threshold ({args.threshold}), got '
            f'{options["candidate_threshold"]}.'
        )
    m, n = args.confirm
    return TemporalFilter(m, n, **options), {'m': m, 'n': n, **options}


def open_live(args: argparse.Namespace, detector: Detector, source: FrameSource) -> LiveStream | None:
    """The live stream that the options ask for; a camera is live unless they say otherwise.

    Raises:
        UserError: Bad options, or --queue without --live.
    """
    when_full = args.live or ('drop' if is_camera(source.images) else None)
    if when_full is None:
        if args.queue is not None:
            raise UserError('--queue needs --live.')
        return None
    queue = QUEUE if args.queue is None else args.queue
    return detector.live(
        source, queue=queue, when_full=when_full, rate=source.rate if when_full == 'drop' else None
    )


@guarded
def main(argv: list[str] | None = None) -> int:
    """Entry point; returns 0, 1 when some frames could not be read, 2 on bad input."""
    args = build_parser().parse_args(argv)
    if args.batch_size is not None and args.batch_size < 1:
        raise UserError(f'--batch-size must be at least 1, got {args.batch_size}.')
    config, checkpoint = resolve(args)
    size = (
        config.get('inference_size', 256) if args.size is None else None if args.size == NATIVE else args.size
    )
    temporal, temporal_options = open_filter(args)
    detector = open_detector(args, config, checkpoint, size)
    decomposer = make_decomposer(detector.mapper) if args.save_stages else None
    source, folder, described = open_frames(args, config, detector.mapper)
    live = open_live(args, detector, source)
    video = None
    if args.video_out:
        video = AnnotatedVideo(args.video_out, source.rate or DEFAULT_RATE, args.overwrite)
    run: dict[str, Any] = {
        'config': config.model.get('type') if checkpoint is None else config.model.network.type,
        'model': dict(config.model) if checkpoint is None else dict(config.model.network),
        'checkpoint': None if checkpoint is None else str(checkpoint),
        'checkpoint_sha256': None if checkpoint is None else file_hash(checkpoint),
        **described,
        'size': NATIVE if size is None else size,
        'tile': args.tile,
        'precision': args.precision,
        'threshold': args.threshold,
        'temporal': temporal_options,
        'images': source.total,
        'versions': {
            'drpca': drpca.__version__, 'torch': torch.__version__, 'numpy': np.__version__,
            'opencv': cv2.__version__, 'python': platform.python_version(),
        },
    }  # fmt: skip
    writer = ResultsWriter(folder, run, args.overwrite, args.format, args.overlay, args.threshold)
    started = time.perf_counter()
    done = without_stages = 0
    detections: Iterable[Detection] = detector.stream(source) if live is None else live
    if temporal is not None:
        detections = temporal(detections)
    try:
        for detection in tqdm(detections, total=source.total, unit='img', disable=None, dynamic_ncols=True):
            writer.write(detection)
            if decomposer is not None and args.tile and max(detection.image.shape) > args.tile:
                without_stages += 1
            elif decomposer is not None:
                stages = decomposer.decompose(detection.image)
                writer.write_stages(detection.name, stages_picture(stages, detection.scores))
            if video is not None:
                video.write(detection.image, detection.targets, detection.name)
            done += 1
    finally:
        writer.close()
        if video is not None:
            video.close()
    seconds = time.perf_counter() - started
    print(
        f'{done} maps in {folder} ({seconds:.1f} s, {done / max(seconds, 1e-9):.1f} images/s with reading and writing)'
    )
    if live is not None and live.latencies:
        median, high = 1e3 * np.percentile(live.latencies, (50, 95))
        print(f'latency: median {median:.1f} ms, 95 % {high:.1f} ms; {live.dropped} frames dropped')
    if without_stages:
        print(f'{without_stages} frames are larger than --tile {args.tile}: no stages drawn', file=sys.stderr)
    for message in source.failed:
        print(f'error: {message}', file=sys.stderr)
    if source.failed:
        print(
            f'{len(source.failed)} of {done + len(source.failed)} inputs could not be read', file=sys.stderr
        )
        return EXIT_FAILED
    return 0
