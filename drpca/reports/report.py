"""One self-contained HTML page about one or more scored results folders.

The page needs no network and no other file: styles, scripts, Plotly, numbers and pictures are inside. Every number
stands beside its preset, threshold, size and matching rule; a chooser sets the preset of curves, cases, images, viewer.
"""

from __future__ import annotations

import importlib.resources
import json
import math
from collections.abc import Sequence
from datetime import datetime, timezone
from functools import cache, reduce
from typing import Any

import jinja2
import numpy as np

from drpca.evaluation import bootstrap, functional
from drpca.evaluation import target_rows as T
from drpca.evaluation.curves import FA_BUDGETS, Budget, OperatingPoint
from drpca.evaluation.metrics import ImageRecord
from drpca.evaluation.protocols import Protocol
from drpca.reports import tables
from drpca.reports.methods import method_names, page_title, provenance, utc_text
from drpca.reports.page_data import own_point, pack_json, packed, page_data
from drpca.reports.pictures import QUALITY, SIDE, Pictures, choose_pictures, stage_gallery
from drpca.results.scoring import Score
from drpca.version import __version__

BUDGET = 14_000_000
"""Bytes of a page at which its pictures end; its tables and numbers have no limit."""

_FIGURES = tables.FIGURES[: tables.FIGURES.index('images')]
_TYPESET = {'x1e': '×1e', '<=': '\u00a0≤\u00a0', ' %': '\u00a0%', 'e-': 'e-\u2060'}
_HEADINGS = {
    key: reduce(lambda text, pair: text.replace(*pair), _TYPESET.items(), text) for key, text in tables.HEADINGS.items()
}


def render_report(scores: Sequence[Score], budget: int = BUDGET) -> str:
    """The page as text.

    Args:
        scores: Results folders scored with ``analyse=True`` under the same protocols; the first is the one
            that the others are compared with.
        budget: Bytes of the page at which pictures end; tables and numbers have no limit. The worst image of each
            folder under each preset has a picture anyhow.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader('drpca.reports', '.'),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    names, protocols = method_names(scores), scores[0].protocols
    content = {
        'version': __version__,
        'date': utc_text(datetime.now(timezone.utc)),
        'title': page_title(scores, names),
        'names': names,
        'provenance': provenance(scores),
        'presets': [(p.name, ', '.join(tables.definition(p)[1:]), p.false_alarm_text, p.source) for p in protocols],
        'columns': _FIGURES,
        'headings': _HEADINGS,
        'summary': [_summary(scores, names, protocol) for protocol in protocols],
        'notes': [f'{name}: {note}' for name, score in zip(names, scores) for note in score.notes],
        'differences': _differences(scores, names),
        'seeds': _seeds(scores),
        'sequences': any(score.split.sequences for score in scores),
        'has_curves': any(score.curves for score in scores),
        'aucs': [[tables.number(score.figures[p.name]['AUC'], 4) for score in scores] for p in protocols],
        'threshold_header': list(tables.point_cells(_NOTHING)),
        'thresholds': [[_thresholds(*pair, protocol) for pair in zip(scores, names)] for protocol in protocols],
        'roc_3d': _roc_3d(scores, names),
        'breakdowns': [[_breakdown(*pair, protocol) for pair in zip(scores, names)] for protocol in protocols],
        'stages': [shown for score, name in zip(scores, names) if (shown := stage_gallery(score, name)) is not None],
        'data': pack_json(page_data(scores, names)),
        'plotly': _plotly(),
        'style': _source(environment, 'report.css'),
        'script': _source(environment, 'report.js'),
    }
    template = environment.get_template('report.html.j2')
    empty = template.render(content, pictures='', pictures_note='')
    pictures = choose_pictures(scores, budget - len(empty.encode()))
    text = json.dumps(pictures.of, separators=(',', ':'))  # digits and base64 alone
    return template.render(content, pictures=text, pictures_note=_pictures_note(pictures, budget))


@cache
def _plotly() -> str:
    return packed(importlib.resources.files('plotly').joinpath('package_data/plotly.min.js').read_bytes())


def _source(environment: jinja2.Environment, name: str) -> str:
    """A file beside the template as it is."""
    assert environment.loader is not None
    return environment.loader.get_source(environment, name)[0]


def _pictures_note(pictures: Pictures, budget: int) -> str:
    """Which images have pictures, and what their values are."""
    shown = len(pictures.of)
    frames = 'lossless' if pictures.is_exact else f'WebP of quality {QUALITY}, at most {pictures.error} levels off'
    parts = ['Every image has a picture.']
    if shown < pictures.images:
        parts = [
            f'{shown} of {pictures.images} images have pictures, {pictures.bytes / 1e6:.1f} MB: they end where the '
            f'page has {budget / 1e6:g} MB.',
            'First come the worst image of each method under each preset, then in turn the next worst, the most '
            'visible misses and the largest false alarms of each, and frames spread evenly over each sequence, last '
            'images without a fault.',
        ]
    parts.append(f'Frames are {frames}; maps and masks are exact to 1/255, at most {SIDE} pixels a side.')
    return ' '.join(parts)


# Tables


def _summary(scores: Sequence[Score], names: Sequence[str], protocol: Protocol) -> list[dict[str, Any]]:
    """A row per folder; the best figure of several is marked."""
    figures = [score.figures[protocol.name] for score in scores]
    best = {key: _best(key, [f[key] for f in figures]) for key in _FIGURES}
    return [
        {
            'name': name,
            'figures': [(text, text == best[key]) for key in _FIGURES for text in [tables.shown(key, of[key])]],
            'targets': of['targets'],
            'errors': [(key, tables.number(value * 100)) for key, value in tables.error_figures(of).items()],
        }
        for name, of in zip(names, figures)
    ]


def _best(key: str, values: Sequence[float]) -> str:
    """The best one as it is shown; '' where all are shown alike, and of the published AUC.

    Its straight lines between few points favour maps of many levels, noise included.
    """
    if key == 'AUC' or len({tables.shown(key, value) for value in values}) < 2:
        return ''
    return tables.shown(key, float((np.nanmin if key == 'Fa' else np.nanmax)(values)))


def _differences(scores: Sequence[Score], names: Sequence[str]) -> list[dict[str, Any]]:
    """Each folder against the first one, where the images are the same."""
    first, rows = scores[0], []
    for score, name in zip(scores[1:], names[1:]):
        for protocol in score.protocols:
            records, others = first.records[protocol.name], score.records[protocol.name]
            same = first.split.dataset == score.split.dataset and _names(records) == _names(others)
            cells = _difference_cells(records, others, protocol.name) if same else None
            rows.append({'name': name, 'definition': tables.definition(protocol), 'cells': cells})
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
        mark = ('better' if better else 'worse') if difference.clear else ''
        cells.append(
            {
                'text': f'{value:+.2f}' if math.isfinite(value) else '-',
                'interval': f'{low:+.2f} … {high:+.2f}{f", {mark}" * bool(mark)}' if math.isfinite(low) else '',
                'mark': mark,
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


def _thresholds(score: Score, name: str, protocol: Protocol) -> dict[str, Any]:
    """Thresholds to choose from: what each budget leads to, on these images and as chosen elsewhere."""
    curve = score.curves.get(protocol.size)
    rows: list[tuple[str, OperatingPoint | None]] = []
    if curve is not None and curve.targets and len(curve.values):
        for budget in (*map(Budget, FA_BUDGETS), Budget(0.1, 'image'), Budget(1, 'image')):
            threshold = curve.threshold_for(budget, spend=False)
            rows.append((budget.text, None if threshold is None else curve.at(threshold)))
        rows.append(('highest pixel F1', curve.at(curve.best_f1()[0])))
        if protocol.binarisation == 'fixed':
            rows.append((f'of the preset, {protocol.threshold_text}', own_point(protocol, curve)))
        for chosen in score.chosen.get(protocol.size, []):
            rows.append((f'{chosen.budget.text} on {score.threshold_from[0].path}', chosen.test))  # type: ignore[index]
    return {
        'name': name,
        'scale': '' if curve is None else curve.scale,
        'rows': [(text, _point_cells(point)) for text, point in rows],
    }


_NOTHING = OperatingPoint(*[math.nan] * 10)


def _point_cells(point: OperatingPoint | None) -> list[str] | None:
    """Logit, score and figures; None for a threshold that there is not."""
    if point is None:
        return None
    logit = f'{point.logit:.4g}' if math.isfinite(point.logit) else '-'
    return [logit, tables.score_text(point), *tables.point_cells(point).values()]


def _roc_3d(scores: Sequence[Score], names: Sequence[str]) -> dict[str, Any]:
    """Figures of the 3D-ROC, of each folder at each size."""
    rows = []
    for score, name in zip(scores, names):
        of_size = {protocol.size: score.figures[protocol.name] for protocol in score.protocols}
        for size, figures in of_size.items():
            cells = [tables.shown(key, figures[key]) for key in functional.ROC_3D]
            rows.append((name, tables.size_text(size), cells))
    return {'header': functional.ROC_3D, 'rows': rows}


def _breakdown(score: Score, name: str, protocol: Protocol) -> dict[str, Any]:
    curve, analysis = score.curves.get(protocol.size), score.analyses[protocol.name]
    clutter = T.clutter_summary(analysis.targets)
    errors = [row.centroid_error for row in analysis.targets if row.hit]
    return {
        'name': name,
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
