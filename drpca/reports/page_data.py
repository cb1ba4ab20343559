"""What the script of a report draws from: numbers and names as JSON, compressed, in letters that end no script."""

from __future__ import annotations

import base64
import gzip
import json
import math
from collections.abc import Sequence
from typing import Any, get_args

import numpy as np

from drpca.evaluation import functional
from drpca.evaluation.curves import Curve, OperatingPoint
from drpca.evaluation.functional import pixel_scores
from drpca.evaluation.protocols import Protocol
from drpca.evaluation.target_rows import DetectionRow, Verdict
from drpca.reports import tables
from drpca.reports.pictures import image_keys
from drpca.reports.sequences import sequence_data
from drpca.results.scoring import Score

VERDICTS = get_args(Verdict)
DETECTIONS = 50
"""Detections listed of an image, hits first, then the largest; of what is left out the number is given."""
POINTS = 1500
"""Steps along each side of a chart that points are told apart by."""
TARGET_COLUMNS = ('row', 'column', 'area', 'snr', 'score', 'logit', 'hit', 'off_centre')
DETECTION_COLUMNS = ('row', 'column', 'area', 'score', 'logit', 'is_false', 'verdict')


def packed(content: bytes) -> str:
    """Gzip as base64; what is unpacked is the same, and the same content gives the same text."""
    return base64.b64encode(gzip.compress(content, 6, mtime=0)).decode()


def pack_json(content: Any) -> str:
    """:func:`packed` JSON."""
    return packed(json.dumps(content, separators=(',', ':'), allow_nan=False).encode())


def page_data(scores: Sequence[Score], names: Sequence[str]) -> dict[str, Any]:
    """All that the charts, galleries, tables of images and the viewer show.

    Args:
        scores: Results folders scored with ``analyse=True`` under the same protocols.
        names: Of the folders.

    Returns:
        ``methods``; ``presets``, a dict each; ``images``, (name, data set and split) each; ``sequences``, a dict each;
        ``results``, by preset and method; ``curves``, by scoring size and method; ``verdicts`` and the columns of
        targets and detections.
        Numbers are rounded to five digits; those undefined are null, infinite ones ±1e308.
    """
    keys = image_keys(scores)
    number = {key: index for index, key in enumerate(keys)}
    protocols = scores[0].protocols
    return {
        'methods': list(names),
        'presets': [
            {'name': p.name, 'words': ', '.join(tables.definition(p)[1:]), 'size': p.size or 0, 'curves': str(p.size)}
            for p in protocols
        ],
        'images': [(name, f'{dataset} {split}') for dataset, split, name in keys],
        'sequences': sequence_data(scores, number),
        'verdicts': VERDICTS,
        'target_columns': TARGET_COLUMNS,
        'detection_columns': DETECTION_COLUMNS,
        'results': [[_results(score, protocol, number) for score in scores] for protocol in protocols],
        'curves': {
            str(size): [_curve(score, size) for score in scores] for size in dict.fromkeys(p.size for p in protocols)
        },
    }  # fmt: skip


def _results(score: Score, protocol: Protocol, number: dict[tuple[str, str, str], int]) -> dict[str, Any]:
    of = score.split.dataset, score.split.split
    images: dict[int, dict[str, Any]] = {}
    for record in score.records[protocol.name]:
        counts = record.counts[protocol.name]
        images[number[of + (record.name,)]] = {
            'iou': _number(pixel_scores(counts.tp, counts.fp, counts.fn)['IoU']), 'targets': counts.targets,
            'misses': counts.targets - counts.hits, 'false': counts.false_pixels,
        }  # fmt: skip
    analysis = score.analyses[protocol.name]
    found: dict[str, list[DetectionRow]] = {}
    for row in analysis.detections:
        found.setdefault(row.image, []).append(row)
    for name, rows in found.items():
        kept = sorted(rows, key=lambda row: (row.verdict != 'hit', -row.area))[:DETECTIONS]
        image = images[number[of + (name,)]]
        image['detections'] = [[*_cells(row, DETECTION_COLUMNS[:-1]), VERDICTS.index(row.verdict)] for row in kept]
        image['left_out'] = len(rows) - len(kept)
        image['alarms'] = sum(row.is_false for row in rows)
    for target in analysis.targets:
        images[number[of + (target.image,)]].setdefault('rows', []).append(_cells(target, TARGET_COLUMNS))
    curve = score.curves.get(protocol.size)
    own: dict[str, Any] | None = None
    if curve is not None and protocol.binarisation == 'fixed':
        point = own_point(protocol, curve)
        own = {'text': words(point, curve)} | {
            k: _number(getattr(point, k)) for k in ('fa', 'pd', 'recall', 'precision')
        }
    return {'images': images, 'own': own}


def _curve(score: Score, size: int | None) -> dict[str, Any] | None:
    """Points of the charts; None of 8-bit maps and without targets."""
    curve = score.curves.get(size)
    if curve is None or not curve.targets or not len(curve.values):
        return None
    best = curve.best()
    gains = np.flatnonzero(np.diff(curve.tp, prepend=0) > 0)
    gains = gains[_apart(curve.recall[gains], curve.precision[gains])]
    swept = _apart(curve.thresholds, curve.f1)
    threshold, f1 = curve.best_f1()
    protocol = next(p for p in score.protocols if p.size == size)
    counts = sum((record.roc for record in score.records[protocol.name]), functional.RocCounts.zero())
    fa, pd = functional.roc(counts)
    return {
        'scale': curve.scale,
        'free_response': {
            'fa': _numbers(curve.fa[best]), 'pd': _numbers(curve.pd[best]),
            'text': [words(curve.at(curve.thresholds[i]), curve) for i in best],
        },
        'precision_recall': {
            'recall': _numbers(curve.recall[gains]), 'precision': _numbers(curve.precision[gains]),
            'threshold': _numbers(curve.thresholds[gains]),
        },
        'sweep': {
            'threshold': _numbers(curve.thresholds[swept]), 'f1': _numbers(curve.f1[swept]),
            'best': [_number(threshold), _number(f1), tables.threshold_text(curve.at(threshold), curve.scale)],
        },
        'published_roc': {'fa': _numbers(fa), 'pd': _numbers(pd)},
    }  # fmt: skip


def _apart(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Indices of the points that lie in another cell of a fine grid than the one before; the first and the last do."""
    cells = np.stack([_place(values) for values in (x, y)])
    moved = (np.diff(cells, prepend=-1) != 0).any(axis=0)
    moved[-1:] = True
    return np.flatnonzero(moved)


def _place(values: np.ndarray) -> np.ndarray:
    """0 to ``POINTS`` along their range."""
    low, high = float(np.min(values)), float(np.max(values))
    return np.floor((values - low) * (POINTS / (high - low) if high > low else 0))


def own_point(protocol: Protocol, curve: Curve) -> OperatingPoint:
    """What the threshold of a protocol with fixed binarisation gives."""
    threshold = protocol.threshold
    if curve.scale == 'logit':
        threshold = math.log(threshold / (1 - threshold)) if threshold else -math.inf
    return curve.at(max(threshold, curve.lowest))


def words(point: OperatingPoint, curve: Curve) -> str:
    """A threshold and what it gives."""
    cells = ', '.join(f'{name} {value}' for name, value in tables.point_cells(point).items())
    return f'{tables.threshold_text(point, curve.scale)}: {cells}'


def _cells(row: Any, columns: Sequence[str]) -> list[Any]:
    return [_number(getattr(row, column)) for column in columns]


def _numbers(values: np.ndarray) -> list[float | int | None]:
    return [_number(value) for value in values.tolist()]


def _number(value: float | int | bool) -> float | int | None:
    if isinstance(value, (bool, int)):
        return int(value)
    if math.isnan(value):
        return None
    return float(f'{value:.5g}') if math.isfinite(value) else math.copysign(1e308, value)
