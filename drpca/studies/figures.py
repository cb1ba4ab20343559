"""Figures of a decomposition."""

from __future__ import annotations

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from drpca.studies.decomposition import GRID, Measurement, defined_mean
from drpca.visualization.charts import COLOURS, line_style, panel_grid


def low_rank_figure(measured: Measurement, heading: str = '') -> Figure:
    """Normalised singular values, effective rank and energy of the background, stage by stage.

    Lines are means over the images, bands and bars the 10th to the 90th percentile; the image itself is drawn
    for comparison, dashed.
    """
    figure, (curves, rank, energy) = panel_grid(3, heading)
    colours = matplotlib.colormaps['viridis'](np.linspace(0, 0.9, measured.stages))
    stages = np.arange(1, measured.stages + 1)
    floor = 1e-6
    for index, colour in enumerate(colours):
        mean = np.maximum(measured.curves[:, index].mean(axis=0), floor)
        look = {**line_style(index), 'color': colour, 'marker': ''}
        curves.semilogy(GRID, mean, label=f'B, stage {index + 1}', **look)
    curves.semilogy(GRID, np.maximum(measured.image_curves.mean(axis=0), floor), 'k--', label='image', linewidth=1)
    curves.set(title='singular values of B', xlabel='relative index', ylabel='σ / largest σ')
    curves.legend(fontsize=6, frameon=False)
    _percentiles(rank, stages, measured.effective_rank, label='B')
    rank.axhline(measured.image_effective_rank.mean(), color='k', linestyle='--', linewidth=1, label='image')
    rank.set(title='effective rank', ylim=(0, None))
    for index, r in enumerate(measured.ranks):
        colour = COLOURS[index % len(COLOURS)]
        beside = 0.12 * (index - (len(measured.ranks) - 1) / 2)
        _percentiles(energy, stages + beside, measured.energy[:, :, index], index, f'first {r}')
        energy.axhline(defined_mean(measured.image_energy[:, index]), color=colour, linestyle='--', linewidth=1)
    energy.set_title('energy of B in the first σ')
    for axis in (rank, energy):
        _stage_axis(axis, stages)
        axis.legend(fontsize=7, frameon=False)
    return figure


def sparsity_figure(measured: Measurement, heading: str = '') -> Figure:
    """l0, l1 and Gini index of the target, stage by stage: mean, 10th and 90th percentile over the images."""
    figure, axes = panel_grid(3, heading)
    of = {'deviation': '|T − median T|', 'positive': 'max(T, 0)', 'raw': '|T|'}[measured.view]
    stages = np.arange(1, measured.stages + 1)
    titles = (f'share above {measured.threshold:g} max', 'mean absolute value', 'Gini index')
    figures = (measured.l0, measured.l1, measured.gini)
    for axis, title, values, high in zip(axes, titles, figures, (None, None, 1)):
        _percentiles(axis, stages, values)
        axis.set(title=title, ylabel=f'of {of}', ylim=(0, high))
        _stage_axis(axis, stages)
    return figure


def scalars_figure(measured: Measurement, heading: str = '') -> Figure:
    """Learned scalars, stage by stage: mean, 10th and 90th percentile over the images.

    Args:
        measured: With at least one scalar.
    """
    figure, axes = panel_grid(len(measured.scalars), heading)
    for axis, (name, values) in zip(axes, measured.scalars.items()):
        stages = np.arange(1, values.shape[1] + 1)
        _percentiles(axis, stages, values)
        axis.set_title(name)
        _stage_axis(axis, stages)
    return figure


def _stage_axis(axis: Axes, stages: np.ndarray) -> None:
    axis.set(xlabel='stage', xticks=stages, xlim=(0.5, len(stages) + 0.5))


def _percentiles(axis: Axes, x: np.ndarray, values: np.ndarray, number: int = 0, label: str = '') -> None:
    """Mean of each column with bars from its 10th to its 90th percentile; NaN left out."""
    columns = [column[~np.isnan(column)] for column in values.T]
    points = [(a, c.mean(), *np.percentile(c, (10, 90))) for a, c in zip(x, columns) if c.size]
    if not points:
        return
    at, mean, low, high = np.array(points).T
    look = line_style(number)
    axis.plot(at, mean, label=label, **look)
    axis.vlines(at, low, high, color=look['color'], alpha=0.4, linewidth=4)
