"""``tools/robustness.py``: figures of detectors on noisy, damaged, blurred and compressed frames."""

from __future__ import annotations

import argparse

import drpca
from drpca.cli import detector_options as D
from drpca.cli.common import command_parser, keywords, seed_argument
from drpca.cli.guard import guarded
from drpca.evaluation.protocols import build_protocols, known_protocols
from drpca.options import ROBUST_FIGURES
from drpca.studies.corruptions import KINDS, parse_corruptions

_KINDS = '\n'.join(
    f'  {name:12s} {",".join(f"{level:g}" for level in kind.levels):12s} {kind.unit}' for name, kind in KINDS.items()
)

_DESCRIPTION = f"""\
Score detectors on disturbed frames.

The 8-bit frames are disturbed as they come from their files, before any resizing; what is drawn depends on
the seed, the kind and the name of the image alone. Kinds, with their usual levels:

{_KINDS}

Writes OUT/robustness.json (plain ratios), OUT/robustness.md (the printed table) and a plot of each figure
named in --curves, OUT/IoU.png and .svg."""

_EXAMPLES = """\
  python tools/robustness.py rpcanet_sirstv1 --checkpoint RPCANet_SIRST.pkl --limit 10
      a quick look at ten images, every disturbance
  python tools/robustness.py rpcanet_sirstv1 rpcanet_plus_sirstv1 --checkpoint A.pkl B.pkl \\
      --corruption gaussian=10,20,30 salt_pepper=1,3,5
      two networks side by side, each with its config and weights"""


def build_parser() -> argparse.ArgumentParser:
    parser = command_parser('robustness.py', _DESCRIPTION, _EXAMPLES, done='scored')
    D.add_detector_options(parser, several=True)
    D.add_data_options(parser)
    add = parser.add_argument
    add('--corruption', nargs='+', default=[], metavar='KIND[=L1,L2]', help='disturbances (default: all)')
    add('--seed', type=seed_argument, default=0, metavar='N', help='of the noise (default: %(default)s)')
    add(
        '--protocol', nargs='+', default=['basicirstd'], metavar='NAME',
        help=f'one or more of {", ".join(known_protocols())} (default: basicirstd); curves show the first',
    )  # fmt: skip
    add(
        '--curves', nargs='+', default=['IoU', 'Pd', 'Fa'], metavar='FIGURE',
        help=f'figures to plot, of {", ".join(ROBUST_FIGURES)} (default: IoU Pd Fa)',
    )  # fmt: skip
    add('--out', default='results/robustness/{dataset}', metavar='DIR', help='default: results/robustness/<dataset>')
    add('--overwrite', action='store_true', help='replace the files of an earlier run')
    return parser


@guarded
def main(argv: list[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    args = build_parser().parse_args(argv)
    from drpca.inference.detector import open_detectors

    corruptions, protocols = parse_corruptions(args.corruption), build_protocols(args.protocol)
    detectors = open_detectors(args.config, args.checkpoint, **D.detector_options(args))
    study = drpca.robustness(
        {detector.name: detector for detector in detectors},
        corruptions=corruptions,
        protocols=protocols,
        progress=True,
        **keywords(drpca.robustness, args),
    )
    D.note_limit(study.split, study.names)
    print(study.as_text())
    print(f'\nwrote {", ".join(file.name for file in study.files)} to {study.files[0].parent}')
    return 0
