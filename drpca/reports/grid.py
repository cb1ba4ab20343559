"""The figure that compares methods: a row per image, a column per method, the target enlarged in a corner."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Circle, Patch, Rectangle

from drpca.datasets.io import resize_image, to_unit
from drpca.datasets.splits import Split, spread
from drpca.errors import UserError
from drpca.evaluation.functional import pixel_scores
from drpca.evaluation.metrics import ImageCase, count_image
from drpca.evaluation.protocols import Protocol
from drpca.evaluation.target_rows import false_alarm_rows
from drpca.results.folder import ResultsFolder
from drpca.results.scoring import Case
from drpca.visualization.charts import label_text, style

HIT, MISS, FALSE_ALARM = '#00E5A0', '#FFC20A', '#FF5A36'
"""Colours of what is found, missed and false; forms, circle, dashed circle and square, tell them apart as well."""
GRID_WIDTH = 8.0
"""Inches of the figure unless a width is given."""
CROP = 10
"""Half the side, in pixels at the scoring size, of the part that an inset shows."""

_GAP, _TITLE, _NAME, _LEGEND = 0.03, 0.17, 0.16, 0.24  # inches
_INSET = 0.38
_SMALLEST = 0.2
_SURFACE = 40
_OUTSIDE = 0.25
_LONGEST = 2.5


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

    def cases(self, size: int | None) -> list[ImageCase]:
        """Scores of every method with the mask, at the scoring size."""
        return [ImageCase(*Case(self.name, s, self.gt_mask).at(size), name=self.name) for s in self.scores]


def telling_images(
    split: Split, names: Iterable[str], folders: Sequence[str | Path], protocol: Protocol, count: int
) -> list[str]:
    """Images on which the methods differ most.

    On an image two methods differ by their shares of found targets plus their IoU. Of the images that have the same
    best and the same worst method, the one with the largest difference comes first; the figure takes one of each such
    group in turn, the group with the largest difference first, so that no method alone chooses the rows.

    Args:
        split: The images belong to it.
        names: Which to choose from.
        folders: Score maps of each method.
        protocol: What counts as found.
        count: How many to choose.

    Returns:
        At most ``count`` names, of images with targets; of a single method, evenly spread ones.

    Raises:
        UserError: None holds a target, or something cannot be read.
    """
    opened = [ResultsFolder(folder) for folder in folders]
    groups: dict[tuple[int, int], list[tuple[float, str]]] = defaultdict(list)
    labelled = []
    for name in names:
        gt_mask = split.read_mask(name)
        if not gt_mask.any():
            continue
        labelled.append(name)
        quality = []
        for folder in opened if len(opened) > 1 else ():
            counts = count_image(ImageCase(*Case(name, folder.read(name), gt_mask).at(protocol.size)), protocol)
            found = counts.hits / max(counts.targets, 1)
            quality.append(found + float(np.nan_to_num(pixel_scores(counts.tp, counts.fp, counts.fn)['IoU'])))
        if quality:
            best, worst = int(np.argmax(quality)), int(np.argmin(quality))
            groups[best, worst].append((quality[worst] - quality[best], name))
    if not labelled:
        raise UserError(f'{split.dataset} {split.split}: no image with a target to show.')
    if len(opened) < 2:
        return spread(labelled, count)
    ordered = sorted(sorted(group) for group in groups.values())
    return [entry[1] for turn in zip_longest(*ordered) for entry in turn if entry is not None][:count]


def grid_width(methods: int, width: float | None = None) -> float:
    """Width of a figure in inches: as given, else one that has room for the pictures of so many methods.

    Raises:
        UserError: The given one has none.
    """
    needed = _NAME + (_GAP + _SMALLEST) * (methods + 2)
    if width is not None and width < needed:
        raise UserError(
            f'{methods} methods, the frame and the mask need a width of at least {math.ceil(25.4 * needed)} mm: give '
            'more, or show fewer.'
        )
    return width or max(GRID_WIDTH, needed)


def draw_grid(
    rows: Sequence[GridRow],
    titles: Sequence[str],
    protocol: Protocol,
    width: float | None = None,
    surface: bool = False,
) -> Figure:
    """Image, mask, and each method's score map with what was found and missed.

    A circle marks a target that is found, a dashed circle one that is missed, a square a false alarm. The inset shows
    the surroundings of one target, the first in scan order, in the corner where it covers the fewest marks,
    with the outline of what is detected there. Under a preset that divides by the maximum, maps are shown so.

    Args:
        rows: At least one.
        titles: One per method.
        protocol: What is detected, at which threshold and scoring size.
        width: Of the figure, in inches.
        surface: Below each row, the same as surfaces: the highest value of each of 40 × 40 parts.

    Raises:
        UserError: No rows, a row with another number of score maps than titles, or as :func:`grid_width`.
    """
    if not rows or any(len(row.scores) != len(titles) for row in rows):
        raise UserError(f'Expected at least one image, with a score map for each of {len(titles)} methods.')
    across = grid_width(len(titles), width)
    columns = len(titles) + 2
    cell = (across - _NAME - _GAP * columns) / columns
    shapes = [row.gt_mask.shape if protocol.size is None else (protocol.size, protocol.size) for row in rows]
    heights = [cell * min(max(shape[0] / shape[1], 1 / _LONGEST), _LONGEST) for shape in shapes]
    below = cell if surface else 0
    down = _TITLE + sum(height + below + _GAP for height in heights) + _LEGEND
    with style(across):
        figure = Figure(figsize=(across, down))
        top = down - _TITLE
        for number, (row, height, shape) in enumerate(zip(rows, heights, shapes)):
            frame, cases = resize_image(row.image, shape), row.cases(protocol.size)
            gt_mask = cases[0].gt_mask if cases else row.gt_mask
            centre = _first_target(gt_mask)
            corner = _free_corner(gt_mask, centre, cases, protocol, cell / height)
            maps = [frame, gt_mask.astype(np.float32), *(_shown(case.scores, protocol) for case in cases)]
            place = (0.4 * _NAME / across, (top - height / 2) / down)
            figure.text(*place, label_text(row.name, 24), rotation=90, ha='center', va='center', fontsize=5.5)
            for column, values in enumerate(maps):
                left = _NAME + column * (cell + _GAP)
                box = (left / across, (top - height) / down, cell / across, height / down)
                axis = figure.add_axes(box)
                _picture(axis, values)
                case = cases[column - 2] if column > 1 else None
                if case is not None:
                    for patch in _marks(case, protocol):
                        axis.add_patch(patch)
                if centre is not None:
                    _inset(axis, values, centre, corner, None if case is None else case.pred_mask(protocol))
                if number == 0:
                    axis.set_title(label_text(['image', 'label', *titles][column], 24), pad=2.5, fontsize=6.5)
                if surface:
                    _surface(figure, (box[0], box[1] - below / down, box[2], below / down), values)
            top -= height + below + _GAP
        _legend(figure, protocol, down)
    return figure


def _shown(scores: np.ndarray, protocol: Protocol) -> np.ndarray:
    highest = float(scores.max())
    return scores / highest if protocol.binarisation == 'max' and highest > 0 else scores


def _picture(axis: Axes, values: np.ndarray) -> None:
    axis.imshow(values, cmap='gray', vmin=0, vmax=1, interpolation='none', aspect='equal')
    axis.set(xticks=[], yticks=[])
    axis.grid(False)
    for spine in axis.spines.values():
        spine.set(visible=True, color='#808080', linewidth=0.4)


def _first_target(gt_mask: np.ndarray) -> tuple[int, int] | None:
    """(row, column) of the first target, None without one."""
    targets = ImageCase(np.zeros(gt_mask.shape, np.float32), gt_mask).targets
    if not len(targets):
        return None
    row, column = targets.centroids[0]
    return round(row), round(column)


def _marks(case: ImageCase, protocol: Protocol) -> list[Patch]:
    """What lies around targets and false alarms, in pixels."""
    side, marks = max(case.gt_mask.shape), list[Patch]()
    hit = case.match(protocol).hit
    for (row, column), area, found in zip(case.targets.centroids, case.targets.areas, hit):
        radius = max(0.04 * side, 2 * np.sqrt(area / np.pi))
        look = {'edgecolor': HIT if found else MISS, 'linestyle': '-' if found else (0, (2, 1.2))}
        marks.append(Circle((column, row), radius, fill=False, linewidth=0.8, **look))
    for alarm in false_alarm_rows(case, protocol):
        half = max(0.03 * side, 1.5 * np.sqrt(alarm.area))
        corner = (alarm.column - half, alarm.row - half)
        marks.append(Rectangle(corner, 2 * half, 2 * half, fill=False, linewidth=0.8, edgecolor=FALSE_ALARM))
    return marks


_Box = tuple[float, float, float, float]
"""Left, bottom, width and height, as shares of what it lies in."""


def _free_corner(
    gt_mask: np.ndarray, centre: tuple[int, int] | None, cases: Sequence[ImageCase], protocol: Protocol, ratio: float
) -> _Box:
    """Where the insets of a row lie: the corner that covers the fewest targets and false alarms, then the farthest.

    Args:
        gt_mask: (H, W) bool.
        centre: Row and column of the target that is enlarged.
        cases: Of all methods.
        protocol: What is a false alarm.
        ratio: Width of a cell over its height.
    """
    across, up = _INSET * min(1, 1 / ratio), _INSET * min(1, ratio)
    alarms = [(alarm.row, alarm.column) for case in cases for alarm in false_alarm_rows(case, protocol)]
    marked = np.array([*ImageCase(np.zeros(gt_mask.shape, np.float32), gt_mask).targets.centroids, *alarms])
    places = marked.reshape(-1, 2) / gt_mask.shape
    own = np.array((0.5, 0.5) if centre is None else centre / np.array(gt_mask.shape))

    def cost(corner: tuple[int, int]) -> tuple[int, float]:
        away = np.abs(places - corner)
        covered = (away[:, 0] < up + 0.03) & (away[:, 1] < across + 0.03)
        return int(covered.sum()), -float(np.abs(own - corner).sum())

    row, column = min([(0, 1), (0, 0), (1, 1), (1, 0)], key=cost)
    return column * (1 - across), (1 - row) * (1 - up), across, up


def _inset(axis: Axes, values: np.ndarray, centre: tuple[int, int], box: _Box, detected: np.ndarray | None) -> None:
    """The surroundings of a target in a corner."""
    rows, columns = (slice(c, c + 2 * CROP + 1) for c in centre)
    crop = np.pad(values, CROP, constant_values=_OUTSIDE)[rows, columns]
    inset = axis.inset_axes(box)
    _picture(inset, crop)
    for spine in inset.spines.values():
        spine.set(color='#E0E0E0', linewidth=0.6)
    if detected is not None and (found := np.pad(np.pad(detected, CROP)[rows, columns], 1)).any():
        places = [np.arange(-1, side + 1) for side in crop.shape]
        inset.contour(places[1], places[0], found, levels=[0.5], colors=[HIT], linewidths=0.7)
        inset.set(xlim=(-0.5, crop.shape[1] - 0.5), ylim=(crop.shape[0] - 0.5, -0.5))


def _surface(figure: Figure, place: _Box, values: np.ndarray) -> None:
    """A map as a surface over its pixels."""
    axis: Any = figure.add_axes(place, projection='3d')
    ends = [np.linspace(0, side, min(side, _SURFACE) + 1).astype(int)[:-1] for side in values.shape]
    highest = np.maximum.reduceat(np.maximum.reduceat(values, ends[0], axis=0), ends[1], axis=1)
    x, y = np.meshgrid(ends[1], ends[0])
    axis.plot_surface(x, y, highest, cmap='viridis', vmin=0, vmax=1, rcount=_SURFACE, ccount=_SURFACE,
                      linewidth=0, antialiased=False, rasterized=True)  # fmt: skip
    axis.set(zlim=(0, 1), xticklabels=[], yticklabels=[], zticks=[0, 1])
    axis.invert_yaxis()
    axis.tick_params(pad=-4, labelsize=4)
    axis.grid(False)
    axis.set_box_aspect((1, 1, 0.7), zoom=0.95)
    axis.patch.set_alpha(0)


def _legend(figure: Figure, protocol: Protocol, height: float) -> None:
    forms = (('found', HIT, '-', 'o'), ('missed', MISS, '--', 'o'), ('false alarm', FALSE_ALARM, '-', 's'))
    handles = [
        Line2D([], [], marker=form, color='none', markerfacecolor='none', markeredgecolor=colour, markersize=6,
               markeredgewidth=0.9, label=text + (' (dashed)' if dashes == '--' else ''))
        for text, colour, dashes, form in forms
    ]  # fmt: skip
    said = f'preset {protocol.name}: score {protocol.threshold_text}'
    handles.append(Line2D([], [], color='none', label=label_text(said)))
    figure.legend(handles=handles, loc='lower center', ncols=4, frameon=False, fontsize=6, handletextpad=0.3,
                  bbox_to_anchor=(0.5, 0), borderaxespad=0.1)  # fmt: skip
