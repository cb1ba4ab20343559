"""Curves as PNG and SVG files; the same figures give the same files with the same version of matplotlib."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib
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


def panel_grid(count: int) -> tuple[Figure, list[Axes]]:
    columns = min(count, _COLUMNS)
    rows = -(-count // columns)
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(_PANEL[0] * columns, _PANEL[1] * rows + 0.5), layout='constrained')
        grid = figure.subplots(rows, columns, squeeze=False)
    axes = list(grid.flat)
    for unused in axes[count:]:
        unused.remove()
    return figure, axes[:count]


def line_style(number: int) -> dict[str, Any]:
    return {
        'color': COLOURS[number % len(COLOURS)],
        'marker': _MARKS[number % len(_MARKS)],
        'markersize': 4,
        'linewidth': 1.5,
    }
