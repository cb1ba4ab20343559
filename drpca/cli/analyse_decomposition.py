"""``tools/analyse_decomposition.py``: low-rankness of B and sparsity of T over a data set, stage by stage."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure
from scipy.io import savemat
from tqdm import tqdm

from drpca.cli import detector_options as D
from drpca.cli.common import command_parser, guarded
from drpca.datasets import open_split
from drpca.errors import UserError
from drpca.inference.decomposer import make_decomposer
from drpca.inference.opening import data_set_of, open_detector
from drpca.reports.plain_tables import markdown_table, text_table
from drpca.studies.decomposition import VIEWS, Measurement, measure
from drpca.studies.figures import low_rank_figure, scalars_figure, sparsity_figure
from drpca.studies.robustness import plain
from drpca.version import versions
from drpca.visualization.charts import SUFFIXES, save_figure

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
      another data set, at its own size

exit status
  0  measured
  2  wrong usage or input; one line on standard error says what to do"""


def build_parser() -> argparse.ArgumentParser:
    """The command line of ``tools/analyse_decomposition.py``."""
    parser = command_parser('analyse_decomposition.py', _DESCRIPTION, _EXAMPLES)
    D.add_detector_options(parser, several=False)
    D.add_data_options(parser)
    parser.add_argument(
        '--view', default='deviation', choices=list(VIEWS),
        help='sparsity of |T - median T|, max(T, 0) or |T| (default: %(default)s)',
    )  # fmt: skip
    parser.add_argument(
        '--threshold', type=float, default=0.1, metavar='X', help='of l0, in [0, 1) (default: %(default)s)'
    )
    parser.add_argument(
        '--ranks', nargs='+', type=D.positive, default=[1, 5, 10], metavar='R',
        help='numbers of singular values whose energy is measured (default: 1 5 10)',
    )  # fmt: skip
    parser.add_argument('--out', metavar='DIR', help='default: results/decomposition/<dataset>')
    parser.add_argument('--overwrite', action='store_true', help='replace the files of an earlier run')
    return parser


def table(measured: Measurement) -> tuple[list[str], list[list[str]]]:
    """Header and rows of the means over the images."""
    header = ['stage', 'effective rank', 'of min(H, W)']
    header += [f'energy {r}' for r in measured.ranks]
    header += [f'l0 > {measured.threshold:g}', 'l1', 'Gini', *measured.scalars]
    rows = []
    for number, line in enumerate(measured.summary()):
        cells = [f'{line["effective_rank"]:.2f}', f'{line["relative_rank"]:.4f}']
        cells += [f'{line[f"energy_{r}"]:.5f}' for r in measured.ranks]
        for key in ('l0', 'l1', 'gini', *measured.scalars):
            cells.append(f'{line[key]:.5g}' if key in line else '')
        rows.append(['image' if number == 0 else f'{number}', *cells])
    return header, rows


def _figures(measured: Measurement) -> Sequence[tuple[str, Figure]]:
    figures = [('low_rankness', low_rank_figure(measured)), ('sparsity', sparsity_figure(measured))]
    return [*figures, ('scalars', scalars_figure(measured))] if measured.scalars else figures


@guarded
def main(argv: list[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    args = build_parser().parse_args(argv)
    if not 0 <= args.threshold < 1:
        raise UserError(
            f'--threshold is a share of the largest value: expected [0, 1), got {args.threshold:g}.'
        )
    detector = open_detector(args, args.config, args.checkpoint, args.config)
    decomposer = make_decomposer(detector.mapper)
    dataset, data_root = data_set_of(args, detector.config)
    split = open_split(dataset, args.split, data_root)
    out = Path(args.out or f'results/decomposition/{split.dataset}')
    plots = [f'{name}{suffix}' for name in ('low_rankness', 'sparsity', 'scalars') for suffix in SUFFIXES]
    texts = [f'decomposition{suffix}' for suffix in ('.json', '.md', '.mat')]
    D.claim(out, [*texts, *plots], args.overwrite)
    names = D.images_of(split, args.limit)
    frames = ((name, split.read_image(name)) for name in tqdm(names, unit='img', disable=None))
    measured = measure(decomposer, frames, args.view, args.threshold, args.ranks)

    heading = f'{detector.name}: {split.dataset} {split.split}, {len(names)} of {len(split)} images, T as {args.view}'
    header, rows = table(measured)
    print(f'{heading}\n{text_table(header, rows)}')
    D.save_text(out / 'decomposition.md', f'**{heading}**\n\n{markdown_table(header, rows)}')
    content = {
        'detector': detector.described(),
        'dataset': split.dataset,
        'split': split.split,
        'images': names,
        'view': measured.view,
        'threshold': measured.threshold,
        'image': plain(measured.summary()[0]),
        'stages': [plain(line) for line in measured.summary()[1:]],
        'versions': versions(),
    }
    D.save_text(out / 'decomposition.json', json.dumps(content, indent=1) + '\n')
    try:
        savemat(out / 'decomposition.mat', measured.to_mat(), do_compression=True)
    except OSError as error:
        raise UserError(f'Cannot write {out}/decomposition.mat: {error.strerror}.') from None
    written = [path.name for name, figure in _figures(measured) for path in save_figure(figure, out / name)]
    print(f'\nwrote {", ".join([*texts, *written])} to {out}')
    return 0
