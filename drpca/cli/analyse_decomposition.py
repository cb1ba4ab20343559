"""``tools/analyse_decomposition.py``: low-rankness of B and sparsity of T over a data set, stage by stage."""

from __future__ import annotations

import argparse

import drpca
from drpca.cli import detector_options as D
from drpca.cli.common import command_parser, keywords
from drpca.cli.guard import guarded
from drpca.options import VIEWS

_DESCRIPTION = """\
Measure, for every stage, how low-rank the background B is and how sparse the target T is, over the images of
a data set, of any size.

  effective rank   exp of the entropy of B's normalised singular values (Roy and Vetterli, 2007), and the
                   same as a share of min(H, W)
  energy r         share of B's energy in its first r singular values
  l0               share of the pixels whose value is above --threshold times the largest
  l1               mean absolute value
  Gini             Gini index, 0 (constant) to 1 (one pixel) (Hurley and Rickard, 2009)
  epsilon, …       the learned scalars, which DRPCA-Net generates from each image

The last stage's T of a network are logits, whose empty pixels lie far below 0, so T is measured as
|T - median T|; --view names other ways. The row 'image' is the frame itself, for comparison.

Writes OUT/decomposition.json, .md (the printed table), .mat (values of every image and stage) and the plots
OUT/low_rankness, OUT/sparsity and OUT/scalars as .png and .svg."""

_EXAMPLES = """\
  python tools/analyse_decomposition.py rpcanet_sirstv1 --checkpoint RPCANet_SIRST.pkl --limit 20
      a quick look at twenty images of the config's test split
  python tools/analyse_decomposition.py drpcanet_sirstv1 --checkpoint W.pth --dataset NUDT-SIRST --size native
      another data set, at its own size"""


def build_parser() -> argparse.ArgumentParser:
    parser = command_parser('analyse_decomposition.py', _DESCRIPTION, _EXAMPLES, done='measured')
    D.add_detector_options(parser, several=False)
    D.add_data_options(parser)
    add = parser.add_argument
    add(
        '--view', default='deviation', choices=VIEWS,
        help='sparsity of |T - median T|, max(T, 0) or |T| (default: %(default)s)',
    )  # fmt: skip
    add('--threshold', type=float, default=0.1, metavar='X', help='of l0, in [0, 1) (default: %(default)s)')
    add(
        '--ranks', nargs='+', type=D.positive, default=[1, 5, 10], metavar='R',
        help='numbers of singular values whose energy is measured (default: 1 5 10)',
    )  # fmt: skip
    add(
        '--out', default='results/decomposition/{dataset}', metavar='DIR',
        help='default: results/decomposition/<dataset>',
    )  # fmt: skip
    add('--overwrite', action='store_true', help='replace the files of an earlier run')
    return parser


@guarded
def main(argv: list[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    args = build_parser().parse_args(argv)
    study = drpca.analyse_decomposition(
        drpca.Detector(args.config, args.checkpoint, **D.detector_options(args)),
        progress=True,
        **keywords(drpca.analyse_decomposition, args),
    )
    D.note_limit(study.split, study.measured.names)
    print(study.as_text())
    print(f'\nwrote {", ".join(file.name for file in study.files)} to {study.files[0].parent}')
    return 0
