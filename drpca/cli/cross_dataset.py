"""``tools/cross_dataset.py``: one detector on several data sets."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from mmengine.config import Config

from drpca.cli import detector_options as D
from drpca.cli.common import command_parser, guarded
from drpca.datasets import open_split
from drpca.datasets.leaks import find_leaks
from drpca.datasets.splits import Split
from drpca.errors import UserError
from drpca.evaluation.protocols import build_protocols, known_protocols
from drpca.inference.opening import open_detector
from drpca.reports.plain_tables import markdown_table, text_table
from drpca.reports.tables import definition, shown
from drpca.results.scoring import score_split
from drpca.studies.robustness import plain
from drpca.version import versions

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
      weights of another origin, two protocols, with files

exit status
  0  scored; leaks are warnings
  2  wrong usage or input; one line on standard error says what to do"""

_FIGURES = ('IoU', 'nIoU', 'F1', 'Pd', 'Fa', 'AUC', 'images', 'targets')
_HEADER = (
    'data set', 'preset', 'threshold', 'size', 'matching rule',
    'IoU %', 'nIoU %', 'F1 %', 'Pd %', 'Fa x1e-6', 'AUC', 'images', 'targets', 'leaks',
)  # fmt: skip
_LEFT = 5


def build_parser() -> argparse.ArgumentParser:
    """The command line of ``tools/cross_dataset.py``."""
    parser = command_parser('cross_dataset.py', _DESCRIPTION, _EXAMPLES)
    D.add_detector_options(parser, several=False)
    D.add_data_options(parser, several=True)
    parser.add_argument(
        '--protocol', nargs='+', default=['basicirstd'], metavar='NAME',
        help=f'one or more of {", ".join(known_protocols())} (default: basicirstd)',
    )  # fmt: skip
    parser.add_argument(
        '--trained-on', nargs='+', metavar='D[:SPLIT]',
        help="what the weights were trained and selected on (default: the config's training and validation "
        'splits; SPLIT: trainval)',
    )  # fmt: skip
    parser.add_argument(
        '--out', type=Path, metavar='DIR', help='also write DIR/cross_dataset.json and DIR/cross_dataset.md'
    )
    parser.add_argument('--overwrite', action='store_true', help='replace the files of an earlier run')
    return parser


def training_splits(args: argparse.Namespace, config: Config) -> tuple[list[Split], list[str]]:
    """Splits that the detector has seen, and lines about those that are not at hand.

    Raises:
        UserError: A split named with ``--trained-on`` is not there.
    """
    if args.trained_on:
        named = [text.partition(':') for text in args.trained_on]
        return [open_split(name, split or 'trainval', args.data_root) for name, _, split in named], []
    splits, unknown = [], []
    for key in ('train_dataloader', 'val_dataloader'):
        source = (config.get(key) or {}).get('dataset')
        if source is None or 'dataset' not in source:
            continue
        root = args.data_root or source.get('data_root')
        try:
            splits.append(open_split(source.dataset, source.split, root))
        except UserError:
            unknown.append(f'{source.dataset} {source.split} is not at hand: leaks from it are not known')
    return splits, unknown


@guarded
def main(argv: list[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    args = build_parser().parse_args(argv)
    protocols = build_protocols(args.protocol)
    detector = open_detector(args, args.config, args.checkpoint, args.config)
    splits = [open_split(name, args.split, args.data_root) for name in args.dataset]
    twice = next(
        (s.dataset for i, s in enumerate(splits) if s.dataset in [t.dataset for t in splits[:i]]), None
    )
    if twice:
        raise UserError(f'Data set {twice} is named twice; name each once.')
    seen, notes = ([], []) if detector.checkpoint is None else training_splits(args, detector.config)
    if args.out:
        D.claim(args.out, ['cross_dataset.json', 'cross_dataset.md'], args.overwrite)

    rows: list[list[str]] = []
    content: dict[str, Any] = {}
    for split in splits:
        leaks = [leak for training in seen for leak in find_leaks(training, [split])]
        leaked = len({name for leak in leaks for name in leak.names})
        notes += [f'{leak}: figures on them are not of unseen images' for leak in leaks]
        names = D.images_of(split, args.limit)
        figures = score_split(detector.mapper, split, names, protocols)
        known = detector.checkpoint is None or bool(seen)
        for protocol in protocols:
            cells = [shown(key, figures[protocol.name][key]) for key in _FIGURES]
            rows.append([split.dataset, *definition(protocol), *cells, str(leaked) if known else '?'])
        content[split.dataset] = {
            'split': split.split,
            'images': names,
            'leaks': {leak.train: leak.names for leak in leaks},
            'figures': {name: plain(values) for name, values in figures.items()},
        }

    heading = f'{detector.name} {detector.checkpoint or ""}'.strip()
    warnings = [f'warning: {note}' for note in notes]
    print('\n'.join([heading, text_table(_HEADER, rows, _LEFT), *warnings]))
    if args.out:
        text = f'**{heading}**\n\n{markdown_table(_HEADER, rows, _LEFT)}'
        D.save_text(args.out / 'cross_dataset.md', text + ''.join(f'\n- {line}' for line in warnings) + '\n')
        whole = {
            'detector': detector.described(),
            'datasets': content,
            'warnings': notes,
            'versions': versions(),
        }
        D.save_text(args.out / 'cross_dataset.json', json.dumps(whole, indent=1) + '\n')
        print(f'\nwrote cross_dataset.json and cross_dataset.md to {args.out}')
    return 0
