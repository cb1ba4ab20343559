"""Line charts as SVG that takes its colours (``--line-0``, …, ``--edge``) from the page, light or dark."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Literal

import numpy as np

WIDTH, HEIGHT = 460, 330
LEFT, RIGHT, TOP, BOTTOM = 52, 14, 14, 44
COLOURS = 6
_DASHES = ('none', '7 3', '2 3', '9 3 2 3')


@dataclass(frozen=True)
class Line:
    """One curve.

    Attributes:
        name: For the legend and the tooltip.
        x: (n,) abscissae; NaN breaks the line, as in ``y``.
        y: (n,) ordinates.
        style: Number of its colour and dash.
        mark: (x, y) of a point to mark, None for no mark.
        mark_text: Tooltip of the mark.
        steps: How points are joined: '' by straight lines; 'after', y holds until the next x; 'before', since the last.
        labels: Tooltips of the points, which are drawn as dots, those that would cover one another left out; of these
            one empty text stands for no tooltips. Without any no dots are drawn.
    """

    name: str
    x: np.ndarray
    y: np.ndarray
    style: int = 0
    mark: tuple[float, float] | None = None
    mark_text: str = ''
    steps: Literal['', 'after', 'before'] = ''
    labels: Sequence[str] = ()


@dataclass(frozen=True)
class Axis:
    """Range and labelling of one axis.

    Attributes:
        label: Text beside it.
        low: Lower end.
        high: Upper end.
        log: Decadic logarithm; values at or below ``low`` are drawn at ``low``.
        parts: Between the ticks of a linear axis.
    """

    label: str
    low: float = 0.0
    high: float = 1.0
    log: bool = False
    parts: int = 5

    def place(self, values: np.ndarray) -> np.ndarray:
        """Values to [0, 1] along the axis."""
        values = np.clip(np.asarray(values, dtype=np.float64), self.low, self.high)
        if self.log:
            return np.log10(values / self.low) / np.log10(self.high / self.low)
        return (values - self.low) / (self.high - self.low)

    def ticks(self) -> list[tuple[float, str]]:
        """Values with their text."""
        if self.log:
            decades = range(round(np.log10(self.low)), round(np.log10(self.high)) + 1)
            return [(10.0**d, f'1e{d}') for d in decades]
        return [(float(v), f'{v:g}') for v in np.round(np.linspace(self.low, self.high, self.parts + 1), 6)]


def log_axis(label: str, values: Sequence[np.ndarray]) -> Axis:
    """A logarithmic axis of whole decades around the positive ones of ``values``, at least one decade."""
    joined = np.concatenate([np.asarray(v, dtype=np.float64) for v in values])
    positive = joined[joined > 0]
    if positive.size == 0:
        return Axis(label, 1e-6, 1.0, log=True)
    low = float(np.floor(np.log10(positive.min()) - 1e-9))
    high = max(float(np.ceil(np.log10(positive.max()))), low + 1)
    return Axis(label, 10.0**low, 10.0**high, log=True)


def linear_axis(label: str, values: Sequence[np.ndarray]) -> Axis:
    """A linear axis from one round number to another around the finite ones of ``values``."""
    joined = np.concatenate([np.zeros(0), *values])
    finite = joined[np.isfinite(joined)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    rough = max(high - low, 1e-3) / 4
    step = 10 ** np.floor(np.log10(rough))
    step *= next(factor for factor in (1, 2, 5, 10) if factor * step >= rough)
    first, last = int(np.floor(low / step)), int(np.ceil(high / step))
    return Axis(label, float(first * step), float(last * step), parts=max(last - first, 1))


def line_chart(title: str, lines: Sequence[Line], x_axis: Axis, y_axis: Axis) -> str:
    """An ``<svg>`` element; lines of the same ``style`` modulo the number of colours look alike."""
    width, height = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM

    def at_x(values: np.ndarray) -> np.ndarray:
        return LEFT + width * x_axis.place(values)

    def at_y(values: np.ndarray) -> np.ndarray:
        return TOP + height * (1 - y_axis.place(values))

    parts = [f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}">']
    for value, text in x_axis.ticks():
        x = float(at_x(np.array(value)))
        parts.append(f'<path class="grid" d="M{x:.1f} {TOP}V{TOP + height}"/>')
        parts.append(f'<text x="{x:.1f}" y="{TOP + height + 16}" text-anchor="middle">{text}</text>')
    for value, text in y_axis.ticks():
        y = float(at_y(np.array(value)))
        parts.append(f'<path class="grid" d="M{LEFT} {y:.1f}H{LEFT + width}"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{text}</text>')
    parts.append(
        f'<text x="{LEFT + width / 2}" y="{HEIGHT - 6}" text-anchor="middle">{escape(x_axis.label)}</text>'
        f'<text transform="translate(13 {TOP + height / 2}) rotate(-90)" text-anchor="middle">'
        f'{escape(y_axis.label)}</text>'
    )
    for line in lines:
        xs, ys = at_x(line.x), at_y(line.y)
        colour = f'var(--line-{line.style % COLOURS})'
        style = f'stroke:{colour};stroke-dasharray:{_DASHES[line.style % len(_DASHES)]}'
        path = _path(*_stepped(xs, ys, line.steps, LEFT + width))
        if path:
            name = escape(line.name)
            parts.append(f'<path class="line" style="{style}" d="{path}"><title>{name}</title></path>')
        parts += [
            f'<circle class="dot" style="fill:{colour}" r="2.6" cx="{xs[i]:.1f}" cy="{ys[i]:.1f}">'
            f'<title>{escape(line.labels[i] if len(line.labels) > i else line.name)}</title></circle>'
            for i in (_apart(xs, ys) if line.labels else ())
        ]
        if line.mark is not None and np.isfinite(line.mark).all():
            x, y = float(at_x(np.array(line.mark[0]))), float(at_y(np.array(line.mark[1])))
            parts.append(
                f'<circle class="mark" style="fill:{colour}" r="5.5" cx="{x:.1f}" cy="{y:.1f}">'
                f'<title>{escape(line.mark_text or line.name)}</title></circle>'
            )
    return ''.join(parts) + '</svg>'


def _stepped(x: np.ndarray, y: np.ndarray, steps: str, right: float) -> tuple[np.ndarray, np.ndarray]:
    """The corners of a line of steps; 'after' goes on to the right edge."""
    if not steps or not len(x):
        return x, y
    if steps == 'after':
        return np.repeat(np.append(x, right), 2)[1:], np.repeat(np.append(y, y[-1]), 2)[:-1]
    return np.repeat(x, 2)[:-1], np.repeat(y, 2)[1:]


def _apart(x: np.ndarray, y: np.ndarray, distance: float = 2.5) -> list[int]:
    """Indices of points that are no nearer to the one before than ``distance``."""
    kept: list[int] = []
    for index in np.flatnonzero(np.isfinite(x + y)).tolist():
        if not kept or np.hypot(x[index] - x[kept[-1]], y[index] - y[kept[-1]]) >= distance:
            kept.append(index)
    return kept


def _path(x: np.ndarray, y: np.ndarray) -> str:
    """SVG path through the points, interrupted where one is NaN; those drawn at the same place once."""
    pieces, pen, last = [], 'M', ''
    for a, b in zip(x, y):
        place = f'{a:.1f} {b:.1f}'
        if not np.isfinite(a + b):
            pen = 'M'
        elif pen == 'M' or place != last:
            pieces.append(pen + place)
            pen, last = 'L', place
    return ''.join(pieces) if 'L' in ''.join(pieces) else ''


def legend_style(style: int) -> str:
    """CSS of the short line in front of a legend entry."""
    kind = 'solid' if style % len(_DASHES) == 0 else 'dotted' if style % len(_DASHES) == 2 else 'dashed'
    return f'border-top:3px {kind} var(--line-{style % COLOURS})'
