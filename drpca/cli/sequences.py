"""``tools/sequences.py``: what the confirmation over m of n frames gains on synthetic sequences."""

from __future__ import annotations

import argparse

import drpca
from drpca.cli.common import command_parser, keywords
from drpca.cli.guard import guarded

_DESCRIPTION = """\
Compare the confirmation over m of n frames with single frames, on synthetic sequences of known truth.

A single frame is judged at the threshold at which it has the Pd of the filter, so that the false alarms can be
compared. Score maps are those of the top-hat transform."""

_EXAMPLES = """\
  python tools/sequences.py
  python tools/sequences.py --seeds 0 1 --confirm 2 4 --min-speed 0.6"""


def build_parser() -> argparse.ArgumentParser:
    parser = command_parser('sequences.py', _DESCRIPTION, _EXAMPLES, done='done')
    add = parser.add_argument
    add('--seeds', type=int, nargs='+', default=[0, 1, 2, 3, 4], metavar='N', help='default: 0 to 4')
    add('--confirm', type=int, nargs=2, default=(3, 5), metavar=('M', 'N'), help='default: 3 5')
    add('--candidate-threshold', type=float, default=0.22, metavar='S', help='default: %(default)s')
    add('--contrast', type=float, default=0.06, metavar='C', help='of the background (default: %(default)s)')
    add(
        '--min-speed', type=float, default=0.0, metavar='PX',
        help='of a target, per frame (default: %(default)s)',
    )  # fmt: skip
    return parser


@guarded
def main(argv: list[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    args = build_parser().parse_args(argv)
    print('seed  Pd filter  single  Fa x1e-6 filter  single  alarms a frame filter  single')
    for seed, filtered, single in drpca.confirmation_gain(**keywords(drpca.confirmation_gain, args)):
        print(
            f'{seed:4d} {filtered.pd:10.3f} {single.pd:7.3f} {1e6 * filtered.fa:16.1f} {1e6 * single.fa:7.1f}'
            f' {filtered.false_per_frame:22.2f} {single.false_per_frame:7.2f}',
            flush=True,
        )
    return 0
