"""``inference.py``: score maps and targets of a data set, a folder, a video or an image."""

from __future__ import annotations

import argparse
import platform
import sys
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from mmengine.config import Config, DictAction
from tqdm import tqdm

import drpca
from drpca.cli.common import EXIT_FAILED, NATIVE, command_parser, guarded, size_argument
from drpca.datasets import open_split
from drpca.engine.checkpoint import file_hash, read_checkpoint
from drpca.engine.config import find_config, load_config
from drpca.engine.hooks import BEST
from drpca.errors import UserError
from drpca.inference.backends import BACKENDS, SUFFIXES, ExportedMapper, open_backend
from drpca.inference.detector import Detector
from drpca.inference.frames import MIN_SIDE, FrameSource, list_images
from drpca.inference.mappers import TILE, FrameMapper, NetworkMapper, build_mapper, is_baseline
from drpca.inference.optimise import PRECISIONS
from drpca.inference.writers import FORMATS, ResultsWriter

EXAMPLES = """\
  python inference.py                                    newest best.pth under checkpoints, on its test split
  python inference.py rpcanet_sirstv1 --checkpoint RPCANet_SIRST.pkl
  python inference.py rpcanet_sirstv1 --checkpoint W.pth --size native --out results/native
  python inference.py rpcanet_sirstv1 --checkpoint W.pth --input frames/ --out results/mine
  python inference.py rpcanet_sirstv1 --checkpoint W.pth --input flight.mp4 --size native --format csv --overlay
  python inference.py configs/classical/tophat.py --dataset SIRSTv1
"""


def build_parser() -> argparse.ArgumentParser:
    parser = command_parser(
        'inference.py',
        'Write score maps: OUT/<dataset>/img/NAME.png (0-255), OUT/<dataset>/mat/NAME.mat (key T, float32 in [0, 1]) '
        'and OUT/<dataset>/run.json. Score them with cal_from_mask.py.',
        EXAMPLES,
    )
    parser.add_argument(
        'config', nargs='?', metavar='CONFIG', help='config file or name (default: the one in the checkpoint)'
    )
    parser.add_argument(
        '--checkpoint',
        metavar='FILE',
        help='weights: published, ours, or a file of tools/export.py (default: newest best.pth under checkpoints)',
    )
    parser.add_argument(
        '--input', metavar='PATH', help='an image, a video, or a folder of images, instead of a data set'
    )
    parser.add_argument(
        '--out', default='results', metavar='DIR', help='results folder (default: %(default)s)'
    )
    parser.add_argument('--dataset', metavar='D', help="data set (default: the config's)")
    parser.add_argument('--split', metavar='S', help='split (default: test)')
    parser.add_argument(
        '--data-root', metavar='DIR', help='folder of the data sets (default: $DRPCA_DATA, else datasets)'
    )
    parser.add_argument(
        '--size', type=size_argument, metavar='N|native',
        help="resize frames to N × N, or keep each one's own size, padded (default: the config's inference_size)",
    )  # fmt: skip
    parser.add_argument(
        '--device', metavar='DEV', help='cpu, cuda, cuda:1, … (default: a GPU if there is one)'
    )
    parser.add_argument(
        '--batch-size', type=int, metavar='N', help='frames at once (default: 16 on a GPU, 1 on a CPU)'
    )
    parser.add_argument(
        '--tile', type=tile_argument, default=TILE, metavar='N',
        help='cut larger frames into overlapping N × N tiles; 0: never (default: %(default)s)',
    )  # fmt: skip
    parser.add_argument(
        '--precision',
        choices=list(PRECISIONS),
        default='fp32',
        help='of the convolutions (default: %(default)s)',
    )
    parser.add_argument(
        '--backend', choices=['auto', *BACKENDS], default='auto',
        help='what runs an exported --checkpoint (.onnx, .xml, .pt2); auto: the fastest of those installed',
    )  # fmt: skip
    parser.add_argument(
        '--format', nargs='+', choices=FORMATS, default=['png', 'mat'],
        help='png, mat: score maps; json: targets per image; csv: targets.csv; coco: coco.json (default: png mat)',
    )  # fmt: skip
    parser.add_argument(
        '--threshold',
        type=float,
        default=0.5,
        metavar='S',
        help='scores above it are targets (default: %(default)s)',
    )
    parser.add_argument(
        '--overlay', action='store_true', help='write overlay/NAME.png: detections in the image'
    )
    parser.add_argument(
        '--save-stages', action='store_true', help='write stages/NAME.png: D, B, T and N after every stage'
    )
    parser.add_argument('--overwrite', action='store_true', help="replace another run's maps")
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        default={},
        metavar='KEY=VALUE',
        help='override keys of the config',
    )
    return parser


def newest_best(folder: str | Path = 'checkpoints') -> Path:
    """The ``best.pth`` written last.

    Raises:
        UserError: There is none.
    """
    found = sorted(Path(folder).glob(f'*/*/{BEST}'), key=lambda path: path.stat().st_mtime)
    if not found:
        raise UserError(
            f'No trained weights under {folder}: train with run_configs.py, or give --checkpoint FILE.'
        )
    return found[-1]


def resolve(args: argparse.Namespace) -> tuple[Config, Path | None]:
    """Config and checkpoint from whichever of the two was given."""
    path = None if args.config is None else find_config(args.config)
    if path is not None:
        config = load_config(path, args.dataset, args.data_root, args.cfg_options)
        if is_baseline(config):
            return config, None
        return config, Path(args.checkpoint) if args.checkpoint else newest_best()
    checkpoint = Path(args.checkpoint) if args.checkpoint else newest_best()
    text = read_checkpoint(checkpoint).get('meta', {}).get('cfg')
    if text is None:
        raise UserError(
            f'{checkpoint} does not say which config it belongs to: give CONFIG, for example rpcanet_sirstv1.'
        )
    config = Config.fromstring(text, file_format='.py')
    config.merge_from_dict(args.cfg_options)
    return config, checkpoint


def input_source(path: str | Path, min_side: int) -> FrameSource:
    """The frames of an image, a video or a folder of images.

    Raises:
        UserError: No such path, no image in it, or two images of one name.
    """
    if not Path(path).exists():
        raise UserError(f'--input {path}: no such image, video or folder.')
    return FrameSource(list_images(path) if Path(path).is_dir() else path, keep_going=True, min_side=min_side)


def tile_argument(text: str) -> int | None:
    """``0`` → None."""
    if not text.isdigit() or 0 < int(text) < 64:
        raise argparse.ArgumentTypeError(
            f'expected a side of at least 64 pixels, or 0 for no tiles, got {text!r}'
        )
    return int(text) or None


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
    run: dict[str, Any] = {
        'config': config.model.get('type') if checkpoint is None else config.model.network.type,
        'model': dict(config.model) if checkpoint is None else dict(config.model.network),
        'checkpoint': None if checkpoint is None else str(checkpoint),
    }
    mapper: FrameMapper
    if checkpoint is not None and checkpoint.suffix in SUFFIXES:
        if args.precision != 'fp32':
            raise UserError(f'{checkpoint} has its precision in it: leave out --precision.')
        mapper = ExportedMapper(
            open_backend(checkpoint, args.backend), size, tile=args.tile, batch_size=args.batch_size or 1
        )
    else:
        mapper = build_mapper(
            config, checkpoint, size, args.device, args.batch_size, tile=args.tile, precision=args.precision
        )
    detector = Detector.from_mapper(mapper, args.threshold)
    run['checkpoint_sha256'] = None if checkpoint is None else file_hash(checkpoint)
    staged = mapper if isinstance(mapper, NetworkMapper) and mapper.has_stages else None
    if args.save_stages and staged is None:
        raise UserError(f'{run["config"]} has no stages to save: leave out --save-stages.')

    min_side = MIN_SIDE if size is None else 1
    if args.input:
        source = input_source(args.input, min_side)
        folder = Path(args.out) / Path(args.input).resolve().stem
        run |= {'dataset': None, 'split': None, 'input': str(args.input)}
    else:
        loader = config.get('test_dataloader')
        dataset = args.dataset or (loader and loader.dataset.dataset)
        if not dataset:
            raise UserError('Which images? Give --dataset or --input.')
        root = args.data_root or (loader and loader.dataset.get('data_root'))
        split = open_split(dataset, args.split or 'test', root)
        files = [(name, split.image_path(name)) for name in split.names]
        source = FrameSource(files, keep_going=True, min_side=min_side)
        folder = Path(args.out) / split.dataset
        run |= {'dataset': split.dataset, 'split': split.split, 'input': None}
    run |= {
        'size': NATIVE if size is None else size,
        'tile': args.tile,
        'precision': args.precision,
        'threshold': args.threshold,
        'images': source.total,
        'versions': {
            'drpca': drpca.__version__, 'torch': torch.__version__, 'numpy': np.__version__,
            'opencv': cv2.__version__, 'python': platform.python_version(),
        },
    }  # fmt: skip
    writer = ResultsWriter(folder, run, args.overwrite, args.format, args.overlay, args.threshold)
    started = time.perf_counter()
    done = 0
    for detection in tqdm(
        detector.stream(source), total=source.total, unit='img', disable=None, dynamic_ncols=True
    ):
        writer.write(detection)
        if args.save_stages and staged is not None:
            writer.write_stages(detection.name, staged.decompose(detection.image))
        done += 1
    writer.close()
    seconds = time.perf_counter() - started
    print(
        f'{done} maps in {folder} ({seconds:.1f} s, {done / max(seconds, 1e-9):.1f} images/s with reading and writing)'
    )
    for message in source.failed:
        print(f'error: {message}', file=sys.stderr)
    if source.failed:
        print(
            f'{len(source.failed)} of {done + len(source.failed)} inputs could not be read', file=sys.stderr
        )
        return EXIT_FAILED
    return 0
