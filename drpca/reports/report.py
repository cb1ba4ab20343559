"""One self-contained HTML page about one or more scored results folders.

The page needs no network and no other file: style, script and images are inside. Curves, rows and pictures
are those of the first protocol; every number stands beside its preset, threshold, size and matching rule.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import jinja2
import numpy as np

from drpca.evaluation import bootstrap, functional
from drpca.evaluation import target_rows as T
from drpca.evaluation.curves import FA_BUDGETS, Budget, Curve, OperatingPoint
from drpca.evaluation.functional import pixel_scores
from drpca.evaluation.metrics import ImageRecord
from drpca.reports import tables
from drpca.reports.gallery import gallery, stage_gallery
from drpca.reports.svg_charts import Axis, Line, legend_style, line_chart, linear_axis, log_axis
from drpca.results.scoring import Score, ScoreAnalysis
from drpca.version import __version__

_FIGURES = tables.FIGURES[: tables.FIGURES.index('images')]
_HEADINGS = {key: text.replace('x1e', '×1e').replace('<=', ' ≤ ') for key, text in tables.HEADINGS.items()}


def render_report(scores: Sequence[Score]) -> str:
    """The page as text.

    Args:
        scores: Results folders scored with ``analyse=True`` under the same protocols; the first is the one
            that the others are compared with.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader('drpca.reports', '.'),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    analyses = [score.analysis for score in scores if score.analysis is not None]
    return environment.get_template('report.html.j2').render(
        version=__version__,
        protocols=[(p.name, p.false_alarm_text, p.source) for p in scores[0].protocols],
        definition=dict(zip(tables.DEFINITION, tables.definition(scores[0].protocols[0]))),
        columns=_FIGURES,
        headings=_HEADINGS,
        summary=[_summary(score) for score in scores],
        differences=_differences(scores),
        seeds=_seeds(scores),
        charts=_charts(scores, analyses),
        thresholds=[_thresholds(score) for score in scores],
        roc_3d=_roc_3d(scores),
        legend=[(legend_style(i), str(score.folder.path)) for i, score in enumerate(scores)],
        breakdowns=[_breakdown(score, analysis) for score, analysis in zip(scores, analyses)],
        galleries=[gallery(score, analysis) for score, analysis in zip(scores, analyses)],
        stages=[shown for score in scores if (shown := stage_gallery(score)) is not None],
        images=[row for score in scores for row in _image_rows(score)],
    )


# Tables


def _shown(figures: dict[str, float]) -> list[str]:
    return [tables.shown(key, figures[key]) for key in _FIGURES]


def _summary(score: Score) -> dict[str, Any]:
    return {
        'title': tables.title(score),
        'kind': score.folder.kind,
        'images': len(next(iter(score.records.values()))),
        'of': len(score.split),
        'notes': score.notes,
        'rows': [
            {
                'definition': tables.definition(protocol),
                'figures': _shown(score.figures[protocol.name]),
                'targets': score.figures[protocol.name]['targets'],
                'errors': [
                    (key, tables.number(value * 100))
                    for key, value in tables.error_figures(score.figures[protocol.name]).items()
                ],
            }
            for protocol in score.protocols
        ],
    }


def _differences(scores: Sequence[Score]) -> list[dict[str, Any]]:
    """Each folder against the first one, where the images are the same."""
    first, rows = scores[0], []
    for score in scores[1:]:
        for protocol in score.protocols:
            records, others = first.records[protocol.name], score.records[protocol.name]
            same = first.split.dataset == score.split.dataset and _names(records) == _names(others)
            cells = _difference_cells(records, others, protocol.name) if same else None
            rows.append({'name': str(score.folder.path), 'definition': tables.definition(protocol), 'cells': cells})
    return rows


def _names(records: Sequence[ImageRecord]) -> list[str]:
    return sorted(record.name for record in records)


def _difference_cells(
    first: Sequence[ImageRecord], second: Sequence[ImageRecord], protocol: str
) -> list[dict[str, Any]]:
    cells = []
    for key, difference in bootstrap.paired_bootstrap(first, second, protocol).items():
        factor = 1e6 if key == 'Fa' else 100
        better = (difference.value < 0) == (key == 'Fa')
        value, low, high = (v * factor for v in (difference.value, difference.low, difference.high))
        cells.append(
            {
                'text': f'{value:+.2f}' if math.isfinite(value) else '-',
                'interval': f'{low:+.2f} … {high:+.2f}' if math.isfinite(low) else '',
                'mark': ('better' if better else 'worse') if difference.clear else '',
            }
        )
    return cells


def _seeds(scores: Sequence[Score]) -> list[dict[str, Any]]:
    """Mean and deviation over folders whose names differ in the seed alone."""
    groups: dict[tuple[str, str, str], list[Score]] = {}
    for score in scores:
        key = (bootstrap.seed_group(str(score.folder.path)), score.split.dataset, score.split.split)
        groups.setdefault(key, []).append(score)
    rows = []
    for (name, *_), members in groups.items():
        for protocol in members[0].protocols if len(members) > 1 else ():
            spread = functional.mean_and_deviation([member.figures[protocol.name] for member in members])
            cells = [' ± '.join(tables.shown(key, value) for value in spread[key]) for key in _FIGURES]
            rows.append({'name': name, 'runs': len(members), 'definition': tables.definition(protocol), 'cells': cells})
    return rows


def _image_rows(score: Score) -> list[dict[str, Any]]:
    protocol = score.protocols[0]
    rows = []
    for record in score.records[protocol.name]:
        counts = record.counts[protocol.name]
        iou = pixel_scores(counts.tp, counts.fp, counts.fn)['IoU']
        rows.append(
            {
                'results': str(score.folder.path),
                'name': record.name,
                'iou': None if math.isnan(iou) else iou * 100,
                'targets': counts.targets,
                'misses': counts.targets - counts.hits,
                'false_pixels': counts.false_pixels,
            }
        )
    return rows


def _thresholds(score: Score) -> dict[str, Any]:
    """Thresholds to choose from: what each budget leads to, on these images and as chosen elsewhere."""
    protocol, curve = score.protocols[0], score.curves.get(score.protocols[0].size)
    rows: list[tuple[str, OperatingPoint | None]] = []
    if curve is not None and curve.targets and len(curve.values):
        for budget in (*map(Budget, FA_BUDGETS), Budget(0.1, 'image'), Budget(1, 'image')):
            threshold = curve.threshold_for(budget)
            rows.append((budget.text, None if threshold is None else curve.at(threshold)))
        rows.append(('highest pixel F1', curve.at(curve.best_f1()[0])))
        if protocol.binarisation == 'fixed':
            rows.append((f'of the preset, {protocol.threshold_text}', _own_point(score, curve)))
        for chosen in score.chosen.get(protocol.size, []):
            rows.append((f'{chosen.budget.text} on {score.threshold_from[0].path}', chosen.test))  # type: ignore[index]
    return {
        'name': str(score.folder.path),
        'scale': '' if curve is None else curve.scale,
        'header': list(tables.point_cells(_NOTHING)),
        'rows': [(text, _point_cells(point)) for text, point in rows],
    }


_NOTHING = OperatingPoint(*[math.nan] * 10)


def _point_cells(point: OperatingPoint | None) -> list[str] | None:
    """Logit, score and figures; None for a threshold that there is not."""
    if point is None:
        return None
    logit = f'{point.logit:.4g}' if math.isfinite(point.logit) else '-'
    return [logit, tables.score_text(point), *tables.point_cells(point).values()]


def _own_point(score: Score, curve: Curve) -> OperatingPoint:
    """What the threshold of the first protocol gives."""
    threshold = score.protocols[0].threshold
    if curve.scale == 'logit':
        threshold = math.log(threshold / (1 - threshold)) if threshold else -math.inf
    return curve.at(max(threshold, curve.lowest))


def _roc_3d(scores: Sequence[Score]) -> dict[str, Any]:
    """Figures of the 3D-ROC, of each folder at each size."""
    rows = []
    for score in scores:
        of_size = {protocol.size: score.figures[protocol.name] for protocol in score.protocols}
        for size, figures in of_size.items():
            cells = [tables.shown(key, figures[key]) for key in functional.ROC_3D]
            rows.append((str(score.folder.path), tables.size_text(size), cells))
    return {'header': functional.ROC_3D, 'rows': rows}


def _breakdown(score: Score, analysis: ScoreAnalysis) -> dict[str, Any]:
    curve = score.curves.get(score.protocols[0].size)
    clutter = T.clutter_summary(analysis.targets)
    errors = [row.centroid_error for row in analysis.targets if row.hit]
    return {
        'name': str(score.folder.path),
        'area': _bins(T.breakdown(analysis.targets, 'area', T.AREA_EDGES)),
        'snr': _bins(T.breakdown(analysis.targets, 'snr', T.SNR_EDGES)),
        'clutter': {key: tables.number(value) for key, value in clutter.items()},
        'centroid_error': tables.number(float(np.mean(errors))) if errors else '-',
        'average_precision': '-' if curve is None else tables.number(curve.average_precision() * 100),
    }


def _bins(bins: list[T.Bin]) -> list[tuple[str, int, str]]:
    def text(part: T.Bin) -> str:
        return f'{part.low:g} and more' if math.isinf(part.high) else f'{part.low:g} to {part.high:g}'

    return [(text(part), part.targets, tables.number(part.pd * 100)) for part in bins]


# Curves


def _charts(scores: Sequence[Score], analyses: Sequence[ScoreAnalysis]) -> list[dict[str, str]]:
    froc, precision_recall, published = [], [], []
    sweeps: dict[str, list[Line]] = {'logit': [], 'score': []}
    for style, (score, analysis) in enumerate(zip(scores, analyses)):
        name, curve = str(score.folder.path), score.curves.get(score.protocols[0].size)
        if curve is None:
            continue
        own = _own_point(score, curve) if analysis.protocol.binarisation == 'fixed' else None
        mark = '' if own is None else f'{name}: {_words(own, curve)}'
        best = curve.best()
        labels = [f'{name}: {_words(curve.at(curve.thresholds[i]), curve)}' for i in best]
        place = None if own is None else (own.fa, own.pd)
        froc.append(Line(name, curve.fa[best], curve.pd[best], style, place, mark, 'after', labels))
        gains = np.flatnonzero(np.diff(curve.tp, prepend=0) > 0)
        place = None if own is None else (own.recall, own.precision)
        recall, precision = curve.recall[gains], curve.precision[gains]
        precision_recall.append(Line(name, recall, precision, style, place, mark, 'before', ['']))
        sweeps[curve.scale].append(Line(name, curve.thresholds, curve.f1, style, *_best(curve, name), labels=['']))
        published.append(Line(name, *functional.roc(_roc(score)), style, labels=['']))
    if not froc:
        return []
    marked = any(line.mark is not None for line in froc)
    dot = f' The large dot is threshold {analyses[0].protocol.threshold:g}.' if marked else ''
    rate = 'false-alarm rate over the background'
    axes = {'logit': linear_axis('threshold, logit', [line.x[line.y > 0.01] for line in sweeps['logit']])}
    return [
        {
            'title': 'Free response',
            'note': 'The highest Pd that can be had within a Fa; every dot is a threshold, named where the pointer '
            'rests. Components matched by centroid < 3 px, Fa the area of unmatched ones over all pixels. Fa of 0 is '
            'drawn at the left edge.' + dot,
            'svg': line_chart('Free response', froc, log_axis('Fa', [line.x for line in froc]), Axis('Pd')),
        },
        {
            'title': 'Precision and recall',
            'note': 'Pixels, at every value at which a target pixel is gained.' + dot,
            'svg': line_chart('Precision and recall', precision_recall, Axis('recall'), Axis('precision')),
        },
        *(
            {
                'title': f'Threshold, {scale}',
                'note': 'Pixel F1 against the threshold; the score is 1 / (1 + exp(−logit)), 0.5 at 0. The large dot '
                'is the best one on these very images: it flatters; choose a threshold on a validation split with '
                '--threshold-from.',
                'svg': line_chart('Threshold', lines, axes.get(scale, Axis('threshold, score')), Axis('F1')),
            }
            for scale, lines in sweeps.items()
            if lines
        ),
        {
            'title': 'Published ROC',
            'note': 'Each map divided by its maximum, 201 thresholds, any overlap against background pixels, '
            'images without targets skipped, joined by straight lines; AUC '
            + ', '.join(tables.number(score.figures[score.protocols[0].name]['AUC'], 4) for score in scores)
            + '. Not comparable with the free-response curve; of a confident network the lines join two points.',
            'svg': line_chart('Published ROC', published, log_axis(rate, [line.x for line in published]), Axis('Pd')),
        },
    ]


def _roc(score: Score) -> functional.RocCounts:
    return sum((record.roc for record in score.records[score.protocols[0].name]), functional.RocCounts.zero())


def _words(point: OperatingPoint, curve: Curve) -> str:
    cells = ', '.join(f'{name} {value}' for name, value in tables.point_cells(point).items())
    return f'{tables.threshold_text(point, curve.scale)}: {cells}'


def _best(curve: Curve, name: str) -> tuple[tuple[float, float] | None, str]:
    if curve.target_pixels == 0 or not len(curve.values):
        return None, ''
    threshold, f1 = curve.best_f1()
    point = curve.at(threshold)
    return (threshold, f1), f'{name}: F1 {f1 * 100:.2f} % at {tables.threshold_text(point, curve.scale)}'
