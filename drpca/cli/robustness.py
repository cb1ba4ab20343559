"""``tools/robustness.py``: figures of detectors on noisy, damaged, blurred and compressed frames."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from tqdm import tqdm

from drpca.cli import detector_options as D
from drpca.cli.common import command_parser, guarded
from drpca.datasets import open_split
from drpca.errors import unknown_name
from drpca.evaluation.protocols import build_protocols, known_protocols
from drpca.inference.opening import data_set_of, open_detectors
from drpca.studies import robustness as R
from drpca.studies.corruptions import KINDS, parse_corruptions
from drpca.studies.figures import robustness_figure
from drpca.version import versions
from drpca.visualization.charts import SUFFIXES, save_figure

_KINDS = '\n'.join(
    f'  {name:12s} {",".join(f"{level:g}" for level in kind.levels):12s} {kind.unit}'
    for name, kind in KINDS.items()
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
      two networks side by side, each with its config and weights

exit status
  0  scored
  2  wrong usage or input; one line on standard error says what to do"""


def build_parser() -> argparse.ArgumentParser:
    """The command line of ``tools/robustness.py``."""
    parser = command_parser('robustness.py', _DESCRIPTION, _EXAMPLES)
    D.add_detector_options(parser, several=True)
    D.add_data_options(parser)
    parser.add_argument(
        '--corruption', nargs='+', default=[], metavar='KIND[=L1,L2]', help='disturbances (default: all)'
    )
    parser.add_argument(
        '--seed', type=int, default=0, metavar='N', help='of the noise (default: %(default)s)'
    )
    parser.add_argument(
        '--protocol', nargs='+', default=['basicirstd'], metavar='NAME',
        help=f'one or more of {", ".join(known_protocols())} (default: basicirstd); curves show the first',
    )  # fmt: skip
    parser.add_argument(
        '--curves', nargs='+', default=['IoU', 'Pd', 'Fa'], metavar='FIGURE',
        help=f'figures to plot, of {", ".join(R.COLUMNS)} (default: IoU Pd Fa)',
    )  # fmt: skip
    parser.add_argument('--out', metavar='DIR', help='default: results/robustness/<dataset>')
    parser.add_argument('--overwrite', action='store_true', help='replace the files of an earlier run')
    return parser


@guarded
def main(argv: list[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    args = build_parser().parse_args(argv)
    corruptions = parse_corruptions(args.corruption)
    protocols = build_protocols(args.protocol)
    for key in args.curves:
        if key not in R.COLUMNS:
            raise unknown_name('figure', key, R.COLUMNS)
    chosen = open_detectors(args)
    dataset, data_root = data_set_of(args, chosen[0].config)
    split = open_split(dataset, args.split, data_root)
    out = Path(args.out or f'results/robustness/{split.dataset}')
    plots = [f'{key}{suffix}' for key in args.curves for suffix in SUFFIXES]
    D.claim(out, ['robustness.json', 'robustness.md', *plots], args.overwrite)
    names = D.images_of(split, args.limit)

    results: list[R.Result] = []
    with tqdm(total=len(chosen) * (len(corruptions) + 1), unit='pass', disable=None) as progress:
        for detector in chosen:
            for result in R.score_corrupted(
                detector.name, detector.mapper, split, names, corruptions, protocols, args.seed
            ):
                results.append(result)
                progress.update()

    print(R.as_text(results, split, len(names), protocols))
    D.save_text(out / 'robustness.md', R.as_markdown(results, split, len(names), protocols))
    content = {
        'dataset': split.dataset,
        'split': split.split,
        'images': names,
        'seed': args.seed,
        'detectors': {detector.name: detector.described() for detector in chosen},
        **R.as_json(results, protocols),
        'versions': versions(),
    }
    D.save_text(out / 'robustness.json', json.dumps(content, indent=1) + '\n')
    for key in args.curves:
        save_figure(robustness_figure(results, protocols[0].name, key), out / key)
    print(f'\nwrote robustness.json, robustness.md and {", ".join(plots)} to {out}')
    return 0
