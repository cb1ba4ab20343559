"""Curves as PNG and SVG files; the same figures give the same files with the same version of matplotlib."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from drpca.files import save

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
COLOURS = ('#0072B2', '#D55E00', '#009E73', '#CC79A7', '#E69F00', '#56B4E9', '#000000')
_MARKS = ('o', 's', '^', 'D', 'v', 'P', 'X')
_DASHES: Any = ('-', (0, (4, 2)), (0, (1, 1.5)), (0, (5, 1.5, 1, 1.5)))
_CHARACTERS_PER_INCH = 15
SUFFIXES = ('.png', '.svg')


def save_figure(figure: Figure, stem: Path) -> list[Path]:
    """Writes ``stem.png`` and ``stem.svg``, in place of files of these names.

    Raises:
        UserError: They cannot be written.
    """
    paths = [stem.with_name(stem.name + suffix) for suffix in SUFFIXES]
    with matplotlib.rc_context(_STYLE):
        save(paths[0], lambda draft: figure.savefig(draft, dpi=150), overwrite=True)
        save(paths[1], lambda draft: figure.savefig(draft, metadata={'Date': None}), overwrite=True)
    return paths


def panel_grid(count: int, heading: str = '') -> tuple[Figure, list[Axes]]:
    """So many panels, in rows of four.

    Args:
        count: Panels.
        heading: What the figure is of, above all of them: data set, images, preset, model.
    """
    columns = min(count, _COLUMNS)
    rows = -(-count // columns)
    lines = textwrap.wrap(heading, int(_PANEL[0] * columns * _CHARACTERS_PER_INCH))
    with matplotlib.rc_context(_STYLE):
        size = (_PANEL[0] * columns, _PANEL[1] * rows + 0.5 + 0.15 * len(lines))
        figure = Figure(figsize=size, layout='constrained')
        grid = figure.subplots(rows, columns, squeeze=False)
        if lines:
            figure.suptitle('\n'.join(lines), fontsize=9)
    axes = list(grid.flat)
    for unused in axes[count:]:
        unused.remove()
    return figure, axes[:count]


def line_style(number: int) -> dict[str, Any]:
    """Look of a line of several. The first are the widest and lie below, so that lines that coincide are all seen."""
    return {
        'color': COLOURS[number % len(COLOURS)],
        'marker': _MARKS[number % len(_MARKS)],
        'linestyle': _DASHES[number % len(_DASHES)],
        'markersize': max(3.0, 7 - 1.5 * number),
        'linewidth': max(1.2, 3.2 - 0.7 * number),
        'zorder': 2 + number / 100,
    }


def decades_axis(axis: Axes) -> None:
    """Makes the y axis logarithmic where positive values of its lines span more than a decade and a half.

    Below the smallest of them it is linear, so that 0 has its place.
    """
    drawn = [np.asarray(line.get_ydata(), float) for line in axis.lines]
    values = np.concatenate([*drawn, [0.0]])
    positive = values[values > 0]
    if positive.size and positive.max() > 30 * positive.min():
        axis.set_yscale('symlog', linthresh=positive.min())
        axis.set_ylim(0, 2 * positive.max())
