"""``tools/figure.py``: figures and tables of a paper."""

from __future__ import annotations

import argparse
from pathlib import Path

import drpca
from drpca.cli.common import add_overwrite_option, command_parser, keywords, positive
from drpca.cli.guard import guarded
from drpca.options import FIGURE_KINDS

_DESCRIPTION = """\
Draw a figure of a paper from what is there, as PDF, SVG and PNG of a column's width, or write a table as LaTeX.

  qualitative   frames × methods, targets enlarged, what is found, missed and false marked; of results folders
  roc           Pd against Fa at every threshold; of results folders
  learning      a figure of log.jsonl over the epochs; of run folders, or folders of their seeds
  tradeoff      a figure against parameters and latency; of leaderboard --json files, else of the metafiles
  robustness    a figure against the strength of disturbances; of a robustness.json
  table         methods × data sets, best bold, second best underlined, for booktabs; of leaderboard --json files,
                else of the metafiles, or of results folders (folders that differ in their seed: mean and deviation)

Without SOURCE: what lies under results/ or checkpoints/, or what the metafiles hold. The sentence that is printed says
what the figure shows; the files hold it as their description."""

_EXAMPLES = """\
  python tools/figure.py qualitative results/a/SIRSTv1 results/b/SIRSTv1 --names RPCANet Top-hat --width double
      the four frames on which the two differ most
  python tools/figure.py qualitative results/a/SIRSTv1 results/b/SIRSTv1 --images Misc_70 Misc_96 --surface --out fig3
  python tools/figure.py roc results/a/SIRSTv1 results/b/SIRSTv1 --out roc
  python tools/figure.py learning checkpoints/rpcanet_sirstv1 checkpoints/lrrnet_sirstv1 --key val/IoU
      all seeds of two recipes; --key loss
  python tools/figure.py tradeoff --dataset SIRSTv1 --width 120
  python tools/figure.py table table.json --key IoU Pd Fa --out table
  python tools/figure.py robustness results/robustness/SIRSTv1 --key Fa --width double"""


def build_parser() -> argparse.ArgumentParser:
    parser = command_parser('figure.py', _DESCRIPTION, _EXAMPLES, done='drawn')
    add = parser.add_argument
    add('kind', choices=FIGURE_KINDS, metavar='KIND', help=f'one of {", ".join(FIGURE_KINDS)}')
    add('sources', nargs='*', metavar='SOURCE', help='folders or files, see above')
    add('--out', type=Path, metavar='STEM', help='the files without suffix (default: results/figures/<kind>)')
    add('--width', default='single', metavar='W', help='single (89 mm), double (182 mm) or millimetres')
    add('--names', nargs='+', default=[], metavar='NAME', help='of the folders, in their order')
    add('--key', dest='keys', nargs='+', default=[], metavar='FIGURE', help='IoU, Pd, Fa, …; val/IoU, loss, …')
    add('--protocol', metavar='NAME', help="preset (default: drpca of tables, a study's first, else basicirstd)")
    add('--images', nargs='+', default=[], metavar='NAME', help='rows of the qualitative figure, in place of --rows')
    add('--rows', type=positive, default=4, metavar='N', help='so many where the methods differ most (default: 4)')
    add('--surface', action='store_true', help='below each row, the same as 3-D surfaces')
    add('--dataset', metavar='D', help="of the results folders (default: from run.json, else the folder's name)")
    add('--split', metavar='S', help='likewise (default: from run.json, else test)')
    add('--data-root', metavar='DIR', help='folder of the data sets (default: $DRPCA_DATA, else datasets)')
    add_overwrite_option(parser)
    return parser


@guarded
def main(argv: list[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    args = build_parser().parse_args(argv)
    made = drpca.figure(**keywords(drpca.figure, args))
    print(made.caption)
    print(f'wrote {", ".join(map(str, made.files))}')
    return 0
