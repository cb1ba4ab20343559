"""``tools/cross_dataset.py``: one detector on several data sets."""

from __future__ import annotations

import argparse
from pathlib import Path

import drpca
from drpca.cli import detector_options as D
from drpca.cli.common import command_parser, keywords
from drpca.cli.guard import guarded
from drpca.evaluation.protocols import build_protocols, known_protocols

_DESCRIPTION = """\
Score one detector on several data sets: how well does it do on images of another kind than those it was
trained on?

Warns where images of a test split are among those that the config trains and selects on. That the checkpoint
was made so is an assumption: name other splits with --trained-on, if not."""

_EXAMPLES = """\
  python tools/cross_dataset.py rpcanet_sirstv1 --checkpoint RPCANet_SIRST.pkl --dataset SIRSTv1 NUDT-SIRST
      two data sets in one table
  python tools/cross_dataset.py rpcanet_sirstv1 --checkpoint W.pth --dataset SIRSTv1 SIRSTv2 \\
      --trained-on SIRSTv1:trainval --protocol basicirstd drpca --out results/cross
      weights of another origin, two protocols, with files"""


def build_parser() -> argparse.ArgumentParser:
    parser = command_parser('cross_dataset.py', _DESCRIPTION, _EXAMPLES, done='scored; leaks are warnings')
    D.add_detector_options(parser, several=False)
    D.add_data_options(parser, several=True)
    add = parser.add_argument
    add(
        '--protocol', nargs='+', default=['basicirstd'], metavar='NAME',
        help=f'one or more of {", ".join(known_protocols())} (default: basicirstd)',
    )  # fmt: skip
    add(
        '--trained-on', nargs='+', default=[], metavar='D[:SPLIT]',
        help="what the weights were trained and selected on (default: the config's training and validation "
        'splits; SPLIT: trainval)',
    )  # fmt: skip
    add('--out', type=Path, metavar='DIR', help='also write DIR/cross_dataset.json and DIR/cross_dataset.md')
    add('--overwrite', action='store_true', help='replace the files of an earlier run')
    return parser


@guarded
def main(argv: list[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    args = build_parser().parse_args(argv)
    protocols = build_protocols(args.protocol)
    study = drpca.cross_dataset(
        drpca.Detector(args.config, args.checkpoint, **D.detector_options(args)),
        args.dataset,
        protocols=protocols,
        **keywords(drpca.cross_dataset, args),
    )
    for entry in study.datasets:
        D.note_limit(entry.split, entry.names)
    print(study.as_text())
    if study.files:
        print(f'\nwrote {" and ".join(file.name for file in study.files)} to {args.out}')
    return 0
