"""A picture that compares methods: a row per image, a column per method, the target enlarged in a corner."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from drpca.datasets.io import to_unit
from drpca.datasets.splits import Split
from drpca.errors import UserError
from drpca.evaluation.metrics import ImageCase
from drpca.evaluation.protocols import Protocol
from drpca.evaluation.target_rows import false_alarm_rows
from drpca.files import save_bytes
from drpca.results.folder import ResultsFolder
from drpca.results.scoring import Case
from drpca.visualization.panels import GAP, caption, side_by_side, to_grey

HIT, MISS, FALSE_ALARM = (60, 220, 60), (255, 210, 0), (255, 60, 60)
"""RGB of the outlines."""

_CELL = 208
_INSET = 76
_CROP = 10
"""Half the side, in pixels at the scoring size, of the part that the inset shows."""
_FRAME = (200, 200, 200)


@dataclass(frozen=True)
class GridRow:
    """One image with the score maps of all methods.

    Attributes:
        name: Name of the image.
        image: (H, W) float32 in [0, 1].
        gt_mask: (H, W) bool.
        scores: Per method (h, w) float32 in [0, 1].
    """

    name: str
    image: np.ndarray
    gt_mask: np.ndarray
    scores: list[np.ndarray]

    @classmethod
    def read(cls, split: Split, name: str, folders: Sequence[str | Path]) -> GridRow:
        """Image and mask from a split, score maps from results folders.

        Raises:
            UserError: One of them is missing or unreadable.
        """
        maps = [ResultsFolder(folder).read(name) for folder in folders]
        return cls(name, to_unit(split.read_image(name)), split.read_mask(name), maps)


def draw_grid(rows: Sequence[GridRow], titles: Sequence[str], protocol: Protocol) -> np.ndarray:
    """Image, mask, and each method's score map with what was found and missed.

    Outlined green: a target that is found, by its detection; red: a false alarm; yellow: a missed target. The
    inset shows the surroundings of one target, the first in scan order, in the corner farthest from it.

    Args:
        rows: At least one.
        titles: One per method.
        protocol: What is detected, at which threshold and scoring size.

    Returns:
        (H, W, 3) uint8, RGB.

    Raises:
        UserError: No rows, or a row with another number of score maps than titles.
    """
    if not rows or any(len(row.scores) != len(titles) for row in rows):
        raise UserError(f'Expected at least one image, with a score map for each of {len(titles)} methods.')
    lines = [_line(row, titles, protocol) for row in rows]
    gap = np.full((GAP, lines[0].shape[1], 3), 64, np.uint8)
    stacked = np.concatenate([part for line in lines for part in (line, gap)])
    return np.concatenate([stacked, _legend(stacked.shape[1], protocol)])


def save_grid(picture: np.ndarray, path: Path) -> None:
    """Writes a PNG, in place of a file of that name.

    Raises:
        UserError: It cannot be written.
    """
    save_bytes(path, cv2.imencode('.png', picture[..., ::-1])[1].tobytes(), overwrite=True)


def _line(row: GridRow, titles: Sequence[str], protocol: Protocol) -> np.ndarray:
    frame, gt_mask = Case(row.name, row.image, row.gt_mask).at(protocol.size)
    centre = _centre(gt_mask)
    cells = [caption(_cell(to_grey(frame), centre), row.name), caption(_cell(to_grey(gt_mask), centre), 'mask')]
    for title, scores in zip(titles, row.scores):
        case = ImageCase(*Case(row.name, scores, row.gt_mask).at(protocol.size), name=row.name)
        cells.append(caption(_cell(to_grey(case.scores), centre, _outlines(case, protocol)), title))
    return side_by_side(cells)


def _centre(gt_mask: np.ndarray) -> tuple[int, int] | None:
    """(row, column) of the first target, None without one."""
    targets = ImageCase(np.zeros(gt_mask.shape, np.float32), gt_mask).targets
    if not len(targets):
        return None
    row, column = targets.centroids[0]
    return round(row), round(column)


def _outlines(case: ImageCase, protocol: Protocol) -> list[tuple[np.ndarray, tuple[int, int, int]]]:
    """(H, W) bool masks with the colour of their outline."""
    predictions, matching = case.predictions(protocol), case.match(protocol)
    false = np.zeros(len(predictions) + 1, bool)
    for alarm in false_alarm_rows(case, protocol):
        centroids = predictions.centroids
        false[1 + int(np.abs(centroids - (alarm.row, alarm.column)).sum(axis=1).argmin())] = True
    missed = np.concatenate([[False], ~matching.hit])
    false_alarms = false[predictions.labels]
    return [(predictions.mask & ~false_alarms, HIT), (false_alarms, FALSE_ALARM), (missed[case.targets.labels], MISS)]


def _cell(
    grey: np.ndarray, centre: tuple[int, int] | None, outlines: Sequence[tuple[np.ndarray, tuple[int, int, int]]] = ()
) -> np.ndarray:
    """A square picture with outlines and inset; what is not square is centred on black."""
    scale = _CELL / max(grey.shape)
    size = tuple(max(1, round(side * scale)) for side in grey.shape)
    picture = np.zeros((_CELL, _CELL, 3), np.uint8)
    top, left = (_CELL - size[0]) // 2, (_CELL - size[1]) // 2
    picture[top : top + size[0], left : left + size[1]] = _enlarged(grey, outlines, size, around=2)
    if centre is not None:
        rows, columns = (slice(max(0, c - _CROP), c + _CROP + 1) for c in centre)
        crop = grey[rows, columns]
        side = _INSET - 2
        shape = tuple(max(1, round(side * n / max(crop.shape))) for n in crop.shape)
        inset = _enlarged(crop, [(mask[rows, columns], colour) for mask, colour in outlines], shape)
        inset = cv2.copyMakeBorder(inset, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=_FRAME)
        y = _CELL - inset.shape[0] if centre[0] < grey.shape[0] / 2 else 0
        x = _CELL - inset.shape[1] if centre[1] < grey.shape[1] / 2 else 0
        picture[y : y + inset.shape[0], x : x + inset.shape[1]] = inset
    return picture


def _enlarged(
    grey: np.ndarray,
    outlines: Sequence[tuple[np.ndarray, tuple[int, int, int]]],
    size: tuple[int, ...],
    around: int = 0,
) -> np.ndarray:
    """Resized, with outlines drawn after resizing so that they are one pixel wide.

    ``around`` grows the outlined areas by so many pixels, so that a target of two pixels stays visible.
    """
    method = cv2.INTER_AREA if size[0] < grey.shape[0] else cv2.INTER_NEAREST
    picture = cv2.cvtColor(cv2.resize(grey, size[::-1], interpolation=method), cv2.COLOR_GRAY2RGB)
    for mask, colour in outlines:
        large = cv2.resize(255 * mask.astype(np.uint8), size[::-1], interpolation=method)
        area = (large > 0).astype(np.uint8)
        grown = cv2.dilate(area, np.ones((2 * around + 1, 2 * around + 1), np.uint8))
        contours, _ = cv2.findContours(grown, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(picture, contours, -1, colour, 1)
    return picture


def _legend(width: int, protocol: Protocol) -> np.ndarray:
    strip = np.zeros((22, width, 3), np.uint8)
    x = 6
    for text, colour in (
        ('found', HIT),
        ('missed', MISS),
        ('false alarm', FALSE_ALARM),
        (f'preset {protocol.name}: score {protocol.threshold_text}', (255, 255, 255)),
    ):
        cv2.putText(strip, text, (x, 15), cv2.FONT_HERSHEY_SIMPLEX, 0.42, colour, 1, cv2.LINE_AA)
        x += cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, 0.42, 1)[0][0] + 18
    return strip
