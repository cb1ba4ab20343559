"""Curves as PNG and SVG files; the same figures give the same files with the same version of matplotlib."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from drpca.errors import UserError
from drpca.evaluation.corruptions import KINDS
from drpca.evaluation.decomposition import GRID, Measurement
from drpca.evaluation.robustness import Result

_STYLE: Any = {
    'svg.hashsalt': 'drpca',
    'font.size': 9,
    'axes.grid': True,
    'grid.alpha': 0.3,
    'axes.spines.top': False,
    'axes.spines.right': False,
}
_PANEL = (3.1, 2.5)
_COLUMNS = 4
# Colours and marks that stay apart in grey print and for colour-blind readers (Okabe and Ito, 2008).
_COLOURS = ('#0072B2', '#D55E00', '#009E73', '#CC79A7', '#E69F00', '#56B4E9', '#000000')
_MARKS = ('o', 's', '^', 'D', 'v', 'P', 'X')
SUFFIXES = ('.png', '.svg')


def save_figure(figure: Figure, stem: Path) -> list[Path]:
    """Writes ``stem.png`` and ``stem.svg``.

    Raises:
        UserError: They cannot be written.
    """
    paths = [stem.with_name(stem.name + suffix) for suffix in SUFFIXES]
    try:
        with matplotlib.rc_context(_STYLE):
            figure.savefig(paths[0], dpi=150)
            figure.savefig(paths[1], metadata={'Date': None})
    except OSError as error:
        raise UserError(f'Cannot write {stem}.png or .svg: {error.strerror}; choose another --out.') from None
    return paths


def _panels(count: int) -> tuple[Figure, list[Axes]]:
    columns = min(count, _COLUMNS)
    rows = -(-count // columns)
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(_PANEL[0] * columns, _PANEL[1] * rows + 0.5), layout='constrained')
        grid = figure.subplots(rows, columns, squeeze=False)
    axes = list(grid.flat)
    for unused in axes[count:]:
        unused.remove()
    return figure, axes[:count]


def robustness_figure(results: Sequence[Result], protocol: str, key: str) -> Figure:
    """A figure against the strength of each kind of disturbance, clean frames at 0, a line per detector.

    Args:
        results: Of all detectors, under one disturbance at least.
        protocol: Name of the protocol.
        key: 'IoU', 'nIoU', 'F1', 'Pd' (in %) or 'Fa' (×1e-6).
    """
    factor, unit = (1e6, '×1e-6') if key == 'Fa' else (100, '%')
    kinds = list(dict.fromkeys(r.corruption.kind for r in results if r.corruption is not None))
    detectors = list(dict.fromkeys(r.detector for r in results))
    figure, axes = _panels(len(kinds))
    for axis, kind in zip(axes, kinds):
        for number, detector in enumerate(detectors):
            points = [
                (0 if r.corruption is None else r.corruption.level, factor * r.figures[protocol][key])
                for r in results
                if r.detector == detector and (r.corruption is None or r.corruption.kind == kind)
            ]
            x, y = zip(*sorted(points))
            axis.plot(x, y, label=detector, **_line(number))
        axis.set_title(KINDS[kind].title)
        axis.set_xlabel(KINDS[kind].unit)
        axis.set_ylabel(f'{key} {unit}')
        axis.set_ylim(bottom=0, top=None if key == 'Fa' else 102)
    figure.legend(*axes[0].get_legend_handles_labels(), loc='outside upper center', ncols=3, frameon=False)
    return figure


@dataclass(frozen=True)
class LearningCurve:
    """A validation figure over the epochs of one training.

    Attributes:
        panel: What it is drawn with: the network.
        label: What it is called: the config. Equal labels are seeds of one recipe.
        epochs: Epochs of the validations, from 1.
        values: The figure, as a ratio.
    """

    panel: str
    label: str
    epochs: Sequence[int]
    values: Sequence[float]


def learning_figure(curves: Sequence[LearningCurve], key: str) -> Figure:
    """A panel per network: thin lines are trainings, thick ones their means where all seeds were validated.

    Args:
        curves: One at least.
        key: Name of the figure, shown in %.
    """
    panels = list(dict.fromkeys(curve.panel for curve in curves))
    figure, axes = _panels(len(panels))
    for axis, panel in zip(axes, panels):
        labels = list(dict.fromkeys(curve.label for curve in curves if curve.panel == panel))
        for number, label in enumerate(labels):
            mine = [dict(zip(c.epochs, c.values)) for c in curves if (c.panel, c.label) == (panel, label)]
            look = _line(number)
            for points in mine if len(mine) > 1 else []:
                axis.plot(
                    list(points), [100 * v for v in points.values()], color=look['color'], lw=0.7, alpha=0.5
                )
            shared = sorted(set.intersection(*map(set, mine)))
            means = [100 * sum(points[epoch] for points in mine) / len(mine) for epoch in shared]
            seeds = f', {len(mine)} seeds' if len(mine) > 1 else ''
            axis.plot(shared, means, label=f'{label}{seeds}', **look)
        axis.set_title(panel)
        axis.set_xlabel('epoch')
        axis.set_ylabel(f'validation {key} %')
        axis.set_ylim(bottom=0)
        axis.legend(fontsize=6, frameon=False)
    return figure


def _line(number: int) -> dict[str, Any]:
    return {
        'color': _COLOURS[number % len(_COLOURS)],
        'marker': _MARKS[number % len(_MARKS)],
        'markersize': 4,
        'linewidth': 1.5,
    }


def low_rank_figure(measured: Measurement) -> Figure:
    """Normalised singular values, effective rank and energy of the background, stage by stage.

    Lines are means over the images, bands and bars the 10th to the 90th percentile; the image itself is drawn
    for comparison, dashed.
    """
    figure, (curves, rank, energy) = _panels(3)
    colours = matplotlib.colormaps['viridis'](np.linspace(0, 0.9, measured.stages))
    stages = np.arange(1, measured.stages + 1)
    floor = 1e-6
    for index, colour in enumerate(colours):
        mean = np.maximum(measured.curves[:, index].mean(axis=0), floor)
        curves.semilogy(GRID, mean, color=colour, label=f'B, stage {index + 1}')
    curves.semilogy(
        GRID, np.maximum(measured.image_curves.mean(axis=0), floor), 'k--', label='image', linewidth=1
    )
    curves.set_title('singular values of B')
    curves.set_xlabel('relative index')
    curves.set_ylabel('σ / largest σ')
    curves.legend(fontsize=6, frameon=False)
    _percentiles(rank, stages, measured.effective_rank, _COLOURS[0], 'B')
    rank.axhline(measured.image_effective_rank.mean(), color='k', linestyle='--', linewidth=1, label='image')
    rank.set_title('effective rank')
    rank.set_ylim(bottom=0)
    for index, r in enumerate(measured.ranks):
        colour = _COLOURS[index % len(_COLOURS)]
        beside = 0.12 * (index - (len(measured.ranks) - 1) / 2)
        _percentiles(energy, stages + beside, measured.energy[:, :, index], colour, f'first {r}')
        energy.axhline(
            _defined_mean(measured.image_energy[:, index]), color=colour, linestyle='--', linewidth=1
        )
    energy.set_title('energy of B in the first σ')
    for axis in (rank, energy):
        _stage_axis(axis, stages)
        axis.legend(fontsize=7, frameon=False)
    return figure


def sparsity_figure(measured: Measurement) -> Figure:
    """l0, l1 and Gini index of the target, stage by stage: mean, 10th and 90th percentile over the images."""
    figure, axes = _panels(3)
    of = {'deviation': '|T − median T|', 'positive': 'max(T, 0)', 'raw': '|T|'}[measured.view]
    stages = np.arange(1, measured.stages + 1)
    titles = (f'share above {measured.threshold:g} max', 'mean absolute value', 'Gini index')
    for axis, title, values in zip(axes, titles, (measured.l0, measured.l1, measured.gini)):
        _percentiles(axis, stages, values, _COLOURS[0])
        axis.set_title(title)
        axis.set_ylabel(f'of {of}')
        _stage_axis(axis, stages)
    axes[0].set_ylim(bottom=0)
    axes[1].set_ylim(bottom=0)
    axes[2].set_ylim(0, 1)
    return figure


def scalars_figure(measured: Measurement) -> Figure:
    """Learned scalars, stage by stage: mean, 10th and 90th percentile over the images.

    Args:
        measured: With at least one scalar.
    """
    figure, axes = _panels(len(measured.scalars))
    for axis, (name, values) in zip(axes, measured.scalars.items()):
        stages = np.arange(1, values.shape[1] + 1)
        _percentiles(axis, stages, values, _COLOURS[0])
        axis.set_title(name)
        _stage_axis(axis, stages)
    return figure


def _stage_axis(axis: Axes, stages: np.ndarray) -> None:
    axis.set_xlabel('stage')
    axis.set_xticks(stages)
    axis.set_xlim(0.5, len(stages) + 0.5)


def _percentiles(axis: Axes, x: np.ndarray, values: np.ndarray, colour: str, label: str = '') -> None:
    """Mean of each column with bars from its 10th to its 90th percentile; NaN left out."""
    columns = [column[~np.isnan(column)] for column in values.T]
    points = [(a, c.mean(), *np.percentile(c, (10, 90))) for a, c in zip(x, columns) if c.size]
    if not points:
        return
    at, mean, low, high = np.array(points).T
    axis.plot(at, mean, color=colour, marker='o', markersize=4, label=label)
    axis.vlines(at, low, high, color=colour, alpha=0.4, linewidth=4)


def _defined_mean(values: np.ndarray) -> float:
    return float(values[~np.isnan(values)].mean()) if not np.isnan(values).all() else float('nan')
