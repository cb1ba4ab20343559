"""The metafile of each model folder: what others published and what was measured here, apart.

``configs/<model>/metafile.yml`` has ``Results: {Published: […], Measured: […]}``, the latter last in the file.
An entry of ``Measured`` is one row of the leaderboard::

    - Config: rpcanet_sirstv1
      Checkpoint: RPCANet_SIRST.pkl     # published weights; or Seeds: [0, 1, 2] and Selection: val
      Dataset: SIRSTv1
      Split: test
      Command: python tools/leaderboard.py …
      Cost: {Parameters: 679896, …}
      Figures:
        - {Protocol: drpca, Size: 256, IoU: 0.70379, …, Std: {IoU: 0.0041, …}}

Figures are ratios, rounded to six digits. ``Std`` is there for several seeds. The tables at the end of the
folder's README.md are made from the metafile.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from drpca import baselines
from drpca.cards import CLASSICAL, FILE, flow_text, read_card, write_changed
from drpca.config import config_folder
from drpca.errors import UserError
from drpca.evaluation.protocols import build_protocol
from drpca.leaderboard.page import NONE, PUBLISHED, TITLES, UNITS, figure_cell
from drpca.leaderboard.rows import KEYS, Cost, Figures, Kind, Published, Row
from drpca.reports.plain_tables import markdown_table
from drpca.reports.tables import shown

_COST = {
    'Parameters': 'parameters',
    'Used': 'used_parameters',
    'GFLOP': 'gflop',
    'Training s': 'training_seconds',
    'Latency ms': 'latency_ms',
    'Threads': 'threads',
    'Machine': 'machine',
}
_HEADINGS = {
    'published': 'Published:',
    'weights': 'Measured here with the published weights:',
    'trained': 'Trained and measured here, mean ± standard deviation over seeds:',
    'classical': 'Measured here:',
}
_MEASURED = re.compile(r'^  Measured:.*\n(?:(?:   .*|\s*)\n)*\Z', re.MULTILINE)


def _size(value: Any) -> int | None:
    return None if value == 'native' else int(value)


def published_figures(root: Path | None = None) -> list[Published]:
    """What the metafiles of all models, and the reference table of the classical methods, say is published.

    A row without a size is of the preset's own.
    """
    found = []
    for path in sorted((root or config_folder()).glob(f'*/{FILE}')):
        for entry in read_card(path)['Results']['Published']:
            protocol = entry.get('Protocol')
            own = None if protocol is None else build_protocol(protocol).size
            size = _size(entry['Size']) if 'Size' in entry else own
            figures = {key: float(entry[key]) for key in KEYS if key in entry}
            data = entry['Dataset'], entry.get('Split', 'test')
            found.append(Published(path.parent.name, '', entry['Source'], *data, protocol, size, figures))
    return found + _published_classical()


def _published_classical() -> list[Published]:
    file = Path(baselines.__file__).with_name('reference.json')
    reference = json.loads(file.read_text(encoding='utf-8'))
    return [
        Published(
            CLASSICAL,
            method,
            'DRPCA-Net README',
            reference['dataset'],
            reference['split'],
            reference['protocol'],
            build_protocol(reference['protocol']).size,
            {key: value / (1e6 if key == 'Fa' else 100) for key, value in zip(PUBLISHED, row['published'])},
        )
        for method, row in reference['rows'].items()
    ]


def measured_rows(root: Path | None = None) -> list[Row]:
    """The rows that the metafiles hold."""
    rows = []
    for path in sorted((root or config_folder()).glob(f'*/{FILE}')):
        card = read_card(path)
        rows += [_to_row(entry, card, path.parent.name) for entry in card['Results']['Measured']]
    return rows


def _to_row(entry: dict[str, Any], card: dict[str, Any], model: str) -> Row:
    kind: Kind = CLASSICAL if model == CLASSICAL else 'weights' if 'Checkpoint' in entry else 'trained'  # type: ignore[assignment]
    figures = {}
    for line in entry['Figures']:
        mean = {key: float(line[key]) for key in KEYS if key in line}
        figures[line['Protocol']] = Figures(_size(line['Size']), mean, dict(line.get('Std', {})))
    return Row(
        method=entry.get('Method', card['Name']),
        model=model,
        config=entry['Config'],
        kind=kind,
        dataset=entry['Dataset'],
        split=entry['Split'],
        command=entry['Command'],
        input_size=entry.get('Input'),
        weights=entry.get('Checkpoint'),
        seeds=tuple(entry.get('Seeds', ())),
        selection=entry.get('Selection'),
        cost=Cost(**{_COST[key]: value for key, value in entry.get('Cost', {}).items()}),
        figures=figures,
    )


def _round(value: Any) -> Any:
    return float(f'{value:.6g}') if isinstance(value, float) else value


def _to_entry(row: Row) -> dict[str, Any]:
    costs = {name: _round(getattr(row.cost, field)) for name, field in _COST.items()}
    entry = {
        'Method': row.method if row.kind == CLASSICAL else None,
        'Config': row.config,
        'Checkpoint': row.weights,
        'Seeds': list(row.seeds) or None,
        'Selection': row.selection,
        'Dataset': row.dataset,
        'Split': row.split,
        'Input': row.input_size,
        'Command': row.command,
        'Cost': {name: value for name, value in costs.items() if value is not None},
        'Figures': [
            {
                'Protocol': name,
                'Size': 'native' if figures.size is None else figures.size,
                **{key: _round(value) for key, value in figures.mean.items()},
                **({'Std': {key: _round(value) for key, value in figures.std.items()}} if figures.std else {}),
            }
            for name, figures in row.figures.items()
        ],
    }
    return {key: value for key, value in entry.items() if value is not None}


def _yaml_lines(entry: dict[str, Any]) -> list[str]:
    lines = []
    for key, value in entry.items():
        if key == 'Figures':
            lines += ['      Figures:', *(f'        - {flow_text(line)}' for line in value)]
        else:
            lines.append(f'      {key}: {flow_text(value)}')
    return ['    - ' + lines[0].lstrip(), *lines[1:]]


def _identity(row: Row) -> tuple[Any, ...]:
    return row.config, row.kind, row.weights, row.dataset, row.split, row.input_size, row.selection


def _with_latency_of(earlier: Row | None, row: Row) -> Row:
    """The row; what was measured of its latency before stays if it was not measured again."""
    if earlier is None or row.cost.latency_ms is not None:
        return row
    return row.with_latency(earlier.cost)


def update_metafile(path: Path, rows: Sequence[Row]) -> bool:
    """Puts rows among the measured ones, in place of earlier ones of the same config, weights, data set and size.

    Everything else in the file is left as it is, byte for byte.

    Args:
        path: The metafile.
        rows: Of its model, with figures.

    Returns:
        Whether the file has changed.

    Raises:
        UserError: The file is not as it should be, or cannot be written.
    """
    text = path.read_text(encoding='utf-8') if path.is_file() else ''
    card = read_card(path)
    if not _MEASURED.search(text):
        raise UserError(f'{path}: expected "  Measured:" under Results as the last entry of the file.')
    earlier = [_to_row(entry, card, path.parent.name) for entry in card['Results']['Measured']]
    merged = {_identity(row): row for row in earlier}
    for row in rows:
        merged[_identity(row)] = _with_latency_of(merged.get(_identity(row)), row)
    lines = [line for row in merged.values() for line in _yaml_lines(_to_entry(row))]
    measured = '\n'.join(['  Measured:', *lines]) if lines else '  Measured: []'
    return write_changed(path, _MEASURED.sub(lambda _: measured + '\n', text), text)


def result_tables(card: dict[str, Any], model: str) -> str:
    """The tables at the end of a model's README: published, then measured; '' if there is neither."""
    rows = [_to_row(entry, card, model) for entry in card['Results']['Measured']]
    parts = {'published': _published_table(card['Results']['Published'])}
    for kind in ('weights', 'trained', CLASSICAL):
        parts[kind] = _measured_table([row for row in rows if row.kind == kind])
    return '\n'.join(f'{_HEADINGS[name]}\n\n{table}' for name, table in parts.items() if table)


def _published_table(entries: Sequence[dict[str, Any]]) -> str:
    if not entries:
        return ''
    columns = {
        'Source': 'source',
        'Note': '',
        'Dataset': 'data set',
        'Split': 'split',
        'Protocol': 'preset',
        'Size': 'size',
    }
    columns |= {key: UNITS[key] for key in KEYS}
    columns = {key: title for key, title in columns.items() if any(key in entry for entry in entries)}

    def cell(entry: dict[str, Any], key: str) -> str:
        if key not in entry:
            return '' if key == 'Note' else 'test' if key == 'Split' else NONE
        if key in KEYS:
            return shown(key, entry[key])
        return TITLES.get(entry[key], str(entry[key]))

    cells = [[cell(entry, key) for key in columns] for entry in entries]
    return markdown_table(list(columns.values()), cells, left=sum(key not in KEYS for key in columns))


def _measured_table(rows: Sequence[Row]) -> str:
    if not rows:
        return ''
    keys = [key for key in KEYS if any(key in figures.mean for row in rows for figures in row.figures.values())]
    trained = rows[0].kind == 'trained'
    header = ['config', *(['seeds', 'weights'] if trained else []), 'data set', 'split', 'preset', 'size']
    cells = []
    for row in rows:
        lead = [f'`{row.config}`']
        if trained:
            lead += [str(len(row.seeds)), 'last epoch' if row.selection == 'final' else 'best on validation']
        lead += [TITLES.get(row.dataset, row.dataset), row.split]
        for name, figures in row.figures.items():
            size = 'native' if figures.size is None else str(figures.size)
            cells.append([*lead, name, size, *(figure_cell(figures, key) for key in keys)])
    cells = [line for number, line in enumerate(cells) if line not in cells[:number]]
    return markdown_table([*header, *(UNITS[key] for key in keys)], cells, left=len(header))


def update_readme_tables(path: Path) -> bool:
    """Makes the tables at the end of a model's README.md anew.

    Args:
        path: The metafile; the README.md lies beside it.

    Returns:
        Whether the README has changed; False without one.
    """
    readme = path.with_name('README.md')
    if not readme.is_file():
        return False
    text = readme.read_text(encoding='utf-8')
    return write_changed(readme, with_result_tables(text, read_card(path), path.parent.name), text)


def with_result_tables(text: str, card: dict[str, Any], model: str) -> str:
    """A README with its tables made anew: what follows its first heading of one, or its end, is replaced."""
    starts = [text.find(f'\n{heading}\n') for heading in _HEADINGS.values()]
    start = min((place for place in starts if place >= 0), default=len(text))
    tables = result_tables(card, model)
    return text[:start].rstrip('\n') + '\n' + (f'\n{tables}' if tables else '')


def update_metafiles(rows: Sequence[Row], root: Path | None = None) -> list[Path]:
    """Metafile of every model among the rows, and the README of every model whose tables are not up to date.

    Args:
        rows: With or without figures; those without are left out.
        root: ``configs`` unless given.

    Returns:
        The files that have changed.
    """
    root = root or config_folder()
    changed = []
    for model in dict.fromkeys(row.model for row in rows if row.model and row.figures):
        path = root / model / FILE
        mine = [row for row in rows if row.model == model and row.figures]
        changed += [path] * update_metafile(path, mine)
    for path in sorted(root.glob(f'*/{FILE}')):
        changed += [path.with_name('README.md')] * update_readme_tables(path)
    return changed
