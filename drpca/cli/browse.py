"""``tools/browse.py``: learning rate and augmented samples of a training, before it begins."""

from __future__ import annotations

import argparse

from drpca.cli.common import OptionsAction, add_overwrite_option, command_parser, keywords, positive, seed_argument
from drpca.cli.guard import guarded

_DESCRIPTION = """\
Draw what a training will do: its learning rate over all epochs, and training images as the network will see them,
augmented, with the outlines of their targets. Nothing is trained."""

_EXAMPLES = """\
  python tools/browse.py rpcanet_sirstv1
      results/browse/rpcanet_sirstv1.png
  python tools/browse.py rpcanet_plus_sirstv1_best --epochs 50 --samples 6 --versions 8 --out look.png"""


def build_parser() -> argparse.ArgumentParser:
    parser = command_parser('browse.py', _DESCRIPTION, _EXAMPLES, done='drawn')
    add = parser.add_argument
    add('config', metavar='CONFIG', help='name or file of a config')
    add('--dataset', metavar='D', help="data set (default: the config's)")
    add('--data-root', metavar='DIR', help='folder of the data sets (default: $DRPCA_DATA, else datasets)')
    add('--samples', type=positive, default=4, metavar='N', help='images (default: %(default)s)')
    add('--versions', type=positive, default=4, metavar='N', help='augmented versions of each (default: %(default)s)')
    add('--seed', type=seed_argument, default=0, metavar='N', help='of the augmentation (default: %(default)s)')
    add('--epochs', type=positive, metavar='N', help='length of the training; schedules follow')
    add('--batch-size', type=positive, metavar='N', help='images per step')
    add('--out', metavar='FILE', help='the picture (default: results/browse/<config>.png)')
    add(
        '--cfg-options', nargs='+', action=OptionsAction, default={}, metavar='KEY=VALUE',
        help='override any key of the config',
    )  # fmt: skip
    add_overwrite_option(parser)
    return parser


@guarded
def main(argv: list[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    args = build_parser().parse_args(argv)
    from drpca.engine.runs import TrainingOptions
    from drpca.studies.browse import browse

    shown = browse(**keywords(browse, args), **keywords(TrainingOptions, args))
    epochs = len(shown.rates) // shown.epoch_length
    print(
        f'{epochs} epochs of {shown.epoch_length} steps, learning rate {shown.rates[0]:.3g} at first, at most '
        f'{shown.rates.max():.3g}, {shown.rates[-1]:.3g} at last'
    )
    print(f'wrote {shown.path}')
    return 0
