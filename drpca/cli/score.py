"""``cal_from_mask.py``: scores saved maps against the masks of a data set."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from drpca.cli.common import add_overwrite_option, claim_files, command_parser, size_argument, write_file
from drpca.cli.guard import guarded
from drpca.errors import EXIT_FAILED
from drpca.evaluation.protocols import DEFAULT_PROTOCOLS, known_protocols

if TYPE_CHECKING:
    from drpca.results.scoring import Score

DESCRIPTION = """\
Score saved maps against the masks of a data set.

Reads results/<dataset>/mat/NAME.mat (variable T, in [0, 1]) or, where there is none, img/NAME.png, and
prints IoU, nIoU, F1, precision, recall, Pd, Fa and AUC under one or more protocols. Published figures
differ in their definitions, so every line names its preset, threshold, scoring size and matching rule.

  IoU, F1, precision, recall   foreground pixels, pooled over the images, in %
  nIoU                         mean of the IoU of each image, in %
  Pd                           detected targets / targets, in %
  Fa                           false-alarm pixels / pixels, times 1e-6
  AUC published                area under the published ROC (max-normalised maps, 201 thresholds)
  pAUC                         mean of the Pd that can be had within a Fa, over Fa from 0 to 1e-4
  Pd % Fa<=1e-05               highest Pd of the thresholds with at most that Fa
  3D-ROC                       areas of the tensor literature: Pd over Fa, Pd and Fa over threshold
  -                            undefined: nothing to judge (Pd without targets), no threshold with so few
                               false alarms, or maps of 8 bits

AUC and what follows are the same for all protocols at one size. pAUC and Pd at a Fa are exact: of logits
where the maps have them, else of T. docs/scoring.md has every formula."""

EXAMPLES = """\
  python cal_from_mask.py
      everything under results/: basicirstd at native size, then drpca and rpcanet at 256x256
  python cal_from_mask.py --results results/SIRSTv1 --protocol drpca --size 256 --json scores.json
      one folder under one protocol, also as a file of plain ratios
  python cal_from_mask.py --results out/a out/b --dataset NUDT-SIRST --report report.html
      two folders side by side, with curves, worst cases and paired confidence intervals
  python cal_from_mask.py --results their_maps/ --masks their_masks/
      maps and masks in any two folders, NAME.mat or pictures
  python cal_from_mask.py --results results/sequences --masks sequences/ --report report.html
      sequences of frames with masks, points or boxes (datasets/README.md), which the page plays
  python cal_from_mask.py --results results/SIRSTv1 --threshold-from val/SIRSTv1
      at the threshold that was best on the maps of the validation split
  python cal_from_mask.py --results results/SIRSTv1 --threshold-from val/SIRSTv1 --at-fa 1e-5
      also what the threshold gives here that keeps Fa within 1e-5 on the validation split

exit status:
  0  scored
  1  scored, but some images could not be read, or of several folders under results/ one not scored (unfinished,
     of one's own frames); they are named on standard error
  2  wrong usage or input; one line on standard error says what to do"""


def build_parser() -> argparse.ArgumentParser:
    parser = command_parser('cal_from_mask.py', DESCRIPTION, EXAMPLES)
    add = parser.add_argument
    add(
        '--results', nargs='+', type=Path, metavar='FOLDER',
        help='folders of score maps; default: every folder under results/',
    )  # fmt: skip
    add(
        '--masks', type=Path, metavar='DIR',
        help='masks in a folder of any layout, called as the maps or NAME_mask, or a folder of sequences with masks, '
        'points or boxes, in place of a data set',
    )  # fmt: skip
    add('--dataset', help="data set of the masks; default: from run.json, else the folder's name")
    add('--split', help='split of the data set; default: from run.json, else test')
    add('--data-root', type=Path, metavar='DIR', help='default: DRPCA_DATA, else ./datasets')
    add(
        '--protocol', nargs='+', metavar='NAME',
        help=f"one or more of {', '.join(known_protocols())}, or config files with a list of one's own, "
        "protocols = [dict(type='basicirstd', name='strict', threshold=0.7)]; default: "
        f'{", ".join(DEFAULT_PROTOCOLS)}',
    )  # fmt: skip
    add(
        '--size', type=size_argument, metavar='N|native',
        help='score at N x N pixels (maps resized bilinear, masks nearest) or at the size of each mask; '
        'default: the size customary for each protocol',
    )  # fmt: skip
    add(
        '--threshold-from', type=Path, metavar='FOLDER',
        help='score at the threshold with the highest pixel F1 on this results folder, that of a validation '
        'split, instead of 0.5; with --at-fa or --at-alarms, show what the threshold gives that they lead to there',
    )  # fmt: skip
    add(
        '--at-fa', type=float, metavar='FA',
        help='false-alarm budget for --threshold-from: false-alarm pixels / pixels, for example 1e-5',
    )  # fmt: skip
    add(
        '--at-alarms', metavar='N/image|N/Mpx',
        help='false-alarm budget for --threshold-from: false alarms per image or per 10^6 pixels, as 0.1/image',
    )  # fmt: skip
    add('--allow-partial', action='store_true', help='score the images that folder and split have in common')
    files = parser.add_argument_group('files')
    add = files.add_argument
    add('--json', type=Path, metavar='FILE', help='figures as plain ratios, by preset')
    add('--csv', type=Path, metavar='FILE', help='figures as plain ratios, a line per preset')
    add('--targets-csv', type=Path, metavar='FILE', help='a line per target: size, SNR, hit, …')
    add('--markdown', type=Path, metavar='FILE', help='the printed table')
    add('--latex', type=Path, metavar='FILE', help='the printed table, for booktabs')
    add(
        '--report', type=Path, metavar='FILE',
        help='one self-contained HTML page: curves, worst cases, images, comparison of the folders; folders '
        "whose names differ in 'seed<N>' alone are also shown as mean and deviation",
    )  # fmt: skip
    add_overwrite_option(files)
    return parser


def write_files(arguments: argparse.Namespace, scores: Sequence[Score]) -> None:
    """Writes what the command line asks for."""
    from drpca.reports import tables
    from drpca.reports.report import render_report

    writers = {
        'json': lambda scores: json.dumps(tables.as_json(scores), indent=2) + '\n',
        'csv': tables.as_csv, 'targets_csv': tables.targets_csv, 'markdown': tables.as_markdown,
        'latex': tables.as_latex, 'report': render_report,
    }  # fmt: skip
    for option, as_text in writers.items():
        if getattr(arguments, option):
            write_file(getattr(arguments, option), as_text(scores))


@guarded
def main(argv: list[str] | None = None) -> int:
    """Runs the command.

    Args:
        argv: Arguments without the program's name; default ``sys.argv[1:]``.

    Returns:
        Exit status: 0; 1 if images could not be read, which are named; or 2 after bad input.
    """
    arguments = build_parser().parse_args(argv)
    claim_files(arguments, 'json', 'csv', 'targets_csv', 'markdown', 'latex', 'report')
    from drpca.reports import tables
    from drpca.results.scoring import score

    shown: list[Score] = []
    left_out: list[str] = []

    def show(done: Score) -> None:
        if done.threshold_from is not None and not done.chosen and not shown:
            source, chosen_on = done.threshold_from
            chosen = ', '.join(f'{p.name} {p.threshold_text} ({tables.size_text(p.size)})' for p in done.protocols)
            print(f'thresholds chosen on {source.path}, {chosen_on.dataset} {chosen_on.split}: {chosen}\n')
        print(('\n' if shown else '') + tables.as_text(done))
        shown.append(done)

    def leave_out(line: str) -> None:
        print(f'error: {line}', file=sys.stderr)
        left_out.append(line)

    scores = score(
        arguments.results, protocols=arguments.protocol or DEFAULT_PROTOCOLS, size=arguments.size,
        dataset=arguments.dataset, split=arguments.split, data_root=arguments.data_root,
        threshold_from=arguments.threshold_from, at_fa=arguments.at_fa, at_alarms=arguments.at_alarms,
        allow_partial=arguments.allow_partial,
        analyse=bool(arguments.report or arguments.targets_csv), report=show, masks=arguments.masks,
        left_out=leave_out, progress=True,
    )  # fmt: skip
    write_files(arguments, scores)
    lines = dict.fromkeys(line for done in scores for line in done.failed.values())
    for line in lines:
        print(f'error: {line}', file=sys.stderr)
    return EXIT_FAILED if lines or left_out else 0
