"""``tools/make_synthetic.py``: makes the synthetic data set."""

from __future__ import annotations

import argparse

from drpca.cli.common import command_parser, keywords
from drpca.cli.guard import guarded
from drpca.datasets.synthetic import FOLDER, SyntheticParameters, generate_dataset

_DESCRIPTION = """\
Make the synthetic data set: infrared-like frames of sky, cloud, sea, ground and town with 0 to 4 small
targets and their masks, as <data root>/synthetic/{trainval,test}/{images,masks}/*.png. Nothing is downloaded;
the same options give the same files."""

_EXAMPLES = """\
  python tools/make_synthetic.py
      400 + 100 frames of 256 × 256 under ./datasets
  python tools/make_synthetic.py --num-train 2000 --num-test 500 --seed 1 --overwrite
      a larger set in place of the one there"""


def build_parser() -> argparse.ArgumentParser:
    default = SyntheticParameters()
    parser = command_parser('make_synthetic.py', _DESCRIPTION, _EXAMPLES, done='made, or there already')
    add = parser.add_argument
    add(
        '--data-root', metavar='DIR',
        help='folder that holds the data sets (default: DRPCA_DATA, else ./datasets)',
    )  # fmt: skip
    for name, text in (
        ('num-train', 'frames in trainval'),
        ('num-test', 'frames in test'),
        ('size', 'height and width in pixels'),
        ('seed', 'seed'),
    ):
        value = getattr(default, name.replace('-', '_'))
        add(f'--{name}', type=int, default=value, metavar='N', help=f'{text} (default: {value})')
    add('--scenes', nargs='+', default=(), metavar='S', help='of sky, cloud, sea, ground, urban (default: all)')
    add('--overwrite', action='store_true', help='replace a synthetic set made with other options')
    return parser


@guarded
def main(argv: list[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    args = build_parser().parse_args(argv)
    root = generate_dataset(**keywords(generate_dataset, args))
    print(f'{FOLDER}: {args.num_train} + {args.num_test} frames of {args.size} × {args.size} in {root}')
    return 0
