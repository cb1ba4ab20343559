"""Learning curves, trade-offs and picture grids of a leaderboard."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullFormatter

from drpca.datasets import Split, open_split
from drpca.datasets.splits import spread
from drpca.errors import UserError, unknown_name
from drpca.evaluation.protocols import Protocol
from drpca.leaderboard.rows import Row
from drpca.reports.grid import GridRow, draw_grid
from drpca.run_folder import RunFolder
from drpca.visualization.charts import (
    COLOURS,
    is_drawable,
    label_points,
    label_text,
    line_style,
    panel_grid,
    save_drawing,
    save_figure,
    style,
)


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


@dataclass(frozen=True)
class _Point:
    """A method in a trade-off."""

    label: str
    kind: str
    x: float
    y: float
    deviation: float


_COST_AXES = {'parameters': ('parameters, million', 1e-6), 'shown_ms': ('latency on a CPU, ms', 1.0)}
_KIND_STYLES = {'trained': (COLOURS[0], 'o'), 'weights': (COLOURS[1], 's'), 'classical': (COLOURS[2], '^')}
_KIND_TEXTS = {'trained': 'trained here', 'weights': 'published weights', 'classical': 'classical'}


def learning_figure(
    curves: Sequence[LearningCurve], ylabel: str, factor: float = 100, width: float | None = None
) -> Figure:
    """A panel per network: thin lines are trainings, thick ones their means where all seeds were validated.

    Args:
        curves: One at least.
        ylabel: Name and unit of the figure.
        factor: From its values to that unit.
        width: Of a figure for a paper, in inches.
    """
    panels = list(dict.fromkeys(curve.panel for curve in curves))
    figure, axes = panel_grid(len(panels), width=width)
    with style(width):
        _draw_learning(axes, panels, curves, ylabel, factor, width)
    return figure


def _draw_learning(
    axes: Sequence[Axes],
    panels: Sequence[str],
    curves: Sequence[LearningCurve],
    ylabel: str,
    factor: float,
    width: float | None,
) -> None:
    for axis, panel in zip(axes, panels):
        labels = list(dict.fromkeys(curve.label for curve in curves if curve.panel == panel))
        for number, label in enumerate(labels):
            mine = [dict(zip(c.epochs, c.values)) for c in curves if (c.panel, c.label) == (panel, label)]
            look = line_style(number, width)
            for points in mine if len(mine) > 1 else []:
                axis.plot(list(points), [factor * v for v in points.values()], color=look['color'], lw=0.7, alpha=0.5)
            shared = sorted(set.intersection(*map(set, mine)))
            means = [factor * sum(points[epoch] for points in mine) / len(mine) for epoch in shared]
            seeds = f', {len(mine)} seeds' if len(mine) > 1 else ''
            axis.plot(shared, means, label=label_text(f'{label}{seeds}'), **{**look, 'markevery': 0.05})
        axis.set_title(label_text(panel))
        axis.set_xlabel('epoch')
        axis.set_ylabel(label_text(ylabel))
        axis.set_ylim(bottom=0)
        axis.legend(fontsize=6, frameon=False)


def tradeoff_figure(rows: Sequence[Row], protocol: str, key: str = 'IoU', width: float | None = None) -> Figure:
    """A figure of every method against its parameters and its latency, a row of panels per data set.

    Costs are on a logarithmic axis; bars are standard deviations over seeds. A panel without any point is left out:
    classical methods have no parameters.

    Args:
        rows: Of one data set or several.
        protocol: Preset.
        key: Figure, of ``drpca.leaderboard.rows.KEYS``.
        width: Of a figure for a paper, in inches.

    Raises:
        UserError: No row has the figure and a cost.
    """
    factor, unit = (1e6, '×1e-6') if key == 'Fa' else (100, '%')
    panels: list[tuple[str, str, list[_Point]]] = []
    for dataset in dict.fromkeys(row.dataset for row in rows):
        mine = [row for row in rows if row.dataset == dataset and key in getattr(row.figures.get(protocol), 'mean', {})]
        names = labels_of(mine)
        for cost in _COST_AXES:
            points = [
                _Point(name, row.kind, _COST_AXES[cost][1] * x, factor * y, factor * deviation)
                for name, row in zip(names, mine)
                if is_drawable(x := getattr(row.cost, cost) or 0) and x > 0
                if is_drawable(y := row.figures[protocol].mean[key])
                if is_drawable(deviation := row.figures[protocol].std.get(key, 0.0))
            ]
            if points:
                panels.append((dataset, cost, points))
    if not panels:
        raise UserError(f'No row has {key} under the preset {protocol} beside its parameters or latency.')
    figure, axes = panel_grid(len(panels), width=width, least=2.4)
    with style(width):
        for axis, (dataset, cost, points) in zip(axes, panels):
            axis.set(xscale='log', xlabel=_COST_AXES[cost][0], ylabel=f'{key} {unit}', title=label_text(dataset))
            for point in points:
                colour, mark = _KIND_STYLES[point.kind]
                axis.errorbar(point.x, point.y, yerr=point.deviation or None, fmt=mark, color=colour, markersize=4,
                              elinewidth=0.8, capsize=2)  # fmt: skip
            axis.margins(x=0.15, y=0.12)
            values = [point.x for point in points]
            some = (1.0, 2.0, 5.0) if max(values) < 100 * min(values) else (1.0,)
            axis.xaxis.set_major_locator(LogLocator(subs=some))
            axis.xaxis.set_major_formatter('{x:g}')
            axis.xaxis.set_minor_formatter(NullFormatter())
        kinds = [kind for kind in _KIND_STYLES if any(point.kind == kind for *_, points in panels for point in points)]
        handles = [
            Line2D([], [], color=_KIND_STYLES[kind][0], marker=_KIND_STYLES[kind][1], linestyle='', markersize=4,
                   label=_KIND_TEXTS[kind])
            for kind in kinds
        ]  # fmt: skip
        figure.legend(handles=handles, loc='outside lower center', ncols=3, frameon=False)
        figure.draw_without_rendering()  # settles where the axes lie
        for axis, (*_, points) in zip(axes, panels):
            label_points(axis, [(label_text(point.label), point.x, point.y, point.deviation) for point in points])
    return figure


def labels_of(rows: Sequence[Row]) -> list[str]:
    """The method of each row; with its config, or where its weights come from, where two would be called alike."""
    names = [row.method for row in rows]
    for parts in ('config', 'kind'):
        double = {name for name in names if names.count(name) > 1}
        names = [f'{n} ({getattr(row, parts)})' if n in double else n for n, row in zip(names, rows)]
    return names


def draw_maps(
    rows: Sequence[Row], file: Path, protocol: Protocol, images: Sequence[str] = (), data_root: str | Path | None = None
) -> None:
    """Writes the picture grid of the first data set: a column per row of the table, of its first seed.

    Args:
        rows: Of one data set or several.
        file: The picture.
        protocol: What counts as a detection.
        images: Names of the images; without any, four that hold targets.
        data_root: Of the data set.

    Raises:
        UserError: No such image, or no score maps.
    """
    split = open_split(rows[0].dataset, rows[0].split, data_root)
    shown = [
        (row, next(Path(run.maps) for run in row.runs if run.maps))
        for row in rows
        if row.dataset == rows[0].dataset and any(run.maps for run in row.runs)
    ]
    if not shown:
        raise UserError('--grid: no method has score maps.')
    names = choose_images(split, images)
    grid_rows = [GridRow.read(split, name, [maps for _, maps in shown]) for name in names]
    repeated = [row.method for row, _ in shown]
    titles = [row.method if repeated.count(row.method) == 1 else row.config for row, _ in shown]
    save_drawing(draw_grid(grid_rows, titles, protocol), file, dpi=200)


def draw_curves(rows: Sequence[Row], stem: Path) -> list[Path]:
    """Writes the learning curves of the rows that were trained; returns the files.

    Raises:
        UserError: None was validated while it trained, or the files cannot be written.
    """
    curves = []
    for row in rows:
        for run in row.runs if row.kind == 'trained' else ():
            lines = RunFolder(Path(run.checkpoint).parent).log() if run.checkpoint else []
            points = {line['epoch']: line['val/IoU'] for line in lines if 'val/IoU' in line}
            if points:
                curves.append(LearningCurve(row.method, row.config, list(points), list(points.values())))
    if not curves:
        raise UserError('--curves: no training with validation figures among the rows, or their logs are gone.')
    return save_figure(learning_figure(curves, 'validation IoU %'), stem)


def choose_images(split: Split, names: Sequence[str]) -> list[str]:
    """The names, or four images that hold targets.

    Raises:
        UserError: There is no such image.
    """
    for name in names:
        if name not in split.names:
            raise unknown_name(f'image of {split.dataset} {split.split}', name, split.names)
    return list(names) or spread([name for name in split.names if split.read_mask(name).any()], 4)
