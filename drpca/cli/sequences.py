"""``tools/sequences.py``: what a detector finds in labelled sequences, and what confirmation over frames gains."""

from __future__ import annotations

import argparse
import json
import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from typing_extensions import TypedDict

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
from drpca.json_file import plain
from drpca.options import NATIVE

if TYPE_CHECKING:
    from drpca.studies.sequence_scores import SequenceScore

_DESCRIPTION = """\
With CONFIG: score a detector, of single frames or of windows of them, on labelled sequences, and the
tracks that confirmation over m of n frames makes of its maps.

With --table: put what --json wrote into one table.

Without both: compare the confirmation over m of n frames with single frames, on synthetic sequences of known truth. A
single frame is judged at the threshold at which it has the Pd of the filter, so that the false alarms can be compared.
Score maps are those of the top-hat transform."""

_EXAMPLES = """\
  python tools/sequences.py tensortrain --input sequences/ --limit 30
      folders of frames with points, masks or boxes (datasets/README.md)
  python tools/sequences.py rpcanet_sirstv1 --checkpoint published --input sequences/ --json scores.json
  python tools/sequences.py --table tensortrain.json rpcanet.json
      a row a file, in Markdown: Pd at Fa 1e-5 / at 1e-4 of each sequence, of all, and of what the tracks confirm;
      with --confirmed: of what they confirm in each sequence, and the figures of the tracks
  python tools/sequences.py
  python tools/sequences.py --seeds 0 1 --confirm 2 4 --min-speed 0.6"""

_COLUMNS = {
    'Pd@1e-5': 'pd_at_fa_1e-5', 'Pd@1e-4': 'pd_at_fa_1e-4', '(F,D)': 'AUC_FaPd', '(t,D)': 'AUC_tauPd',
    '(t,F)': 'AUC_tauFa', 'SCRG': 'SCRG', 'BSF': 'BSF', 'CG': 'CG', 'shot Pd': 'shooting_Pd', 'shot Fa': 'shooting_Fa',
    'shot AUC': 'shooting_AUC',
    'conf. Pd': 'confirmed_Pd', 'conf. Fa': 'confirmed_Fa', 'fragm.': 'track_fragments',
    'false/min': 'track_false_per_minute',
}  # fmt: skip

_OF_ALL = ['all, confirmed', '(F,D)', "DTUM's AUC", 'ms a frame']
_TRACKS = ('found_in_time', 'targets', 'fragments', 'false_per_minute')


_SYNTHETIC = ('seeds', 'contrast')
_SCORING = (
    'input', 'names', 'limit', 'checkpoint', 'size', 'device', 'cfg_options', 'threshold', 'rate', 'within',
    'stabilise', 'json', 'overwrite',
)  # fmt: skip


class WrittenScore(TypedDict):
    """What --table reads of a file that --json wrote; there is more in it."""

    __pydantic_config__ = {'extra': 'ignore'}  # type: ignore[misc]
    name: str
    frames: int
    seconds: float
    figures: dict[str, float | None]


def build_parser() -> argparse.ArgumentParser:
    parser = command_parser('sequences.py', _DESCRIPTION, _EXAMPLES, done='done')
    add = parser.add_argument
    add('config', nargs='?', metavar='CONFIG', help='config file or name of the detector to score')
    add('--input', metavar='DIR', help='folder of labelled sequences, to score CONFIG on')
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
    add('--table', nargs='+', metavar='FILE', help='what --json wrote of several detectors, as a table')
    add('--confirmed', action='store_true', help='a table of what the tracks confirm')
    add('--seeds', type=int, nargs='+', default=[0, 1, 2, 3, 4], metavar='N', help='synthetic; default: 0 to 4')
    add('--confirm', type=int, nargs=2, default=(3, 5), metavar=('M', 'N'), help='default: 3 5')
    add('--candidate-threshold', type=float, default=0.22, metavar='S', help='default: %(default)s')
    add('--contrast', type=float, default=0.06, metavar='C', help='of the background (default: %(default)s)')
    add(
        '--min-speed', type=float, default=0.0, metavar='PX',
        help='of a target, per frame (default: %(default)s)',
    )  # fmt: skip
    add('--stabilise', action='store_true', help='take out shifts of the whole picture before targets are confirmed')
    return parser


@guarded
def main(argv: list[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    parser = build_parser()
    args = parser.parse_args(argv)
    given = [name for name, value in vars(args).items() if value != parser.get_default(name)]
    if args.table is not None:
        others = [name for name in vars(args) if name not in ('table', 'confirmed', 'overwrite')]
        _refuse(given, others, 'goes with no --table', 'leave it out')
        print(comparison(args.table, args.confirmed), end='')
        return 0
    _refuse(given, ['confirmed'], 'is of tables', 'give --table FILE …')
    if args.config is not None:
        _refuse(given, _SYNTHETIC, 'is of synthetic sequences', 'leave it out, or leave out CONFIG')
        return _score(args)
    if args.input is not None:
        raise UserError(f'--input {args.input}: which detector? Give CONFIG, for example tensortrain.')
    _refuse(given, _SCORING, 'is of scoring a detector', 'give CONFIG and --input, too')
    print('seed  Pd filter  single  Fa x1e-6 filter  single  alarms a frame filter  single')
    for seed, filtered, single in drpca.confirmation_gain(**keywords(drpca.confirmation_gain, args)):
        print(
            f'{seed:4d} {filtered.pd:10.3f} {single.pd:7.3f} {1e6 * filtered.fa:16.1f} {1e6 * single.fa:7.1f}'
            f' {filtered.false_per_frame:22.2f} {single.false_per_frame:7.2f}',
            flush=True,
        )
    return 0


def _refuse(given: list[str], names: Iterable[str], what: str, advice: str) -> None:
    for name in names:
        if name in given:
            option = 'CONFIG' if name == 'config' else f'--{name.replace("_", "-")}'
            raise UserError(f'{option} {what}: {advice}.')


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
        write_file(args.json, json.dumps([plain(asdict(score)) for score in scores], indent=1) + '\n')
    return 0


def table(scores: list[SequenceScore]) -> str:
    """A row of each sequence; behind SCRG, BSF and CG the number of targets for which they are finite."""
    from drpca.reports.plain_tables import text_table

    rows = []
    for score in scores:
        row = [score.name, str(score.frames), str(score.targets), _cell(score.snr, '.1f')]
        for name in _COLUMNS.values():
            value = score.figures.get(name, math.nan)
            finite = score.figures.get(f'{name}_finite')
            value = value if score.targets or math.isfinite(value) else math.nan
            row.append(_cell(value, '.4g') + ('' if finite is None else f' ({finite:.0f})'))
        found, there = (score.figures.get(f'track_{name}', math.nan) for name in ('found_in_time', 'targets'))
        tracks = f'{found:.0f}/{there:.0f}' if math.isfinite(found + there) else '-'
        rows.append([*row, tracks, f'{1000 * score.seconds:.1f}'])
    return text_table(['sequence', 'frames', 'targets', 'SNR', *_COLUMNS, 'found', 'ms'], rows)


def _cell(value: float, form: str) -> str:
    return '-' if math.isnan(value) else format(value, form)


def comparison(files: list[str], confirmed: bool = False) -> str:
    """A Markdown table with a row for each file that --json wrote, called by its name without suffix, or by its
    path where several have one name.

    Pd at Fa 1e-5 / at 1e-4 of each sequence, of all, and of all after confirmation; AUC (F,D) of the 3D-ROC, that of
    DTUM, and milliseconds a frame, of all; '–' where it is undefined. With ``confirmed`` Pd is that after confirmation,
    followed by how many targets are found in time, of how many, fragments and false tracks a minute.

    Raises:
        UserError: A file cannot be read, or has other sequences or numbers of frames than the first.
    """
    from drpca.json_file import read_json
    from drpca.reports.plain_tables import markdown_table
    from drpca.studies.sequence_scores import ALL, HIGH, LOW

    read = {file: read_json(file, list[WrittenScore], 'make it with --json') for file in files}
    kept = {file: [score for score in scores if score['name'] not in (LOW, HIGH)] for file, scores in read.items()}
    shapes = {file: [(score['name'], score['frames']) for score in scores] for file, scores in kept.items()}
    for file in files:
        if not kept[file]:
            raise UserError(f'{file} holds no figures: make it with --json.')
        if kept[file][-1]['name'] != ALL or shapes[file] != shapes[files[0]]:
            raise UserError(
                f'{file}: expected figures of the sequences and frames that {files[0]} has: score it on them.'
            )

    def pair(figures: dict[str, float | None], lead: str = '') -> str:
        return ' / '.join(_shown(figures.get(f'{lead}pd_at_fa_1e-{power}'), 2) for power in (5, 4))

    rows = []
    times = Counter(Path(file).stem for file in files)
    for file in files:
        *_, whole = scores = kept[file]
        figures = whole['figures']
        cells = [pair(score['figures'], 'confirmed_' if confirmed else '') for score in scores]
        if confirmed:
            found, there, *tracks = (_shown(figures.get(f'track_{name}'), 0) for name in _TRACKS)
            cells += [f'{found}/{there}', *tracks]
        else:
            aucs = [_shown(figures.get(key), 4) for key in ('AUC_FaPd', 'shooting_AUC')]
            cells += [pair(figures, 'confirmed_'), *aucs, _shown(1000 * whole['seconds'], 0)]
        rows.append([Path(file).stem if times[Path(file).stem] == 1 else file, *cells])
    names = [name for name, _ in shapes[files[0]]]
    last = ['found', 'fragments', 'false a minute'] if confirmed else _OF_ALL
    return markdown_table(['detector', *names, *last], rows)


def _shown(value: float | None, digits: int) -> str:
    return '–' if value is None else f'{value:.{digits}f}'
