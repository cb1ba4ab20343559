"""``inference.py``: score maps and targets of a data set, a folder, a video or an image."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from glob import has_magic
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

import drpca
from drpca.cli.common import OptionsAction, command_parser, size_argument
from drpca.cli.guard import guarded
from drpca.errors import EXIT_FAILED, UserError, counted
from drpca.files import check_folder
from drpca.inference.live import QUEUE, WHEN_FULL
from drpca.options import AUTO, BACKENDS, MAP_FORMATS, PRECISIONS, RECIPE, TILE, VIDEO_OUT

if TYPE_CHECKING:
    from drpca.inference.temporal import TemporalFilter


EXAMPLES = """\
  python inference.py                                    newest best.pth under checkpoints, on its test split
  python inference.py --input frames/                    the same, else the detector that comes with the project
  python inference.py rpcanet_sirstv1 --checkpoint RPCANet_SIRST.pkl
  python inference.py rpcanet_sirstv1 --checkpoint W.pth --size native --out results/native
  python inference.py rpcanet_sirstv1 --checkpoint W.pth --input frames/ --out results/mine
  python inference.py rpcanet_sirstv1 --checkpoint W.pth --input flight.mp4 --size native --format csv --overlay
  python inference.py rpcanet_sirstv1 --checkpoint W.pth --input flight.mp4 --video-out found.mp4 --confirm 3 5
  python inference.py rpcanet_sirstv1 --checkpoint W.pth --input 0 --live drop --format csv --video-out found.mp4
  python inference.py configs/classical/tophat.py --dataset SIRSTv1

exit status
  0  finished
  1  finished, but some images or the rest of a video could not be read; they are named on standard error
  2  wrong usage or input; one line on standard error says what to do
"""


def build_parser() -> argparse.ArgumentParser:
    parser = command_parser(
        'inference.py',
        'Write score maps: OUT/<dataset>/img/NAME.png (0-255), OUT/<dataset>/mat/NAME.mat (key T, float32 in [0, 1]) '
        'and OUT/<dataset>/run.json. Score them with cal_from_mask.py.',
        EXAMPLES,
    )
    add = parser.add_argument
    add('config', nargs='?', metavar='CONFIG', help='config file or name (default: the one in the checkpoint)')
    add(
        '--checkpoint', metavar='FILE',
        help="weight file; 'published': that of the config's authors (drpca weights); or a file of tools/export.py "
        '(default: the newest best.pth under checkpoints, of CONFIG if given; else the weights that come with the '
        'project for it)',
    )  # fmt: skip
    add(
        '--input', nargs='+', metavar='PATH',
        help='images, videos, folders of images (or of folders of them, which stay apart), patterns like frames/*.png, '
        'the number of a camera or the URL of a stream (default: the data set)',
    )  # fmt: skip
    add('--out', default='results', metavar='DIR', help='results folder (default: %(default)s)')
    add('--dataset', metavar='D', help="data set (default: the config's)")
    add('--split', metavar='S', help='split (default: test)')
    add('--data-root', metavar='DIR', help='folder of the data sets (default: $DRPCA_DATA, else datasets)')
    add(
        '--size', type=size_argument, metavar='N|native',
        help="resize frames, also of videos, to N × N for the detector, or keep each one's own size, padded (default: "
        "the config's inference_size); positions, masks and pictures are in pixels of the frame either way",
    )  # fmt: skip
    add('--device', metavar='DEV', help='cpu, cuda, cuda:1, … (default: a GPU if there is one)')
    add('--batch-size', type=int, metavar='N', help='frames at once (default: 16 on a GPU, 1 on a CPU)')
    add(
        '--tile', type=tile_argument, default=AUTO, metavar='N',
        help=f'networks: cut larger frames into overlapping N × N tiles; 0: never (default: {TILE})',
    )  # fmt: skip
    add(
        '--range', nargs='+', metavar='RULE',
        help='grey values that become 0 and 1: auto (8 bits as they are; others from lowest to highest, without '
        "isolated outliers), minmax, full, percentile LO HI, or LO HI (default: the config's, else auto)",
    )  # fmt: skip
    add('--bad-pixels', action='store_true', help='replace isolated outliers by the median around them')
    add('--precision', choices=PRECISIONS, default='fp32', help='of the convolutions (default: %(default)s)')
    add('--compile', action='store_true', help='torch.compile the network: slow to start')
    add('--cuda-graph', action='store_true', help='replay a CUDA graph per size of frame (NVIDIA GPU)')
    add(
        '--backend', choices=['auto', *BACKENDS],
        help='what runs an exported --checkpoint (.onnx, .xml, .pt2) or, on a CPU, a network; auto: the fastest form '
        'here, which is found out once and kept (default: PyTorch for a network, auto for an exported file)',
    )  # fmt: skip
    add('--trust', action='store_true', help='open a .pt2 file, which can run any code: for files of your own')
    add(
        '--format', nargs='+', choices=MAP_FORMATS, default=['png', 'mat'],
        help='png, mat: score maps; json: targets per image; csv: targets.csv; coco: coco.json (default: png mat)',
    )  # fmt: skip
    add(
        '--threshold', type=float, default=0.5, metavar='S',
        help='scores above it are targets (default: %(default)s)',
    )  # fmt: skip
    add('--overlay', action='store_true', help='write overlay/NAME.png: detections in the image')
    add('--save-stages', action='store_true', help='write stages/NAME.png: D, B, T and N after every stage')
    add(
        '--overwrite', action='store_true',
        help="replace another run's maps or targets, also of frames that are gone, and the file of --video-out",
    )  # fmt: skip
    add(
        '--cfg-options', nargs='+', action=OptionsAction, default={}, metavar='KEY=VALUE',
        help='override keys of the config',
    )  # fmt: skip
    _add_sequence_options(parser)
    return parser


def _add_sequence_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group('videos and cameras').add_argument
    add(
        '--video-out', metavar='FILE',
        help=f'also write a video with boxes, scores and frame numbers ({", ".join(VIDEO_OUT)})',
    )  # fmt: skip
    add(
        '--live', choices=WHEN_FULL,
        help='read ahead in a thread, one frame at a time, and report the latency. When the queue is full, block: '
        'the source waits; drop: the frame that has waited longest is dropped, and a video is played at its own rate '
        '(default for a camera: drop)',
    )  # fmt: skip
    add('--queue', type=int, metavar='N', help=f'with --live: frames that may wait (default: {QUEUE})')
    add(
        '--confirm', nargs=2, type=int, metavar=('M', 'N'),
        help='report only what is found in at least M of the last N frames on the track of a moving target',
    )  # fmt: skip
    add(
        '--candidate-threshold', type=float, metavar='S',
        help='with --confirm: scores above it count (default: half of --threshold)',
    )  # fmt: skip
    add(
        '--max-speed', type=float, metavar='PX',
        help='with --confirm: largest motion of a target, in pixels per frame (default: 4)',
    )  # fmt: skip
    add(
        '--gate', type=float, metavar='PX',
        help='with --confirm: largest distance from the predicted place, in pixels per frame (default: 2)',
    )  # fmt: skip
    add(
        '--min-speed', type=float, metavar='PX',
        help='with --confirm: smallest motion of a target, in pixels per frame (default: 0)',
    )  # fmt: skip
    add('--stabilise', action='store_true', help='with --confirm: take out shifts of the whole picture')


def tile_argument(text: str) -> int | str | None:
    """``0`` → None."""
    if text == AUTO:
        return AUTO
    if not text.isdigit() or 0 < int(text) < 64:
        raise argparse.ArgumentTypeError(f'expected a side of at least 64 pixels, or 0 for no tiles, got {text!r}')
    return int(text) or None


def open_filter(args: argparse.Namespace) -> TemporalFilter | None:
    """The temporal filter that the options describe.

    Raises:
        UserError: Bad options, or options of the filter without --confirm.
    """
    options = {
        name: value
        for name in ('candidate_threshold', 'max_speed', 'gate', 'min_speed', 'stabilise')
        if (value := getattr(args, name)) not in (None, False)
    }
    if args.confirm is None:
        if options:
            raise UserError(f'--{next(iter(options)).replace("_", "-")} needs --confirm M N.')
        return None
    options = {'candidate_threshold': args.threshold / 2, **options}
    if options['candidate_threshold'] > args.threshold:
        raise UserError(
            f'Expected a --candidate-threshold up to --threshold ({args.threshold}), got '
            f'{options["candidate_threshold"]}.'
        )
    from drpca.inference.temporal import TemporalFilter

    return TemporalFilter(*args.confirm, **options)


def sizes_text(sizes: Sequence[tuple[tuple[int, ...], tuple[int, ...]]]) -> str:
    """What became of the frames' sizes, in a line; (height, width) of frames and maps."""
    frames = [f'{frame[0]} × {frame[1]}' for frame, _ in sorted(sizes, key=lambda pair: math.prod(pair[0]))]
    some = frames[0] if len(frames) == 1 else f'{len(frames)} sizes from {frames[0]} to {frames[-1]}'
    maps = {f'{map_[0]} × {map_[1]}' for _, map_ in sizes}
    if all(frame == map_ for frame, map_ in sizes):
        return f'frames of {some} pixels, seen at their own size'
    resized = f'resized to {maps.pop()}' if len(maps) == 1 else 'resized'
    return f'frames of {some} pixels, {resized} for the detector; positions and areas are in pixels of the frames'


def is_config(text: str) -> bool:
    """Whether a config is meant, and no image."""
    from drpca.config import list_configs

    return not Path(text).is_dir() and (text.endswith('.py') or text in list_configs())


def told(detector: drpca.Detector, source: Sequence[str] | None, split: str) -> str:
    """What is about to run on what, in a line."""
    from drpca.config import evaluation_data

    weights = '' if detector.checkpoint is None else f', weights {detector.checkpoint}'
    data = detector.dataset or evaluation_data(detector.config).get('dataset') or 'data set'
    images = f'{data} {split}' if source is None else ' '.join(source)
    size = "the frames' own size" if detector.size is None else f'{detector.size} pixels'
    is_named = detector.name != str(detector.checkpoint)
    name = f'{detector.name} ({detector.method})' if is_named else detector.method
    frames, delay = counted(detector.frames, 'frame'), counted(detector.delay, 'frame')
    windows = f'; in windows of {frames}, {delay} late' if detector.frames > 1 else ''
    return f'{name}{weights}; {images}; at {size}{windows}'


@guarded
def main(argv: list[str] | None = None) -> int:
    """Entry point; returns 0, 1 when some frames could not be read, 2 on bad input."""
    args = build_parser().parse_args(argv)
    temporal = open_filter(args)
    if args.config is None and len(args.input or []) > 1 and is_config(args.input[-1]):
        args.config = args.input.pop()  # --input PATH CONFIG
    check_folder(args.out)  # before --backend auto measures
    if args.video_out:
        from drpca.inference.video_writer import check_video

        check_video(args.video_out, args.overwrite)
    detector = drpca.Detector(
        args.config, args.checkpoint, size=args.size or RECIPE, threshold=args.threshold, tile=args.tile,
        batch_size=args.batch_size, device=args.device, precision=args.precision, compile=args.compile,
        cuda_graph=args.cuda_graph, backend=args.backend, trust=args.trust, dataset=args.dataset,
        data_root=args.data_root,
        options=args.cfg_options, range=args.range, bad_pixels=args.bad_pixels or None,
    )  # fmt: skip
    print(told(detector, args.input, args.split or 'test'), flush=True)
    if detector.runtime is not None:
        print(f'{detector.method} {detector.runtime}', flush=True)
    source: int | str | list[str] | None = args.input
    if args.input is not None and len(args.input) == 1 and not has_magic(args.input[0]):
        (text,) = args.input
        source = int(text) if text.isdigit() and not Path(text).exists() else text
    written = drpca.predict(
        detector, source, args.out, split=args.split or 'test',
        formats=args.format, overlay=args.overlay, stages=args.save_stages, video_out=args.video_out,
        temporal=temporal, live=args.live, queue=args.queue, overwrite=args.overwrite, progress=True,
    )  # fmt: skip
    done, seconds = written.done, written.seconds
    print(
        f'{counted(done, "map")} in {written.folder} ({seconds:.1f} s, {done / max(seconds, 1e-9):.1f} images/s with '
        'reading and writing)'
    )
    if written.sizes:
        print(sizes_text(written.sizes))
    if written.latencies:
        median, high = 1e3 * np.percentile(written.latencies, (50, 95))
        print(f'latency: median {median:.1f} ms, 95 % {high:.1f} ms; {counted(written.dropped, "frame")} dropped')
    if written.without_stages:
        print(
            f'no stages drawn of {counted(written.without_stages, "frame")} larger than --tile {detector.tile}',
            file=sys.stderr,
        )
    from drpca.inference.frames import holds_masks

    masks = [folder for folder in written.skipped if holds_masks(folder, str(source))]
    if masks:
        more = ', …' if len(masks) > 1 else ''
        print(f'note: {counted(len(masks), "folder")} of masks left out: {masks[0]}{more}', file=sys.stderr)
    for folder in written.skipped:
        if folder not in masks:
            print(f'note: images in {folder} were left out: give it to --input as well', file=sys.stderr)
    for message in written.failed:
        print(f'error: {message}', file=sys.stderr)
    if written.failed:
        inputs = counted(done + len(written.failed), 'input')
        print(f'{len(written.failed)} of {inputs} could not be read', file=sys.stderr)
        return EXIT_FAILED
    return 0
