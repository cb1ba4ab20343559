"""Learning curves and picture grids of a leaderboard."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure

from drpca.datasets import Split, open_split
from drpca.datasets.splits import spread
from drpca.errors import UserError, unknown_name
from drpca.evaluation.protocols import Protocol
from drpca.leaderboard.rows import Row
from drpca.reports.grid import GridRow, draw_grid, save_grid
from drpca.run_folder import RunFolder
from drpca.visualization.charts import line_style, panel_grid, save_figure


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
    figure, axes = panel_grid(len(panels))
    for axis, panel in zip(axes, panels):
        labels = list(dict.fromkeys(curve.label for curve in curves if curve.panel == panel))
        for number, label in enumerate(labels):
            mine = [dict(zip(c.epochs, c.values)) for c in curves if (c.panel, c.label) == (panel, label)]
            look = line_style(number)
            for points in mine if len(mine) > 1 else []:
                axis.plot(list(points), [100 * v for v in points.values()], color=look['color'], lw=0.7, alpha=0.5)
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
    save_grid(draw_grid(grid_rows, titles, protocol), file)


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
    return list(save_figure(learning_figure(curves, 'IoU'), stem))


def choose_images(split: Split, names: Sequence[str]) -> list[str]:
    """The names, or four images that hold targets.

    Raises:
        UserError: There is no such image.
    """
    for name in names:
        if name not in split.names:
            raise unknown_name(f'image of {split.dataset} {split.split}', name, split.names)
    return list(names) or spread([name for name in split.names if split.read_mask(name).any()], 4)
