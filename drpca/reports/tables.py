"""Scores as text, Markdown, LaTeX, CSV and JSON; every row names preset, threshold, size, matching rule."""

from __future__ import annotations

import csv
import dataclasses
import io
import math
from collections.abc import Sequence
from typing import Any

from drpca.evaluation.protocols import Protocol
from drpca.evaluation.target_rows import TargetRow
from drpca.reports.plain_tables import markdown_table, text_table
from drpca.results.scoring import Score

PERCENT = ('IoU', 'nIoU', 'F1', 'precision', 'recall', 'Pd')
DEFINITION = ('preset', 'threshold', 'size', 'matching rule')


def size_text(size: int | None) -> str:
    """The scoring size in words: 'native' or '256x256'."""
    return 'native' if size is None else f'{size}x{size}'


def definition(protocol: Protocol) -> list[str]:
    """Cells under ``DEFINITION``."""
    return [protocol.name, protocol.threshold_text, size_text(protocol.size), protocol.matching_text]


def number(value: float, digits: int = 2) -> str:
    """Fixed digits; '-' for what is undefined."""
    return '-' if math.isnan(value) else f'{value:.{digits}f}'


def shown(key: str, value: float) -> str:
    """A figure as people read it: ratios in %, Fa times 1e-6, AUC with four digits, counts as they are."""
    if key in ('images', 'targets'):
        return str(value)
    if key == 'Fa':
        return number(value * 1e6)
    return number(value, 4) if key == 'AUC' else number(value * 100)


FIGURES = (*PERCENT, 'Fa', 'AUC', 'images', 'targets')
_UNITS = {**dict.fromkeys(PERCENT, ' %'), 'Fa': ' x1e-6'}


def _cells(score: Score) -> list[list[str]]:
    header = [*DEFINITION, *(key + _UNITS.get(key, '') for key in FIGURES)]
    rows = [
        [*definition(protocol), *(shown(key, score.figures[protocol.name][key]) for key in FIGURES)]
        for protocol in score.protocols
    ]
    return [header, *rows]


def as_text(score: Score) -> str:
    """The table of one results folder, as printed; an 'opdc' protocol adds a line with its errors."""
    header, *rows = _cells(score)
    lines = [text_table(header, rows, len(DEFINITION))]
    for protocol in score.protocols:
        figures = score.figures[protocol.name]
        if 'hIoU' in figures:
            parts = [f'{key} {number(value * 100)}' for key, value in error_figures(figures).items()]
            lines.append(f'{protocol.name}, %: {", ".join(parts)}')
    return '\n'.join([f'{title(score)}, maps from {score.folder.kind}/', *lines])


def error_figures(figures: dict[str, float]) -> dict[str, float]:
    """hIoU and its decomposition among the figures of a protocol; empty if it has none."""
    return {key: value for key, value in figures.items() if key == 'hIoU' or key.startswith(('seg_', 'loc_'))}


def title(score: Score) -> str:
    """Folder, data set and split of a score."""
    return f'{score.folder.path}: {score.split.dataset} {score.split.split}'


def as_markdown(scores: Sequence[Score]) -> str:
    """One Markdown table per results folder."""
    blocks = []
    for score in scores:
        header, *rows = _cells(score)
        blocks.append(f'**{title(score)}**\n\n{markdown_table(header, rows, len(DEFINITION))}')
    return '\n'.join(blocks)


_LATEX = {'\\': r'\textbackslash{}', '<': r'$<$', '>': r'$>$', '~': r'\textasciitilde{}', '^': r'\^{}'}
_LATEX.update({character: f'\\{character}' for character in '_%&#${}'})


def _latex(text: str) -> str:
    return ''.join(_LATEX.get(c, c) for c in text.replace('>=', '≥')).replace('≥', r'$\ge$')


def as_latex(scores: Sequence[Score]) -> str:
    """One LaTeX table of all results folders; needs the package booktabs."""
    columns = 'l' * (len(DEFINITION) + 1) + 'r' * len(FIGURES)
    lines = [rf'\begin{{tabular}}{{{columns}}}', r'\toprule']
    for index, score in enumerate(scores):
        header, *rows = _cells(score)
        if index == 0:
            lines += [' & '.join(map(_latex, ['results', *header])).replace('x1e-6', r'$\times 10^{-6}$') + r' \\']
        lines += [r'\midrule']
        lines += [' & '.join(map(_latex, [title(score), *row])) + r' \\' for row in rows]
    return '\n'.join([*lines, r'\bottomrule', r'\end{tabular}']) + '\n'


def as_csv(scores: Sequence[Score]) -> str:
    """One line per results folder and protocol, figures as plain ratios, undefined ones empty."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator='\n')
    errors = sorted({key for s in scores for f in s.figures.values() for key in error_figures(f)})
    columns = ['results', 'dataset', 'split', *DEFINITION, 'false alarms', *FIGURES, *errors]
    writer.writerow(columns)
    for score in scores:
        for protocol in score.protocols:
            figures = score.figures[protocol.name]
            writer.writerow(
                [str(score.folder.path), score.split.dataset, score.split.split, *definition(protocol)]
                + [protocol.false_alarm_text]
                + [_cell(figures.get(key)) for key in (*FIGURES, *errors)]
            )
    return out.getvalue()


def targets_csv(scores: Sequence[Score]) -> str:
    """One line per target of the analysed protocol; undefined values are empty."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator='\n')
    columns = [f.name for f in dataclasses.fields(TargetRow)]
    writer.writerow(['results', *DEFINITION, *columns])
    for score in scores:
        for row in score.analysis.targets if score.analysis else ():
            values = [_cell(getattr(row, column)) for column in columns]
            writer.writerow([str(score.folder.path), *definition(score.protocols[0]), *values])
    return out.getvalue()


def _cell(value: Any) -> Any:
    return '' if value is None or (isinstance(value, float) and math.isnan(value)) else value


def plain(figures: dict[str, float]) -> dict[str, float | None]:
    """Figures for JSON, which knows no NaN: undefined ones become null."""
    return {key: None if math.isnan(value) else value for key, value in figures.items()}


def as_json(scores: Sequence[Score]) -> dict[str, Any]:
    """Figures by preset as plain ratios; with several folders, that by folder.

    Undefined figures are null. Beside the figures each preset has ``protocol``, its full definition.
    """
    by_folder = {
        str(score.folder.path): {
            protocol.name: plain(score.figures[protocol.name]) | {'protocol': dataclasses.asdict(protocol)}
            for protocol in score.protocols
        }
        for score in scores
    }
    return next(iter(by_folder.values())) if len(scores) == 1 else by_folder
