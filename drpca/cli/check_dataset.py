"""``tools/check_dataset.py``: reports what is wrong with a data set."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import drpca
from drpca.cli.common import add_overwrite_option, claim_files, command_parser, write_file
from drpca.cli.guard import guarded
from drpca.datasets.leaks import write_clean_split
from drpca.datasets.splits import find_dataset
from drpca.errors import EXIT_FAILED, UserError

if TYPE_CHECKING:
    from drpca.datasets.check import Report

_DESCRIPTION = """\
Check data sets on disk: counts, sizes, unreadable files, images without mask and the reverse, size
mismatches, masks that are not binary, empty, or another image's, list errors, copies of a picture, and
training images, or other images of the same scenes, in a test split.

A problem is something to repair; a note is something to know, such as lists that must not be mixed."""

_EXAMPLES = """\
  python tools/check_dataset.py
      everything under the data root
  python tools/check_dataset.py --dataset SIRSTv1 SIRSTv2 --data-root /data
      two data sets, and whether one's training images are in the other's test split
  python tools/check_dataset.py --dataset NUDT-SIRST --json report.json
      also as a file, with the names behind every finding
  python tools/check_dataset.py --dataset NUDT-SIRST --write-split datasets/NUDT-SIRST/clean
      lists train_clean, val_clean, … without images or scenes of the test split, to train on

exit status
  0  clean (notes may stand)
  1  problems found
  2  wrong usage or input; one line on standard error says what to do"""

_MOST_LINES = 10
_PARTS = ('train', 'val', 'test')


def build_parser() -> argparse.ArgumentParser:
    parser = command_parser('check_dataset.py', _DESCRIPTION, _EXAMPLES)
    add = parser.add_argument
    add(
        '--dataset', nargs='+', default=[], metavar='D',
        help='data sets to check (default: all that are found)',
    )  # fmt: skip
    add(
        '--data-root', metavar='DIR',
        help='folder that holds the data sets (default: DRPCA_DATA, else ./datasets)',
    )  # fmt: skip
    add('--json', type=Path, metavar='FILE', help="write the report here ('-': to standard output)")
    add(
        '--write-split', type=Path, metavar='DIR',
        help='write lists of the first --dataset here, whose training images are none of its test images, nor show '
        'their scenes, nor those of the other --dataset named; in the folder of the data set they become splits',
    )  # fmt: skip
    add_overwrite_option(parser)
    return parser


@guarded
def main(argv: list[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    args = build_parser().parse_args(argv)
    to_stdout = args.json == Path('-')
    if not to_stdout:
        claim_files(args, 'json')
    if args.write_split is not None:
        return _write_split(args)
    checks = drpca.check_datasets(args.dataset, args.data_root)
    for folder in checks.ignored:
        print(
            f'ignored: {folder} follows no known layout (drpca data import takes in others, and labels)',
            file=sys.stderr,
        )
    if not to_stdout:
        for report in checks.reports:
            print('\n'.join(format_report(report)), end='\n\n')
        for leak in checks.leaks:
            print(f'note: {leak}')
    if args.json:
        text = json.dumps(checks.to_dict(), indent=2) + '\n'
        if to_stdout:
            sys.stdout.write(text)
        else:
            write_file(args.json, text)
    return 0 if checks.clean else EXIT_FAILED


def _write_split(args: argparse.Namespace) -> int:
    if not args.dataset:
        raise UserError('--write-split needs the data set: --dataset NAME.')
    name, *others = args.dataset
    counts = write_clean_split(name, args.write_split, args.data_root, others, args.overwrite)
    for split, (kept, before) in counts.items():
        print(f'{args.write_split / f"{split}_clean.txt"}: {kept} of the {before} images of {split}')
    _, tree = find_dataset(name, args.data_root)
    if tree.root.resolve() not in (args.write_split.resolve(), args.write_split.resolve().parent):
        print(f'To use them, copy them to {tree.root} or a folder in it.')
    print('Train on them: --cfg-options ' + ' '.join(f'{p}_dataloader.dataset.split={p}_clean' for p in _PARTS))
    return 0


def format_report(report: Report) -> Iterable[str]:
    """Lines for people; at most ten of a kind, the rest counted."""
    yield f'{report.dataset}  ({report.root})'
    counts = (f'{getattr(report, key)} {key}' for key in ('images', 'masks', 'targets', 'empty_masks'))
    yield '  ' + ', '.join(counts).replace('_', ' ')
    if report.sizes:
        sizes = {key: _width_by_height(report.sizes[key]) for key in ('smallest', 'median', 'largest')}
        distinct = report.sizes['distinct']
        if distinct == 1:
            yield f'  size {sizes["median"]}'
        else:
            yield ('  sizes {smallest} to {largest}, median {median}'.format(**sizes) + f', {distinct} distinct')
    yield '  splits: ' + ', '.join(f'{name} {count}' for name, count in report.splits.items())
    for label, findings in (('problem', report.problems), ('note', report.notes)):
        kinds = dict.fromkeys(finding.kind for finding in findings)
        for kind in kinds:
            lines = [finding.message for finding in findings if finding.kind == kind]
            yield from (f'  {label}: {kind}: {line}' for line in lines[:_MOST_LINES])
            if len(lines) > _MOST_LINES:
                yield f'  {label}: {kind}: {len(lines) - _MOST_LINES} more (all of them with --json)'
    yield '  clean' if report.clean else f'  {len(report.problems)} problem(s)'


def _width_by_height(size: list[int]) -> str:
    return f'{size[1]} × {size[0]}'
