"""``tools/sequences.py``: what a detector finds in labelled sequences, and what confirmation over frames gains."""

from __future__ import annotations

import argparse
import json
import math
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import drpca
from drpca.cli.common import (
    OptionsAction,
    add_overwrite_option,
    claim_files,
    command_parser,
    keywords,
    positive,
    size_argument,
    write_file,
)
from drpca.cli.guard import guarded
from drpca.errors import UserError
from drpca.options import NATIVE

if TYPE_CHECKING:
    from drpca.studies.sequence_scores import SequenceScore

_DESCRIPTION = """\
With CONFIG: score a detector, of single frames or of windows of them, on sequences with points as labels, and the
tracks that confirmation over m of n frames makes of its maps.

Without: compare the confirmation over m of n frames with single frames, on synthetic sequences of known truth. A single
frame is judged at the threshold at which it has the Pd of the filter, so that the false alarms can be compared. Score
maps are those of the top-hat transform."""

_EXAMPLES = """\
  python tools/sequences.py tensortrain --input sequences/ --limit 30
      folders of frames with points.txt beside them (datasets/README.md)
  python tools/sequences.py rpcanet_sirstv1 --checkpoint published --input sequences/ --json scores.json
  python tools/sequences.py
  python tools/sequences.py --seeds 0 1 --confirm 2 4 --min-speed 0.6"""

_COLUMNS = {
    'Pd@1e-5': 'pd_at_fa_1e-5', 'Pd@1e-4': 'pd_at_fa_1e-4', '(F,D)': 'AUC_FaPd', '(t,D)': 'AUC_tauPd',
    '(t,F)': 'AUC_tauFa', 'SCRG': 'SCRG', 'BSF': 'BSF', 'CG': 'CG', 'shot Pd': 'shooting_Pd', 'shot Fa': 'shooting_Fa',
    'conf. Pd': 'confirmed_Pd', 'conf. Fa': 'confirmed_Fa', 'fragm.': 'track_fragments',
    'false/min': 'track_false_per_minute',
}  # fmt: skip


def build_parser() -> argparse.ArgumentParser:
    parser = command_parser('sequences.py', _DESCRIPTION, _EXAMPLES, done='done')
    add = parser.add_argument
    add('config', nargs='?', metavar='CONFIG', help='config file or name of the detector to score')
    add('--input', metavar='DIR', help='folder of sequences with points, to score CONFIG on')
    add('--names', nargs='+', default=(), metavar='NAME', help='of the sequences (default: all)')
    add('--limit', type=positive, metavar='N', help='only the first N frames of each')
    add('--checkpoint', metavar='FILE', help="weight file; 'published': that of the config's authors")
    add('--size', type=size_argument, default=NATIVE, metavar='N|native', help="default: the frames' own")
    add('--device', metavar='DEV', help='cpu, cuda, … (default: a GPU if there is one)')
    add(
        '--cfg-options', nargs='+', action=OptionsAction, default={}, metavar='KEY=VALUE',
        help='override keys of the config',
    )  # fmt: skip
    add('--threshold', type=float, default=0.5, metavar='T', help='of detections (default: %(default)s)')
    add('--rate', type=float, default=25.0, metavar='FPS', help='frames a second (default: %(default)s)')
    add('--within', type=positive, default=10, metavar='N', help='frames to find a target in (default: %(default)s)')
    add('--json', metavar='FILE', help='all figures, and a row of each frame')
    add_overwrite_option(parser)
    add('--seeds', type=int, nargs='+', default=[0, 1, 2, 3, 4], metavar='N', help='synthetic; default: 0 to 4')
    add('--confirm', type=int, nargs=2, default=(3, 5), metavar=('M', 'N'), help='default: 3 5')
    add('--candidate-threshold', type=float, default=0.22, metavar='S', help='default: %(default)s')
    add('--contrast', type=float, default=0.06, metavar='C', help='of the background (default: %(default)s)')
    add(
        '--min-speed', type=float, default=0.0, metavar='PX',
        help='of a target, per frame (default: %(default)s)',
    )  # fmt: skip
    return parser


@guarded
def main(argv: list[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    args = build_parser().parse_args(argv)
    if args.config is not None:
        return _score(args)
    if args.input is not None:
        raise UserError(f'--input {args.input}: which detector? Give CONFIG, for example tensortrain.')
    for name in ('checkpoint', 'names', 'limit', 'device', 'json', 'cfg_options'):
        if getattr(args, name):
            raise UserError(f'--{name.replace("_", "-")} is of scoring a detector: give CONFIG and --input, too.')
    print('seed  Pd filter  single  Fa x1e-6 filter  single  alarms a frame filter  single')
    for seed, filtered, single in drpca.confirmation_gain(**keywords(drpca.confirmation_gain, args)):
        print(
            f'{seed:4d} {filtered.pd:10.3f} {single.pd:7.3f} {1e6 * filtered.fa:16.1f} {1e6 * single.fa:7.1f}'
            f' {filtered.false_per_frame:22.2f} {single.false_per_frame:7.2f}',
            flush=True,
        )
    return 0


def _score(args: argparse.Namespace) -> int:
    if args.input is None:
        raise UserError(f'{args.config}: on which sequences? Give --input DIR.')
    claim_files(args, 'json')
    from drpca.studies.sequence_scores import score_sequences

    detector = drpca.Detector(
        args.config, args.checkpoint, size=args.size, device=args.device, threshold=args.threshold,
        options=args.cfg_options,
    )  # fmt: skip
    scores = score_sequences(detector, args.input, **keywords(score_sequences, args))
    print(table(scores))
    if args.json:
        write_file(args.json, json.dumps([_plain(asdict(score)) for score in scores], indent=1) + '\n')
    return 0


def _plain(value: Any) -> Any:
    """Values for JSON, which has no infinity or NaN: those become None."""
    if isinstance(value, dict):
        return {key: _plain(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_plain(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def table(scores: list[SequenceScore]) -> str:
    """A row of each sequence; behind SCRG, BSF and CG the number of targets for which they are finite."""
    from drpca.reports.plain_tables import text_table

    rows = []
    for score in scores:
        row = [score.name, str(score.frames), str(score.targets), f'{score.snr:.1f}']
        for name in _COLUMNS.values():
            value = score.figures.get(name, math.nan)
            finite = score.figures.get(f'{name}_finite')
            row.append(f'{value:.4g}' + ('' if finite is None else f' ({finite:.0f})'))
        found, there = (score.figures.get(f'track_{name}', math.nan) for name in ('found_in_time', 'targets'))
        rows.append([*row, f'{found:.0f}/{there:.0f}', f'{1000 * score.seconds:.1f}'])
    return text_table(['sequence', 'frames', 'targets', 'SNR', *_COLUMNS, 'found', 'ms'], rows)
