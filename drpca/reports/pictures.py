"""Pictures in a report: frame, mask and score maps of the images that fit, and the stages of some."""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Any

import cv2
import numpy as np

from drpca.datasets.io import read_colours, to_unit
from drpca.datasets.splits import spread
from drpca.errors import UserError
from drpca.evaluation.functional import pixel_scores
from drpca.evaluation.target_rows import DetectionRow, TargetRow
from drpca.files import list_files
from drpca.options import STAGES_FOLDER
from drpca.reports.sequences import Key, frames_of
from drpca.results import stage_pictures as stages
from drpca.results.scoring import Score, ScoreAnalysis
from drpca.visualization.panels import to_grey

STAGE_PICTURES = 4
"""Pictures of the stages shown of each folder."""
SIDE = 512
"""Largest side of a picture; larger frames are averaged, of maps and masks the highest value of a block is kept."""
QUALITY = 92
"""Of WebP, for frames where lossless ones do not all fit."""
_SAMPLE = 12
_OVERHEAD = 60  # of an image, for the names of its parts


def image_keys(scores: Sequence[Score]) -> list[Key]:
    """All images of all folders, each once."""
    return list(
        dict.fromkeys(
            (score.split.dataset, score.split.split, record.name)
            for score in scores
            for record in next(iter(score.records.values()))
        )
    )


def most_wanted(scores: Sequence[Score]) -> tuple[list[Key], int]:
    """The images of which pictures are wanted, the most wanted first.

    First the worst image of each folder under each preset; then, in turn, the next worst of each, its most visible
    misses and its largest false alarms, and frames spread evenly over each sequence; last those without a fault.

    Returns:
        The images, and how many of them must have a picture.
    """
    worst: list[Key] = []
    lists: list[list[Key]] = []
    for score in scores:
        of = score.split.dataset, score.split.split
        for protocol in score.protocols:
            counts = ((record.counts[protocol.name], record.name) for record in score.records[protocol.name])
            faults = sorted((pixel_scores(c.tp, c.fp, c.fn)['IoU'], name) for c, name in counts if c.fp or c.fn)
            ranked = [[name for _, name in faults]]
            if protocol.name in score.analyses:
                misses, alarms = ranked_events(score.analyses[protocol.name])
                ranked += [[row.image for row in misses], [row.image for row in alarms]]
            lists += [[of + (name,) for name in dict.fromkeys(names)] for names in ranked]
            worst += [of + (name,) for _, name in faults[:1]]
    lists += [_spread_over_time(frames) for frames in frames_of(scores).values()]
    in_turn = (key for rank in zip_longest(*lists) for key in rank if key is not None)
    return list(dict.fromkeys([*worst, *in_turn, *image_keys(scores)])), len(set(worst))


def _spread_over_time(frames: Sequence[Key]) -> list[Key]:
    """The same frames so that however many are taken lie evenly: both ends, the middle, the quarters, …"""
    last, order = len(frames) - 1, [0]
    for parts in (2**level for level in range(last.bit_length() + 1)):
        order += [last * part // parts for part in range(1, parts + 1, 2 if parts > 1 else 1)]
    return [frames[place] for place in dict.fromkeys([*order, *range(last + 1)])]


def ranked_events(analysis: ScoreAnalysis) -> tuple[list[TargetRow], list[DetectionRow]]:
    """Misses, the most visible first, and false alarms, the largest first, of equals the surest."""
    misses = sorted((row for row in analysis.targets if not row.hit), key=lambda row: -np.nan_to_num(row.snr))
    alarms = sorted(analysis.false_alarms, key=lambda row: (-row.area, -np.nan_to_num(row.logit), -row.score))
    return misses, alarms


@dataclass(frozen=True)
class Pictures:
    """Pictures that fit into a budget.

    Attributes:
        of: By the number of the image in :func:`image_keys`: its ``shape``, and as base64 ``frame``, ``mask`` and
            ``maps``, one a folder, '' where there is none.
        images: All images.
        is_exact: Frames are lossless; else they are WebP of quality ``QUALITY``. Maps and masks always are.
        error: Largest difference of a frame shown to the frame itself, in levels of 255.
        bytes: Characters of base64.
    """

    images: int
    is_exact: bool
    of: dict[int, dict[str, Any]] = field(default_factory=dict)
    error: int = 0
    bytes: int = 0


def choose_pictures(scores: Sequence[Score], budget: int) -> Pictures:
    """Reads and encodes pictures, the most wanted first, until the budget is spent.

    Args:
        scores: Results folders.
        budget: Characters. The worst image of each folder under each preset is shown in any case.
    """
    wanted, needed = most_wanted(scores)
    number = {key: index for index, key in enumerate(image_keys(scores))}
    sample = [sum(map(len, _encoded(scores, key, True)[0].values())) for key in spread(wanted, _SAMPLE)]
    is_exact = not sample or sum(sample) / len(sample) * len(wanted) <= budget
    chosen: dict[int, dict[str, Any]] = {}
    used = error = 0
    for rank, key in enumerate(wanted):
        pictures, off = _encoded(scores, key, is_exact)
        size = sum(map(len, pictures.values())) + _OVERHEAD
        if rank >= needed and used + size > budget:
            break
        used += size
        error = max(error, off)
        chosen[number[key]] = pictures
    return Pictures(len(number), is_exact, chosen, error, used)


def _encoded(scores: Sequence[Score], key: Key, is_exact: bool) -> tuple[dict[str, Any], int]:
    """Pictures of one image as base64, and the error of the frame in levels."""
    showing = [score for score in scores if _has(score, key)]
    split, name = showing[0].split, key[2]
    gt_mask = split.read_mask(name)
    frame, error = '', 0
    try:
        levels = _reduced(to_grey(to_unit(split.read_image(name))), average=True)
        suffix, options = ('.png', []) if is_exact else ('.webp', [cv2.IMWRITE_WEBP_QUALITY, QUALITY])
        data = cv2.imencode(suffix, levels, options)[1]
        frame = base64.b64encode(data.tobytes()).decode()
        if not is_exact:
            error = int(np.abs(np.asarray(cv2.imdecode(data, cv2.IMREAD_GRAYSCALE), int) - levels).max())
    except UserError:
        pass  # named by the scoring, which goes on
    maps = [_png(to_grey(score.folder.read(name))) if score in showing else '' for score in scores]
    mask = _png(255 * gt_mask.astype(np.uint8))
    height, width = gt_mask.shape
    return {'shape': f'{height},{width}', 'frame': frame, 'mask': mask, 'maps': ','.join(maps)}, error


def _has(score: Score, key: Key) -> bool:
    return (score.split.dataset, score.split.split) == key[:2] and key[2] in score.folder.names


def _reduced(levels: np.ndarray, average: bool = False) -> np.ndarray:
    """At most ``SIDE`` pixels a side."""
    factor = math.ceil(max(levels.shape) / SIDE)
    if factor == 1:
        return levels
    size = tuple(max(1, round(side / factor)) for side in levels.shape[::-1])
    if average:
        return cv2.resize(levels, size, interpolation=cv2.INTER_AREA)
    rows, columns = (np.linspace(0, side, n, endpoint=False, dtype=int) for side, n in zip(levels.shape, size[::-1]))
    return np.maximum.reduceat(np.maximum.reduceat(levels, rows, axis=0), columns, axis=1)


def _png(levels: np.ndarray) -> str:
    return base64.b64encode(cv2.imencode('.png', _reduced(levels))[1].tobytes()).decode()


def stage_gallery(score: Score, name: str) -> dict[str, Any] | None:
    """Pictures of the stages in a results folder.

    They are those of ``tools/visualize_stages.py``, or else those of ``inference.py --save-stages``, which
    keeps them in ``stages/`` beside the maps they belong to.

    Args:
        score: A results folder.
        name: What it is called.

    Returns:
        None if there are none; else ``name``, ``figures``, a list of dicts with ``image`` and the data URI ``picture``,
        the number ``of`` all pictures, and ``note``, which says why there are no figures if the pictures are not of the
        model and weights that made the maps.

    Raises:
        UserError: The index of the pictures or a picture is unreadable.
    """
    path = score.folder.path / STAGES_FOLDER
    index = stages.read_index(path)
    if index is None:
        path = score.folder.path / 'stages'
    names = [file.stem for file in list_files(path, ('.png',))] if index is None else list(index['images'])
    if not names:
        return None
    shown = {'name': name, 'of': len(names), 'figures': [], 'note': ''}
    run = score.folder.run
    if index is not None and any(index.get(key) != run.get(key) for key in ('model', 'checkpoint_sha256')):
        return {**shown, 'note': f'{path} holds pictures of another model or other weights: not shown.'}
    figures = []
    for image in names[:STAGE_PICTURES]:
        data = cv2.imencode('.jpg', read_colours(path / f'{image}.png'))[1].tobytes()
        figures.append({'image': image, 'picture': f'data:image/jpeg;base64,{base64.b64encode(data).decode()}'})
    return {**shown, 'figures': figures}
