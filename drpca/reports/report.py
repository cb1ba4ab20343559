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
from drpca.evaluation.curves import CurveCounts
from drpca.evaluation.functional import pixel_scores
from drpca.evaluation.metrics import ImageRecord
from drpca.reports import tables
from drpca.reports.gallery import gallery, stage_gallery
from drpca.reports.svg_charts import Axis, Line, legend_style, line_chart, log_axis
from drpca.results.scoring import Score, ScoreAnalysis
from drpca.version import __version__

_FIGURES = (*tables.PERCENT, 'Fa', 'AUC')
_UNITS = {**dict.fromkeys(tables.PERCENT, '%'), 'Fa': '×1e-6'}


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
        units=_UNITS,
        summary=[_summary(score) for score in scores],
        differences=_differences(scores),
        seeds=_seeds(scores),
        charts=_charts(scores, analyses),
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


def _breakdown(score: Score, analysis: ScoreAnalysis) -> dict[str, Any]:
    clutter = T.clutter_summary(analysis.targets)
    errors = [row.centroid_error for row in analysis.targets if row.hit]
    return {
        'name': str(score.folder.path),
        'area': _bins(T.breakdown(analysis.targets, 'area', T.AREA_EDGES)),
        'snr': _bins(T.breakdown(analysis.targets, 'snr', T.SNR_EDGES)),
        'clutter': {key: tables.number(value) for key, value in clutter.items()},
        'centroid_error': tables.number(float(np.mean(errors))) if errors else '-',
        'average_precision': tables.number(analysis.curves.average_precision() * 100),
        'pd_at': [(f'{fa:.0e}', tables.number(analysis.curves.pd_at(fa) * 100)) for fa in (1e-6, 1e-5, 1e-4)],
    }


def _bins(bins: list[T.Bin]) -> list[tuple[str, int, str]]:
    def text(part: T.Bin) -> str:
        return f'{part.low:g} and more' if math.isinf(part.high) else f'{part.low:g} to {part.high:g}'

    return [(text(part), part.targets, tables.number(part.pd * 100)) for part in bins]


# Curves


def _charts(scores: Sequence[Score], analyses: Sequence[ScoreAnalysis]) -> list[dict[str, str]]:
    froc, precision_recall, sweep, published = [], [], [], []
    for style, (score, analysis) in enumerate(zip(scores, analyses)):
        name, curves = str(score.folder.path), analysis.curves
        mark = _own_threshold(analysis)
        froc.append(Line(name, curves.fa, curves.pd, style, *mark))
        precision_recall.append(Line(name, curves.recall, curves.precision, style, *mark))
        sweep.append(Line(name, curves.thresholds, curves.f1, style, *_best(curves, name)))
        published.append(Line(name, *functional.roc(analysis.roc), style))
    rates, published_rates = ([line.x for line in lines] for lines in (froc, published))
    marked = any(line.mark is not None for line in froc)
    dot = f' The dot is threshold {analyses[0].protocol.threshold:g}.' if marked else ''
    rate = 'false-alarm rate over the background'
    return [
        {
            'title': 'Free response',
            'note': 'Pd against Fa over fixed thresholds: components matched by centroid < 3 px, Fa the area '
            'of unmatched ones over all pixels. Fa of 0 is drawn at the left edge.' + dot,
            'svg': line_chart('Free response', froc, log_axis('Fa', rates), Axis('Pd')),
        },
        {
            'title': 'Precision and recall',
            'note': 'Pixels, over fixed thresholds.' + dot,
            'svg': line_chart('Precision and recall', precision_recall, Axis('recall'), Axis('precision')),
        },
        {
            'title': 'Threshold',
            'note': 'Pixel F1 against the fixed threshold. The dot is the best one on these very images: it '
            'flatters; choose a threshold on a validation split with --threshold-from.',
            'svg': line_chart('Threshold', sweep, Axis('threshold'), Axis('F1')),
        },
        {
            'title': 'Published ROC',
            'note': 'Each map divided by its maximum, 201 thresholds, any overlap against background pixels, '
            'images without targets skipped; AUC '
            + ', '.join(f'{functional.roc_auc(a.roc):.4f}' for a in analyses)
            + '. Not comparable with the free-response curve.',
            'svg': line_chart('Published ROC', published, log_axis(rate, published_rates), Axis('Pd')),
        },
    ]


def _own_threshold(analysis: ScoreAnalysis) -> tuple[int | None, str]:
    """The point of the curves that the figures stand for: none if the maps were normalised."""
    threshold = analysis.protocol.threshold
    if analysis.protocol.binarisation == 'max':
        return None, ''
    return int(np.argmin(np.abs(analysis.curves.thresholds - threshold))), f'threshold {threshold:g}'


def _best(curves: CurveCounts, name: str) -> tuple[int | None, str]:
    if curves.target_pixels == 0:
        return None, ''
    threshold, f1 = curves.best_f1()
    index = int(np.flatnonzero(curves.thresholds == threshold)[0])
    return index, f'{name}: F1 {f1 * 100:.2f} % at {threshold:g}'
