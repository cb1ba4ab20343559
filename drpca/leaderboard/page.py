"""The leaderboard as Markdown: one table per data set, a page with everything, a block inside a README."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from drpca.config import find_config, load_config
from drpca.errors import UserError
from drpca.evaluation.curves import CURVE_FIGURES
from drpca.evaluation.protocols import Protocol, build_protocol
from drpca.leaderboard.rows import (
    KEYS,
    MAIN,
    RELATIVE_HEADER,
    RELATIVE_KEYS,
    RULE,
    Cost,
    Figures,
    Published,
    Row,
    disagreements,
    is_comparable,
    ranked,
    relative_rows,
)
from drpca.reports.plain_tables import markdown_table
from drpca.reports.tables import HEADINGS, shown, size_text

BEGIN, END = '<!-- leaderboard:begin -->', '<!-- leaderboard:end -->'
TITLES = {'SIRSTv1': 'SIRST V1', 'SIRSTv2': 'SIRST V2', 'sirst_aug': 'SIRST-Aug', 'IRSTD-1k': 'IRSTD-1K'}
"""Data sets whose usual spelling is not their name here."""
UNITS = {key: HEADINGS.get(key, f'{key} %').replace('x1e', '×1e').replace('<=', ' ≤ ') for key in KEYS}
"""Headings of the figures."""
PUBLISHED = ('IoU', 'F1', 'Pd', 'Fa')
"""Figures that published tables have."""
NONE = '–'
LEFT = 2

_MEASURED = tuple(key for key in KEYS if key != 'hIoU')
_COSTS = ('M parameters', 'GFLOP', 'training', 'ms')


def _measured(rows: Sequence[Row], protocol: str) -> list[str]:
    """Figures shown under a preset; those of the curves where a row has them."""
    return [
        key
        for key in _MEASURED
        if key not in CURVE_FIGURES or any(key in row.figures[protocol].mean for row in rows if protocol in row.figures)
    ]


def figure_cell(figures: Figures | None, key: str) -> str:
    """'70.38', or '70.38 ± 0.41' over several runs."""
    if figures is None or key not in figures.mean:
        return NONE
    text = shown(key, figures.mean[key])
    return f'{text} ± {shown(key, figures.std[key])}' if key in figures.std else text


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return NONE
    if seconds < 90:
        return f'{seconds:.0f} s'
    return f'{seconds / 60:.0f} min' if seconds < 5400 else f'{seconds / 3600:.1f} h'


def _cost_cells(cost: Cost) -> list[str]:
    parameters = NONE
    if cost.parameters is not None:
        parameters = f'{cost.parameters / 1e6:.3f}'
        if cost.used_parameters != cost.parameters:
            parameters += f' ({(cost.used_parameters or 0) / 1e6:.3f} used)'
    gflop = NONE if cost.gflop is None else f'{cost.gflop:.1f}'
    latency = NONE if cost.shown_ms is None else f'{cost.shown_ms:.1f}'
    return [parameters, gflop, _duration(cost.training_seconds), latency]


def _published_cell(row: Row, published: Sequence[Published], protocol: str) -> str:
    """'70.37 / 82.61 / 95.41 / 74.20', a ≠ after those that are not confirmed."""
    cells = []
    for entry in published:
        if entry.protocol == protocol and is_comparable(row, entry):
            off = disagreements(row, entry)
            cells.append(' / '.join(_value(entry, key) + (' ≠' if key in off else '') for key in PUBLISHED))
    return '; '.join(cells) or NONE


def _value(entry: Published, key: str) -> str:
    return shown(key, entry.figures[key]) if key in entry.figures else NONE


def main_cells(
    rows: Sequence[Row], published: Sequence[Published], protocol: str = MAIN
) -> tuple[list[str], list[list[str]]]:
    """Figures under one preset, hIoU, costs and published figures; the best IoU first.

    Args:
        rows: Of one data set.
        published: Of whatever methods; those of the rows are picked out.
        protocol: Preset.

    Returns:
        Header and lines; the first ``LEFT`` columns are words.
    """
    has_hiou, measured = any('opdc' in row.figures for row in rows), _measured(rows, protocol)
    header = ['method', 'weights', *_COSTS, *(UNITS[key] for key in measured)]
    header += ['hIoU % (opdc)'] * has_hiou + ['published IoU / F1 / Pd / Fa']
    cells = [
        [
            row.method,
            row.source,
            *_cost_cells(row.cost),
            *(figure_cell(row.figures.get(protocol), key) for key in measured),
            *[figure_cell(row.figures.get('opdc'), 'hIoU')] * has_hiou,
            _published_cell(row, published, protocol),
        ]
        for row in ranked(rows, protocol)
    ]
    return header, cells


def main_table(rows: Sequence[Row], published: Sequence[Published], protocol: str = MAIN) -> str:
    """:func:`main_cells` as Markdown."""
    return markdown_table(*main_cells(rows, published, protocol), left=LEFT)


def _preset_table(rows: Sequence[Row], protocol: str) -> str:
    keys = [*_measured(rows, protocol), *(['hIoU'] if protocol == 'opdc' else [])]
    cells = [
        [row.method, row.source, *(figure_cell(row.figures.get(protocol), key) for key in keys)]
        for row in ranked(rows, protocol)
    ]
    return markdown_table(['method', 'weights', *(UNITS[key] for key in keys)], cells, left=2)


def _comparison_table(rows: Sequence[Row], published: Sequence[Published]) -> str:
    """Every published figure that can be compared, beside the measured one; '' if there is none."""
    cells = []
    for row in ranked(rows):
        for entry in published:
            if is_comparable(row, entry):
                assert entry.protocol is not None
                figures, off = row.figures[entry.protocol], disagreements(row, entry)
                pairs = [(_value(entry, key), figure_cell(figures, key) + ' ≠' * (key in off)) for key in PUBLISHED]
                what = [row.method, row.source, entry.source, entry.protocol, size_text(entry.size)]
                cells.append([*what, *(cell for pair in pairs for cell in pair)])
    # Each figure has two columns: what is published, and what is measured.
    header = ['method', 'weights', 'published by', 'preset', 'size']
    header += [name for key in PUBLISHED for name in (f'{UNITS[key]} published', 'measured')]
    return markdown_table(header, cells, left=5) if cells else ''


def _runs_table(rows: Sequence[Row], protocol: str) -> str:
    cells = []
    for row in rows:
        for run in row.runs if row.kind == 'trained' else ():
            figures = Figures(None, run.figures.get(protocol, {}))
            cells.append([
                f'`{row.config}`', str(run.seed), run.state + (f': {run.message}' if run.message else ''),
                NONE if run.epochs is None else str(run.epochs), _duration(run.seconds),
                *(figure_cell(figures, key) for key in RELATIVE_KEYS),
                NONE if run.best_on_test is None else shown('IoU', run.best_on_test),
            ])  # fmt: skip
    header = ['config', 'seed', 'state', 'epochs', 'training', *(UNITS[key] for key in RELATIVE_KEYS)]
    header.append('best IoU on test while training, % (published convention, not used)')
    return markdown_table(header, cells, left=3) if cells else ''


def definition_line(protocol: Protocol) -> str:
    """What a preset means, in a sentence."""
    size = 'native size' if protocol.size is None else size_text(protocol.size)
    return (
        f'`{protocol.name}`: score {protocol.threshold_text}, at {size}; a target is found by the rule '
        f'"{protocol.matching_text}"; Fa: {protocol.false_alarm_text}.'
    )


def _by_dataset(rows: Sequence[Row]) -> dict[tuple[str, str], list[Row]]:
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row.dataset, row.split), []).append(row)
    return groups


def _heading(dataset: str, split: str) -> str:
    return TITLES.get(dataset, dataset) + ('' if split == 'test' else f', split {split}')


def _reading(rows: Sequence[Row]) -> str:
    """What the columns mean, for the foot of a main table."""
    methods: dict[str, list[str]] = {}
    for row in rows:
        if row.cost.shown_ms is not None:
            methods.setdefault(row.cost.machine or '', []).append(row.method)
    lines = ['Mean ± standard deviation over seeds where there are several.']
    if any(row.cost.gflop is not None for row in rows):
        lines.append('GFLOP per image of 256².')
    if methods:
        where = '; '.join(
            f'{", ".join(dict.fromkeys(of))}: {at}' if len(methods) > 1 else at for at, of in methods.items()
        )
        lines.append(f'ms: from an image to its score map. {where}.')
    return ' '.join([*lines, RULE])


def page(
    rows: Sequence[Row], published: Sequence[Published], protocols: Sequence[Protocol], relative_to: str | None = None
) -> str:
    """Everything, for ``--markdown``.

    Args:
        rows: Of all data sets.
        published: What is known of their methods.
        protocols: Presets, in the order of the page; the main table is of ``MAIN``, or else of the first.
        relative_to: Config or method that the others are also shown relative to.

    Raises:
        UserError: ``relative_to`` is none of the rows.
    """
    main = main_preset(protocols)
    lines = ['# Leaderboard', '', 'Made by `tools/leaderboard.py`; every row has its command at the end.', '']
    lines += [f'* {definition_line(protocol)}' for protocol in protocols]
    lines += ['', _reading(rows)]
    for (dataset, split), group in _by_dataset(rows).items():
        lines += ['', f'## {_heading(dataset, split)}', '', f'Preset `{main}`:', '', main_table(group, published, main)]
        for protocol in protocols:
            lines += [f'### `{protocol.name}`, {size_text(protocol.size)}', '', _preset_table(group, protocol.name)]
        if relative_to is not None:
            cells = relative_rows(group, relative_to, main)
            lines += [f'### Relative to {relative_to}', '', markdown_table(RELATIVE_HEADER, cells, left=2)]
        for title, table in (
            ('Published beside measured', _comparison_table(group, published)),
            (f'Runs, preset `{main}`', _runs_table(group, main)),
        ):
            lines += [f'### {title}', '', table] if table else []
        commands = dict.fromkeys(row.command for row in group)
        needs = dict.fromkeys(filter(None, map(_needed, group)))
        lines += ['### Commands', '', *(part for text in needs for part in (text, '')), '```', *commands, '```']
    return '\n'.join(lines) + '\n'


def _needed(row: Row) -> str:
    """What has to be trained before a row that goes on from weights of another training; '' for all others."""
    if row.kind != 'trained':
        return ''
    with suppress(UserError):  # a config that is not here
        start = Path(load_config(find_config(row.config)).get('load_from') or '').parts
        if len(start) == 4 and start[0] == 'checkpoints':
            return (
                f'`{row.config}` goes on from `{start[1]}`, {start[2]}: `python run_configs.py {start[1]}` comes first.'
            )
    return ''


def main_preset(protocols: Sequence[Protocol]) -> str:
    """``MAIN`` if it is among them, else the first."""
    names = [protocol.name for protocol in protocols]
    return MAIN if MAIN in names else names[0]


def block(rows: Sequence[Row], published: Sequence[Published], link: str | None = None) -> str:
    """The tables of a README: official test splits, preset ``MAIN``, as the recipes say.

    Args:
        rows: Read from the metafiles.
        published: Likewise.
        link: Where all presets are shown.
    """
    kept = [row for row in rows if row.split == 'test' and row.input_size is None and MAIN in row.figures]
    parts = [
        f'**{_heading(dataset, split)}**, test split, preset `{MAIN}`:\n\n{main_table(group, published)}'
        for (dataset, split), group in _by_dataset(kept).items()
    ]
    if not parts:
        return 'Nothing is measured yet.\n'
    more = f' [All presets, seeds and commands]({link}).' if link else ''
    protocol = build_protocol(MAIN)
    return '\n'.join([*parts, f'{definition_line(protocol)} {_reading(kept)}{more}\n'])


def insert_block(text: str, content: str, path: object) -> str:
    """Replaces what stands between the two markers.

    Args:
        text: Of a README.
        content: What comes between ``BEGIN`` and ``END``.
        path: For the message.

    Raises:
        UserError: The markers are not there, once each and in order.
    """
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end or BEGIN in rest or END in after:
        raise UserError(f'{path}: put the lines {BEGIN} and {END}, once each, where the table belongs.')
    return f'{before}{BEGIN}\n\n{content}\n{END}{after}'
