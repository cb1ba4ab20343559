"""The leaderboard as a LaTeX table of a paper: data sets side by side, best and second best marked."""

from __future__ import annotations

import re
from collections.abc import Sequence

from drpca.config import data_sets
from drpca.errors import UserError
from drpca.leaderboard.page import TITLES
from drpca.leaderboard.rows import Figures, Row
from drpca.names import simplify
from drpca.reports.plain_tables import latex_text
from drpca.reports.tables import HEADINGS, shown

LOWER_IS_BETTER = ('Fa',)
_MARKS = (r'\textbf{%s}', r'\underline{%s}')
_NONE = '--'


def latex_table(rows: Sequence[Row], protocol: str, keys: Sequence[str] = ('IoU', 'nIoU', 'F1', 'Pd', 'Fa')) -> str:
    """Methods × data sets; needs the package booktabs.

    The best value of a column is bold, the second best underlined, as they are shown: equal ones alike. Classical
    methods, published weights and networks trained here are told apart by rules.

    Args:
        rows: Of one data set or several, with figures under the preset.
        protocol: Preset.
        keys: Figures, of ``drpca.leaderboard.rows.KEYS``.

    Raises:
        UserError: No row has one of the figures.
    """
    kept = [row for row in rows if protocol in row.figures]
    for key in keys:
        if not any(key in row.figures[protocol].mean for row in kept):
            raise UserError(f'No row has {key} under the preset {protocol}.')
    datasets = list(dict.fromkeys((row.dataset, row.split) for row in kept))
    lines: dict[tuple[str, ...], dict[tuple[str, str], Figures]] = {}
    for row in sorted(kept, key=lambda row: ('classical', 'weights', 'trained').index(row.kind)):
        line = lines.setdefault((row.kind, row.method, _recipe(row)), {})
        if (row.dataset, row.split) in line:
            raise UserError(
                f'Two rows are {row.method} ({row.config}) on {row.dataset}: make the table of one of them, or give '
                'tables without the other.'
            )
        line[row.dataset, row.split] = row.figures[protocol]
    columns = [(dataset, key) for dataset in datasets for key in keys]
    marks = {column: _marked([line.get(column[0]) for line in lines.values()], column[1]) for column in columns}
    text = _head(datasets, keys, protocol)
    kinds = [kind for kind, *_ in lines]
    names = [method for _, method, _ in lines]
    for number, ((kind, method, recipe), line) in enumerate(lines.items()):
        if number and kind != kinds[number - 1]:
            text.append(r'\midrule')
        name = f'{method} ({recipe})' if names.count(method) > 1 else method
        cells = [_cell(line.get(dataset), key, marks[dataset, key]) for dataset, key in columns]
        text.append(' & '.join([latex_text(name), *cells]) + r' \\')
    return '\n'.join([*text, r'\bottomrule', r'\end{tabular}']) + '\n'


def _recipe(row: Row) -> str:
    """A config's name without its data set, so that one recipe on several data sets is one line."""
    name = re.sub(rf'_({"|".join(map(re.escape, data_sets()))})(?=_|$)', '', row.config, count=1)
    return ' '.join([simplify(name) and name, *(['published'] if row.kind == 'weights' else [])])


def _head(datasets: Sequence[tuple[str, str]], keys: Sequence[str], protocol: str) -> list[str]:
    width = len(keys)
    titles = [TITLES.get(dataset, dataset) + ('' if split == 'test' else f', {split}') for dataset, split in datasets]
    groups = [rf'\multicolumn{{{width}}}{{c}}{{{latex_text(title)}}}' for title in titles]
    rules = ''.join(rf'\cmidrule(lr){{{2 + n * width}-{1 + (n + 1) * width}}}' for n in range(len(datasets)))
    headings = [latex_text(HEADINGS.get(key, f'{key} %')) for key in keys]
    return [
        f'% Preset {latex_text(protocol)}. Needs \\usepackage{{booktabs}}.',
        rf'\begin{{tabular}}{{l{"r" * width * len(datasets)}}}',
        r'\toprule',
        ' & '.join(['', *groups]) + r' \\',
        rules,
        ' & '.join(['method', *headings * len(datasets)]) + r' \\',
        r'\midrule',
    ]


def _marked(column: Sequence[Figures | None], key: str) -> dict[str, str]:
    """What is shown of the best and of the second best value, with its mark."""
    sign = 1 if key in LOWER_IS_BETTER else -1
    values = {shown(key, f.mean[key]): f.mean[key] for f in column if f is not None and key in f.mean}
    ranked = sorted(values, key=lambda text: sign * values[text])
    return dict(zip(ranked if len(ranked) > 1 else [], _MARKS))


def _cell(figures: Figures | None, key: str, marks: dict[str, str]) -> str:
    if figures is None or key not in figures.mean:
        return _NONE
    text = shown(key, figures.mean[key])
    deviation = rf' $\pm$ {shown(key, figures.std[key])}' if key in figures.std else ''
    return marks.get(text, '%s') % text + deviation
