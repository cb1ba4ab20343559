"""``tools/data.py``: what data sets there are; fetching, importing and converting them."""

from __future__ import annotations

import argparse
import shutil
import textwrap
from typing import TYPE_CHECKING

from drpca.cli.common import command_parser, keywords
from drpca.cli.guard import guarded
from drpca.errors import EXIT_FAILED, UserError, counted
from drpca.options import called

if TYPE_CHECKING:
    from drpca.datasets.importing import Imported

_DESCRIPTION = """\
Data sets by name: list what is known and what is here, fetch those that can be fetched, take in what you have
downloaded or made, and convert boxes, points and masks into each other.

  list                    the known data sets, and those under the data root (the default)
  get NAME                fetch SIRSTv1 or SIRSTv2 from its authors; of the others, say where they are
  import NAME SOURCE      a folder, zip or tar archive in any layout, with masks or labels, into the data root
  convert SOURCE --to F   the masks of a data set, by name or folder, as COCO, YOLO or VOC labels, boxes or points"""

_EXAMPLES = """\
  python tools/data.py
  python tools/data.py get SIRSTv1
  python tools/data.py import NUDT-SIRST ~/Downloads/NUDT-SIRST.zip
  python tools/data.py import my_frames ~/labelled --link
      masks, or COCO, YOLO, VOC, CSV labels: found out; docs/data.md shows the layouts
  python tools/data.py import my_boxes ~/yolo --rule box
      every pixel of a box is target, instead of those that stand out in it
  python tools/data.py convert SIRSTv1 --to yolo --out sirst_yolo

exit status
  0  done; an imported data set may have notes
  1  imported, but its check found problems
  2  wrong usage or input, or nothing that can be fetched; one line on standard error says what to do"""


def build_parser() -> argparse.ArgumentParser:
    parser = command_parser('data.py', _DESCRIPTION, _EXAMPLES)
    add = parser.add_argument
    add('action', nargs='?', choices=('list', 'get', 'import', 'convert'), default='list', help='default: %(default)s')
    add('names', nargs='*', metavar='NAME', help='of the data set; for import, also what to take in')
    add(
        '--data-root', metavar='DIR',
        help='folder that holds the data sets (default: DRPCA_DATA, else ./datasets)',
    )  # fmt: skip
    add('--link', action='store_true', help='link images and masks of a folder instead of copying them')
    add(
        '--rule', choices=('grow', 'box'), default='grow',
        help='how boxes and points become masks: the pixels that stand out in them, or all (default: %(default)s)',
    )  # fmt: skip
    add('--to', choices=('coco', 'yolo', 'voc', 'csv', 'points'), help='format to convert masks to')
    add('--out', metavar='DIR', help='folder for converted labels and their images; it must not be there yet')
    add('--overwrite', action='store_true', help='replace a data set of that name')
    return parser


@guarded
def main(argv: list[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    args = build_parser().parse_args(argv)
    expected = {'list': 0, 'get': 1, 'import': 2, 'convert': 1}[args.action]
    if len(args.names) != expected:
        usage = {'list': '', 'get': ' NAME', 'import': ' NAME SOURCE', 'convert': ' SOURCE --to FORMAT --out DIR'}
        raise UserError(f'Expected: {called("data")} {args.action}{usage[args.action]}; --help shows examples.')
    if args.action == 'list':
        _list(args)
        return 0
    if args.action == 'convert':
        return _convert(args)
    from drpca.datasets.importing import get_dataset, import_dataset

    work = get_dataset if args.action == 'get' else import_dataset
    return _show(work(*args.names, **keywords(work, args)))


def _list(args: argparse.Namespace) -> None:
    from drpca.datasets.importing import list_datasets
    from drpca.reports.plain_tables import text_table

    sets = list_datasets(args.data_root)
    rows = [[k.name, '–' if k.images is None else f'{k.images:,}', f'{k.found:,}'] for k in sets]
    places = ['', *(str(k.folder) if k.folder else f'missing: {k.advice}' for k in sets)]
    width = shutil.get_terminal_size().columns
    for line, place in zip(text_table(['name', 'images', 'found'], rows).splitlines(), places):
        print(textwrap.fill(place, width, initial_indent=f'{line}  ', subsequent_indent='    ') if place else line)


def _convert(args: argparse.Namespace) -> int:
    from drpca.datasets.convert import export_labels

    if not args.to or not args.out:
        raise UserError('Convert to what, and where? --to coco|yolo|voc|csv|points --out DIR')
    counts = export_labels(args.names[0], **keywords(export_labels, args))
    print(f'{args.out}: ' + ', '.join(f'{split} {count}' for split, count in counts.items()) + f' images, {args.to}')
    return 0


def _show(imported: Imported) -> int:
    report, made = imported.report, imported.conversion
    print(f'{report.dataset}: {imported.folder}')
    print(f'  {counted(report.images, "image")}, {counted(report.targets, "target")}, {report.empty_masks} without')
    print('  splits: ' + ', '.join(f'{name} {count}' for name, count in report.splits.items()))
    if made is not None:
        print(f'  masks of {made.targets} {made.format} labels: {made.outlined} outlined, {made.grown} grown in their')
        print(f'  box, {made.filled} filled; {made.left_out} images without labels were left out')
        if made.pseudo_labels:
            print('  these are pseudo labels: look at some before you trust figures on them')
    for label, findings in (('problem', report.problems), ('note', report.notes)):
        for kind in dict.fromkeys(finding.kind for finding in findings):
            lines = [finding.message for finding in findings if finding.kind == kind]
            more = f' (and {len(lines) - 1} more: {called("check-dataset")})' if len(lines) > 1 else ''
            print(f'  {label}: {kind}: {lines[0]}{more}')
    print(f'Train on it: {called("train")} --model drpcanet --dataset {report.dataset}')
    return 0 if report.clean else EXIT_FAILED
