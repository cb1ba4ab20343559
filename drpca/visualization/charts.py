"""Figures as PDF, SVG and PNG files in one style; the same figures give the same files with the same matplotlib.

Text stays text: PDF and SVG files hold the glyphs of its font that they need.
"""

from __future__ import annotations

import base64
import re
import textwrap
import warnings
from collections.abc import Sequence
from contextlib import AbstractContextManager
from html import unescape
from io import BytesIO
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

from drpca.errors import UserError, warn
from drpca.files import save_bytes

_FONT = 'DejaVu Sans'
_STYLE: Any = {
    'svg.hashsalt': 'drpca',
    'svg.fonttype': 'none',
    'pdf.fonttype': 42,
    'font.family': _FONT,
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
SUFFIXES, PAPER = ('.png', '.svg'), ('.pdf', '.svg', '.png')
"""Of the files of a figure: usually; for a paper."""
WIDTHS = {'single': 89.0, 'double': 182.0}
"""Millimetres of one and of two columns of a journal."""
_PAPER_STYLE = {'font.size': 7, 'axes.titlesize': 7, 'legend.fontsize': 6, 'axes.linewidth': 0.6, 'lines.linewidth': 1}


def style(width: float | None = None) -> AbstractContextManager[None]:
    """The style of all figures, for a ``with`` around what draws; of one for a paper where it has a width."""
    return matplotlib.rc_context(_STYLE if width is None else {**_STYLE, **_PAPER_STYLE})


def inches(width: str | float) -> float:
    """A column width, ``'single'``, ``'double'`` or millimetres from 30 to 600, in inches.

    Raises:
        UserError: It is none.
    """
    try:
        millimetres = WIDTHS[width] if isinstance(width, str) and width in WIDTHS else float(width)
    except ValueError:
        millimetres = 0.0
    if not 30 <= millimetres <= 600:
        raise UserError(f'Expected a width of single, double or 30 to 600 mm, got {str(width)[:40]!r}.')
    return millimetres / 25.4


def label_text(text: str, longest: int = 60) -> str:
    """A name as a figure shows it, letter by letter: no formula, one line, not left out of a legend for its ``_``."""
    text = ''.join(letter if letter.isprintable() else ' ' for letter in text).replace('$', r'\$')
    text = text if len(text) <= longest else f'{text[: longest - 1]}…'
    return f' {text}' if text.startswith('_') else text


def is_drawable(value: object) -> bool:
    """Whether a value of a file is a number that an axis takes: finite, and not so large that sums of it are not."""
    return isinstance(value, int | float) and -1e12 < value < 1e12


def save_figure(
    figure: Figure, stem: Path, suffixes: Sequence[str] = SUFFIXES, caption: str = '', dpi: float = 150
) -> list[Path]:
    """Writes ``stem.png``, ``stem.svg``, …, in place of files of these names.

    Args:
        figure: What is drawn.
        stem: The files without their suffixes.
        suffixes: Of ``PAPER``.
        caption: What the figure shows, for the files' own description.
        dpi: Of PNG files, and of what PDF and SVG files hold as pixels.

    Raises:
        UserError: They cannot be written.
    """
    paths = [stem.with_name(stem.name + suffix) for suffix in suffixes]
    for path in paths:
        save_drawing(figure, path, caption, dpi)
    return paths


def save_drawing(figure: Figure, path: Path, caption: str = '', dpi: float = 150) -> None:
    """Writes one file, in place of a file of that name: PDF or SVG by its suffix, else PNG; see :func:`save_figure`."""
    kind = path.suffix if path.suffix in PAPER else '.png'
    caption = ''.join(letter if letter.isprintable() else ' ' for letter in caption)
    about: dict[str, dict[str, Any]] = {
        '.pdf': {'CreationDate': None, 'Subject': caption or None}, '.svg': {'Date': None, 'Description': caption},
        '.png': {'Description': caption} if caption else {},
    }  # fmt: skip
    content = BytesIO()
    with style(), warnings.catch_warnings(record=True) as told:
        warnings.simplefilter('always')
        figure.savefig(content, format=kind[1:], dpi=dpi, metadata=about[kind])
    if any('missing from font' in str(one.message) for one in told):
        warn(f'{path}: the font {_FONT} lacks letters of its names, which are boxes there.')
    data = content.getvalue()
    save_bytes(path, _with_font(data.decode()).encode() if kind == '.svg' else data, overwrite=True)


def _with_font(svg: str) -> str:
    """An SVG file with the glyphs that its text needs."""
    from fontTools import subset

    options = subset.Options(flavor='woff', notdef_outline=True, recalc_timestamp=False, layout_features=[])
    options.drop_tables += ['FFTM']
    font = subset.load_font(font_manager.findfont(_FONT), options)
    glyphs = subset.Subsetter(options)
    glyphs.populate(text=unescape(''.join(re.findall('>([^<]*)</t(?:ext|span)>', svg))))
    glyphs.subset(font)
    file = BytesIO()
    subset.save_font(font, file, options)
    source = f'data:font/woff;base64,{base64.b64encode(file.getvalue()).decode()}'
    rule = f"<style>@font-face{{font-family:'{_FONT}';src:url({source})}}</style>"
    return svg.replace('<defs>', f'<defs>{rule}', 1)


def panel_grid(
    count: int, heading: str = '', width: float | None = None, least: float = 1.7
) -> tuple[Figure, list[Axes]]:
    """So many panels, in rows of four, or of as many as a width has room for.

    Args:
        count: Panels.
        heading: What the figure is of, above all of them: data set, images, preset, model.
        width: Of a figure for a paper, in inches.
        least: Of a panel there.
    """
    columns = min(count, _COLUMNS if width is None else max(1, int(width / least)))
    rows = -(-count // columns)
    across = _PANEL[0] if width is None else width / columns
    down = _PANEL[1] if width is None else min(0.75 * across, _PANEL[1])
    lines = textwrap.wrap(heading, int(across * columns * _CHARACTERS_PER_INCH))
    with style(width):
        size = (across * columns, down * rows + 0.5 + 0.15 * len(lines))
        figure = Figure(figsize=size, layout='constrained')
        grid = figure.subplots(rows, columns, squeeze=False)
        if lines:
            figure.suptitle('\n'.join(label_text(line, 999) for line in lines), fontsize=9)
    axes = list(grid.flat)
    for unused in axes[count:]:
        unused.remove()
    return figure, axes[:count]


def line_style(number: int, width: float | None = None) -> dict[str, Any]:
    """Look of a line of several. The first are the widest and lie below, so that lines that coincide are all seen.

    Args:
        number: Which line.
        width: Of a figure for a paper, whose lines are thinner.
    """
    scale = 1 if width is None else 0.5
    return {
        'color': COLOURS[number % len(COLOURS)],
        'marker': _MARKS[number % len(_MARKS)],
        'linestyle': _DASHES[number % len(_DASHES)],
        'markersize': scale * max(3.0, 7 - 1.5 * number),
        'linewidth': scale * max(1.2, 3.2 - 0.7 * number),
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


def label_points(axis: Axes, points: Sequence[tuple[str, float, float, float]], size: float = 5) -> None:
    """Writes a name beside each point, at the first of some places around it where it covers neither names nor points.

    Args:
        axis: Settled: its limits and place do not change any more.
        points: Name, x, y and half the height of the error bar of each.
        size: Of the letters, in points.
    """
    pad = 2 * axis.figure.dpi / 72
    bars = [axis.transData.transform([(x, y - half), (x, y + half)]) for _, x, y, half in points]
    taken = [Bbox([low - pad, high + pad]) for low, high in bars]
    around = [(0, 5), (0, -5), (5, 0), (-5, 0), (4, 4), (4, -4), (-4, 4), (-4, -4), (0, 11), (0, -11), (9, 8), (9, -8),
              (-9, 8), (-9, -8), (0, 17), (0, -17)]  # fmt: skip
    limits = axis.get_window_extent()
    for name, x, y, _ in sorted(points, key=lambda point: -point[2]):
        best: tuple[float, Any, Bbox] | None = None
        for right, up in around:
            text = axis.annotate(
                name, (x, y), (right, up), textcoords='offset points', fontsize=size, va='center',
                ha='left' if right > 0 else 'right' if right < 0 else 'center',
            )  # fmt: skip
            box = text.get_window_extent()
            covered = sum(_overlap(box, other) for other in taken) + box.width * box.height - _overlap(box, limits)
            if best is None or covered < best[0] - 1e-6:
                if best is not None:
                    best[1].remove()
                best = covered, text, box
            else:
                text.remove()
            if covered <= 1e-6:
                break
        if best is not None:
            taken.append(best[2])


def _overlap(one: Bbox, other: Bbox) -> float:
    common = Bbox.intersection(one, other)
    return 0.0 if common is None else float(common.width * common.height)
