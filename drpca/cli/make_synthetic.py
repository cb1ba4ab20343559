"""``tools/make_synthetic.py``: makes the synthetic data set, or synthetic sequences."""

from __future__ import annotations

import argparse

from drpca.cli.common import command_parser, keywords
from drpca.cli.guard import guarded
from drpca.datasets.synthetic import FOLDER, SyntheticParameters, generate_dataset
from drpca.errors import UserError

_DESCRIPTION = """\
Make the synthetic data set: infrared-like frames of sky, cloud, sea, ground and town with 0 to 4 small
targets and their masks, as <data root>/synthetic/{trainval,test}/{images,masks}/*.png. Nothing is downloaded;
the same options give the same files.

With --sequences: those of moving targets that networks of several frames train on without any file, as
<data root>/synthetic_sequences/{train,val,test}/NAME/{images,masks}/*.png and points.txt beside them."""

_EXAMPLES = """\
  python tools/make_synthetic.py
      400 + 100 frames of 256 × 256 under ./datasets
  python tools/make_synthetic.py --num-train 2000 --num-test 500 --seed 1 --overwrite
      a larger set in place of the one there
  python tools/make_synthetic.py --sequences 10
      10 sequences of 40 frames of 96 × 96: 6 to train, 2 to validate, 2 to test"""

_OF_SEQUENCES, _OF_FRAMES = ('frames',), ('num_train', 'num_test', 'scenes')


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
        note = ', of sequences 96' if name == 'size' else ''
        chosen = None if note else value
        add(f'--{name}', type=int, default=chosen, metavar='N', help=f'{text} (default: {value}{note})')
    add('--scenes', nargs='+', default=(), metavar='S', help='of sky, cloud, sea, ground, urban (default: all)')
    add('--sequences', type=int, metavar='N', help='make so many sequences, a fifth each to validate and to test')
    add('--frames', type=int, metavar='N', help='of a sequence (default: 40)')
    add('--overwrite', action='store_true', help='replace a synthetic set made with other options')
    return parser


@guarded
def main(argv: list[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    parser = build_parser()
    args = parser.parse_args(argv)
    for name in _OF_SEQUENCES if args.sequences is None else _OF_FRAMES:
        if getattr(args, name) != parser.get_default(name):
            what = 'is of --sequences N: give it too' if args.sequences is None else 'is not of --sequences: give one'
            raise UserError(f'--{name.replace("_", "-")} {what}, or leave it out.')
    given = argparse.Namespace(**{name: value for name, value in vars(args).items() if value is not None})
    if args.sequences is not None:
        from drpca.datasets.synthetic_sequence import generate_sequences

        print(f'{args.sequences} sequences in {generate_sequences(**keywords(generate_sequences, given))}')
        return 0
    root = generate_dataset(**keywords(generate_dataset, given))
    size = args.size or SyntheticParameters.size
    print(f'{FOLDER}: {args.num_train} + {args.num_test} frames of {size} × {size} in {root}')
    return 0
