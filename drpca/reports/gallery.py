"""Pictures of misses and false alarms for the report, as data URIs."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from drpca.datasets.io import read_colours, resize_image, to_unit
from drpca.evaluation.metrics import ImageCase
from drpca.evaluation.target_rows import DetectionRow, TargetRow
from drpca.options import STAGES_FOLDER
from drpca.reports.tables import number
from drpca.results import stage_pictures as stages
from drpca.results.scoring import Case, Score, ScoreAnalysis
from drpca.visualization.panels import outline, side_by_side

STAGE_PICTURES = 4
"""Pictures of the stages shown of each folder."""
WORST = 8
"""Misses and false alarms shown of each folder."""

_CROP = 24
_PICTURE = 300


@dataclass(frozen=True)
class _Event:
    """A miss or a false alarm to show."""

    image: str
    row: float
    column: float
    text: str


def gallery(score: Score, analysis: ScoreAnalysis) -> dict[str, Any]:
    """The misses with the highest local SNR and the false alarms with the highest logits, or scores.

    Args:
        score: A results folder.
        analysis: Its analysis.

    Returns:
        ``name`` of the folder; ``misses`` and ``alarms``, each a list of dicts with ``image``, ``text`` and
        the data URIs ``frame`` and ``zoom``; ``counts`` of all misses and false alarms.
    """
    misses = sorted((r for r in analysis.targets if not r.hit), key=lambda r: -np.nan_to_num(r.snr))
    alarms = sorted(analysis.false_alarms, key=lambda r: (-np.nan_to_num(r.logit), -r.score, -r.area))
    shown = [alarm for alarm in alarms if alarm.image not in score.failed]
    miss_events = [
        _Event(r.image, r.row, r.column, f'{r.area} px, SNR {number(r.snr, 1)}, {_peak(r)}') for r in misses[:WORST]
    ]
    alarm_events = [_Event(r.image, r.row, r.column, f'{r.area} px, {_peak(r)}') for r in shown[:WORST]]
    return {
        'name': str(score.folder.path),
        'misses': [_figure(score, analysis, event) for event in miss_events],
        'alarms': [_figure(score, analysis, event) for event in alarm_events],
        'counts': (len(misses), len(alarms)),
    }


def _peak(row: TargetRow | DetectionRow) -> str:
    logit = '' if np.isnan(row.logit) else f', logit {row.logit:.4g}'
    return f'highest score {row.score:.2f}{logit}'


def stage_gallery(score: Score) -> dict[str, Any] | None:
    """Pictures of the stages in a results folder.

    They are those of ``tools/visualize_stages.py``, or else those of ``inference.py --save-stages``, which
    keeps them in ``stages/`` beside the maps they belong to.

    Args:
        score: A results folder.

    Returns:
        None if there are none; else ``name`` of the folder, ``figures``, a list of dicts with ``image`` and
        the data URI ``picture``, the number ``of`` all pictures, and ``note``, which says why there are no
        figures if the pictures are not of the model and weights that made the maps.

    Raises:
        UserError: The index of the pictures or a picture is unreadable.
    """
    path = score.folder.path / STAGES_FOLDER
    index = stages.read_index(path)
    if index is None:
        path = score.folder.path / 'stages'
    names = sorted(file.stem for file in path.glob('*.png')) if index is None else list(index['images'])
    if not names:
        return None
    shown = {'name': str(score.folder.path), 'of': len(names), 'figures': [], 'note': ''}
    run = score.folder.run
    if index is not None and any(index.get(key) != run.get(key) for key in ('model', 'checkpoint_sha256')):
        return {**shown, 'note': f'{path} holds pictures of another model or other weights: not shown.'}
    figures = []
    for name in names[:STAGE_PICTURES]:
        picture = read_colours(path / f'{name}.png')
        figures.append({'image': name, 'picture': _data_uri(picture[..., ::-1], '.jpg')})
    return {**shown, 'figures': figures}


def _figure(score: Score, analysis: ScoreAnalysis, event: _Event) -> dict[str, str]:
    """The frame with the place marked, and the place in image and score map, as data URIs."""
    saved = Case(event.image, score.folder.read(event.image), score.split.read_mask(event.image))
    case = ImageCase(*saved.at(analysis.protocol.size), name=event.image)
    shape = case.scores.shape
    image = resize_image(to_unit(score.split.read_image(event.image)), shape)
    pred_mask = case.pred_mask(analysis.protocol)
    over_image = outline(image, pred_mask, case.gt_mask)
    over_scores = outline(case.scores, pred_mask, case.gt_mask)
    row, column, scale = round(event.row), round(event.column), _PICTURE / shape[0]
    marked = cv2.resize(over_image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    top_left, bottom_right = ((round((column + d) * scale), round((row + d) * scale)) for d in (-_CROP, _CROP))
    cv2.rectangle(marked, top_left, bottom_right, (255, 210, 0), 2)
    crops = [_crop(picture, row, column) for picture in (over_image, over_scores)]
    return {
        'image': event.image,
        'text': event.text,
        'frame': _data_uri(marked, '.jpg'),
        'zoom': _data_uri(side_by_side(crops), '.png'),
    }


def _crop(picture: np.ndarray, row: int, column: int) -> np.ndarray:
    padded = np.pad(picture, ((_CROP, _CROP), (_CROP, _CROP), (0, 0)), constant_values=96)
    part = padded[row : row + 2 * _CROP, column : column + 2 * _CROP]
    return cv2.resize(part, (_PICTURE, _PICTURE), interpolation=cv2.INTER_NEAREST)


def _data_uri(picture: np.ndarray, suffix: str) -> str:
    data = cv2.imencode(suffix, cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))[1].tobytes()
    kind = 'jpeg' if suffix == '.jpg' else 'png'
    return f'data:image/{kind};base64,{base64.b64encode(data).decode()}'
