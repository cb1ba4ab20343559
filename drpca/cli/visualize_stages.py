"""``tools/visualize_stages.py``: pictures of background, target and noise after every stage."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np

from drpca.cli import detector_options as D
from drpca.cli.common import command_parser, guarded
from drpca.datasets import open_split
from drpca.datasets.io import resize_mask
from drpca.datasets.splits import spread
from drpca.inference.decomposer import make_decomposer
from drpca.inference.frames import MIN_SIDE, FrameSource, list_images
from drpca.inference.opening import data_set_of, open_detector
from drpca.reports.stages import stages_picture
from drpca.results.stage_pictures import FOLDER, StageFolder

_DESCRIPTION = f"""\
Draw what happens inside a detector: the image, the score map and the label, and below them the background B,
the target T, the noise N (where there is one) and the reconstruction D after every stage, with the learned
scalars of the stage. Each variable is stretched over its own range, which stands above it.

Writes OUT/NAME.png and OUT/stages.json. Pictures in results/<dataset>/{FOLDER} are shown in the report of
cal_from_mask.py --report if they are of the checkpoint that made the maps."""

_EXAMPLES = """\
  python tools/visualize_stages.py rpcanet_sirstv1 --checkpoint RPCANet_SIRST.pkl --names Misc_1 Misc_10
      two images of the config's test split
  python tools/visualize_stages.py drpcanet_nudt_sirst --checkpoint best.pth --limit 6
      six images, evenly spread over the test split
  python tools/visualize_stages.py rpcanet_sirstv1 --checkpoint W.pkl --input frames/ --size native
      images of one's own, at their own size

exit status
  0  drawn
  2  wrong usage or input; one line on standard error says what to do"""

_DEFAULT_COUNT = 4


def build_parser() -> argparse.ArgumentParser:
    """The command line of ``tools/visualize_stages.py``."""
    parser = command_parser('visualize_stages.py', _DESCRIPTION, _EXAMPLES)
    D.add_detector_options(parser, several=False)
    D.add_data_options(parser)
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        '--names', nargs='+', metavar='NAME',
        help=f'images of the split (default: {_DEFAULT_COUNT} of them, evenly spread, or --limit)',
    )  # fmt: skip
    which.add_argument(
        '--input', metavar='PATH', help='an image, a video or a folder of images, instead of a data set'
    )
    parser.add_argument(
        '--out', metavar='DIR', help=f'default: results/<dataset>/{FOLDER}, or results/<input>/{FOLDER}'
    )
    parser.add_argument('--overwrite', action='store_true', help='replace the pictures of an earlier run')
    return parser


@guarded
def main(argv: list[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    args = build_parser().parse_args(argv)
    detector = open_detector(args, args.config, args.checkpoint, args.config)
    decomposer = make_decomposer(detector.mapper)
    described = detector.described()
    if args.input:
        path = Path(args.input)
        images = spread(list_images(path), args.limit) if path.is_dir() else path
        source = FrameSource(images, min_side=MIN_SIDE if detector.size is None else 1)
        frames: Iterator[tuple[str, np.ndarray, np.ndarray | None]] = (
            (name, frame, None) for name, frame in islice(source, args.limit)
        )
        folder = Path('results') / path.resolve().stem
        described |= {'dataset': None, 'split': None}
    else:
        dataset, data_root = data_set_of(args, detector.config)
        split = open_split(dataset, args.split, data_root)
        names = args.names or spread(split.names, args.limit or _DEFAULT_COUNT)
        for name in names:
            split.image_path(name)  # an unknown name is told before the first picture is drawn
        frames = ((name, split.read_image(name), split.read_mask(name)) for name in names)
        folder = Path('results') / split.dataset
        described |= {'dataset': split.dataset, 'split': split.split}
    out = Path(args.out) if args.out else folder / FOLDER
    writer: StageFolder | None = None
    for name, frame, gt_mask in frames:
        decomposition = decomposer.decompose(frame)
        if gt_mask is not None:
            gt_mask = resize_mask(gt_mask, decomposition.image.shape)
        picture = stages_picture(decomposition, decomposer.scores(frame), gt_mask)
        writer = writer or StageFolder(out, described, args.overwrite)
        print(writer.write(name, picture, [stage.scalars for stage in decomposition.stages]), flush=True)
    return 0
