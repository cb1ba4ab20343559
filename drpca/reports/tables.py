"""Scores as text, Markdown, LaTeX, CSV and JSON; every row names preset, threshold, size, matching rule."""

from __future__ import annotations

import csv
import dataclasses
import io
import math
from collections.abc import Sequence
from typing import Any

from drpca.evaluation.curves import CURVE_FIGURES, FA_BUDGETS, PARTIAL_FA, OperatingPoint, Scale
from drpca.evaluation.functional import ROC_3D
from drpca.evaluation.protocols import Protocol
from drpca.evaluation.target_rows import TargetRow
from drpca.json_file import plain
from drpca.reports.plain_tables import latex_text, markdown_table, text_table
from drpca.results.scoring import ChosenPoint, Score

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
    return number(value, 4) if key in ('AUC', 'partial_auc', *ROC_3D) else number(value * 100)


FIGURES = (*PERCENT, 'Fa', 'AUC', *CURVE_FIGURES, 'images', 'targets')
HEADINGS = {
    **{key: f'{key} %' for key in PERCENT}, 'Fa': 'Fa x1e-6', 'AUC': 'AUC published',
    'partial_auc': f'pAUC Fa<={PARTIAL_FA:g}',
    **{key: f'Pd % Fa<={fa:g}' for key, fa in zip(CURVE_FIGURES[1:], FA_BUDGETS)},
}  # fmt: skip
"""How a column of figures is called."""


def _cells(score: Score) -> list[list[str]]:
    header = [*DEFINITION, *(HEADINGS.get(key, key) for key in FIGURES)]
    rows = [
        [*definition(protocol), *(shown(key, score.figures[protocol.name][key]) for key in FIGURES)]
        for protocol in score.protocols
    ]
    return [header, *rows]


def as_text(score: Score) -> str:
    """The table of one results folder, as printed.

    Below it a line with the errors of an 'opdc' protocol, the 3D-ROC of each size, the thresholds that were chosen for
    a budget, and notes.
    """
    header, *rows = _cells(score)
    lines = [text_table(header, rows, len(DEFINITION))]
    for protocol in score.protocols:
        figures = score.figures[protocol.name]
        if 'hIoU' in figures:
            parts = [f'{key} {number(value * 100)}' for key, value in error_figures(figures).items()]
            lines.append(f'{protocol.name}, %: {", ".join(parts)}')
    lines += roc_3d_lines(score) + chosen_lines(score) + list(score.notes)
    return '\n'.join([f'{title(score)}, maps from {score.folder.kind}/', *lines])


def roc_3d_lines(score: Score) -> list[str]:
    """The 3D-ROC, which no preset changes, at each scoring size."""
    of_size = {protocol.size: score.figures[protocol.name] for protocol in score.protocols}
    return [
        f'3D-ROC, {size_text(size)}: {", ".join(f"{key} {shown(key, figures[key])}" for key in ROC_3D)}'
        for size, figures in of_size.items()
    ]


def threshold_text(point: OperatingPoint, scale: Scale) -> str:
    """A threshold as people read it: 'logit 12.34 (score 1 − 4.4e-06)', 'score 0.4213'."""
    return f'logit {point.logit:.4g} (score {score_text(point)})' if scale == 'logit' else f'score {point.score:.7g}'


def score_text(point: OperatingPoint) -> str:
    """The score of a threshold; near 1 its distance from there."""
    if point.score < 0.999 or math.isinf(point.logit):
        return f'{point.score:.7g}'
    return f'1 − {math.exp(-point.logit) / (1 + math.exp(-point.logit)):.2g}'


def point_cells(point: OperatingPoint) -> dict[str, str]:
    """Figures of a threshold by name and unit."""
    return {
        'Pd %': number(point.pd * 100), 'Fa x1e-6': number(point.fa * 1e6),
        'false alarms per image': number(point.alarms_per_image, 3),
        'per megapixel': number(point.alarms_per_megapixel), 'precision %': number(point.precision * 100),
        'recall %': number(point.recall * 100), 'IoU %': number(point.iou * 100),
    }  # fmt: skip


def chosen_lines(score: Score) -> list[str]:
    """The thresholds that false-alarm budgets led to, what they gave there and what they give here."""
    if not score.chosen or score.threshold_from is None:
        return []
    folder, split = score.threshold_from
    lines = [f'thresholds chosen on {folder.path}, {split.dataset} {split.split}:']
    for size, points in score.chosen.items():
        for chosen in points:
            lead = f'  {chosen.budget.text}, {size_text(size)}: '
            if chosen.validation is None or chosen.test is None:
                lines.append(f'{lead}not reached: wherever anything is predicted there, there are more')
                continue
            lines.append(lead + threshold_text(chosen.validation, score.curves[size].scale))
            for where, point in (('there', chosen.validation), ('here', chosen.test)):
                cells = ', '.join(f'{name} {value}' for name, value in point_cells(point).items())
                lines.append(f'    {where}: {cells}')
    return lines


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


def as_latex(scores: Sequence[Score]) -> str:
    """One LaTeX table of all results folders; needs the package booktabs."""
    columns = 'l' * (len(DEFINITION) + 1) + 'r' * len(FIGURES)
    lines = [rf'\begin{{tabular}}{{{columns}}}', r'\toprule']
    for index, score in enumerate(scores):
        header, *rows = _cells(score)
        if index == 0:
            lines += [' & '.join(map(latex_text, ['results', *header])) + r' \\']
        lines += [r'\midrule']
        lines += [' & '.join(map(latex_text, [title(score), *row])) + r' \\' for row in rows]
    return '\n'.join([*lines, r'\bottomrule', r'\end{tabular}']) + '\n'


def as_csv(scores: Sequence[Score]) -> str:
    """One line per results folder and protocol, figures as plain ratios, undefined ones empty."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator='\n')
    errors = sorted({key for s in scores for f in s.figures.values() for key in error_figures(f)})
    columns = ['results', 'dataset', 'split', *DEFINITION, 'false alarms', *FIGURES, *ROC_3D, *errors]
    writer.writerow(columns)
    for score in scores:
        for protocol in score.protocols:
            figures = score.figures[protocol.name]
            writer.writerow(
                [str(score.folder.path), score.split.dataset, score.split.split, *definition(protocol)]
                + [protocol.false_alarm_text]
                + [_cell(figures.get(key)) for key in (*FIGURES, *ROC_3D, *errors)]
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


def as_json(scores: Sequence[Score]) -> dict[str, Any]:
    """Figures by preset as plain ratios; with several folders, that by folder.

    Undefined figures are null. Beside the figures each preset has ``protocol``, its full definition; ``chosen``, where
    thresholds were chosen for a false-alarm budget; and ``notes``, where figures are undefined for a reason.
    """
    by_folder = {
        str(score.folder.path): {
            protocol.name: plain(score.figures[protocol.name])
            | {'protocol': dataclasses.asdict(protocol)}
            | ({'chosen': _chosen_json(score.chosen[protocol.size])} if score.chosen else {})
            | ({'notes': list(score.notes)} if score.notes else {})
            for protocol in score.protocols
        }
        for score in scores
    }
    return next(iter(by_folder.values())) if len(scores) == 1 else by_folder


def _chosen_json(points: Sequence[ChosenPoint]) -> list[dict[str, Any]]:
    return [
        {
            'budget': dataclasses.asdict(chosen.budget),
            'validation': None if chosen.validation is None else plain(dataclasses.asdict(chosen.validation)),
            'test': None if chosen.test is None else plain(dataclasses.asdict(chosen.test)),
        }
        for chosen in points
    ]
