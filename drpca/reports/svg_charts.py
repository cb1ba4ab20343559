"""Line charts as SVG that takes its colours (``--line-0``, …, ``--edge``) from the page, light or dark."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

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
        mark: Index of the point to mark, None for no mark.
        mark_text: Tooltip of the mark.
    """

    name: str
    x: np.ndarray
    y: np.ndarray
    style: int = 0
    mark: int | None = None
    mark_text: str = ''


@dataclass(frozen=True)
class Axis:
    """Range and labelling of one axis.

    Attributes:
        label: Text beside it.
        low: Lower end.
        high: Upper end.
        log: Decadic logarithm; values at or below ``low`` are drawn at ``low``.
    """

    label: str
    low: float = 0.0
    high: float = 1.0
    log: bool = False

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
        return [(float(v), f'{v:g}') for v in np.round(np.linspace(self.low, self.high, 6), 6)]


def log_axis(label: str, values: Sequence[np.ndarray]) -> Axis:
    """A logarithmic axis of whole decades around the positive ones of ``values``, at least one decade."""
    joined = np.concatenate([np.asarray(v, dtype=np.float64) for v in values])
    positive = joined[joined > 0]
    if positive.size == 0:
        return Axis(label, 1e-6, 1.0, log=True)
    low = float(np.floor(np.log10(positive.min()) - 1e-9))
    high = max(float(np.ceil(np.log10(positive.max()))), low + 1)
    return Axis(label, 10.0**low, 10.0**high, log=True)


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
        path = _path(xs, ys)
        if path:
            name = escape(line.name)
            parts.append(f'<path class="line" style="{style}" d="{path}"><title>{name}</title></path>')
        if line.mark is not None and np.isfinite(xs[line.mark] + ys[line.mark]):
            parts.append(
                f'<circle class="mark" style="fill:{colour}" r="4.5" cx="{xs[line.mark]:.1f}" '
                f'cy="{ys[line.mark]:.1f}"><title>{escape(line.mark_text or line.name)}</title></circle>'
            )
    return ''.join(parts) + '</svg>'


def _path(x: np.ndarray, y: np.ndarray) -> str:
    """SVG path through the points, interrupted where one is NaN."""
    pieces, pen = [], 'M'
    for a, b in zip(x, y):
        if np.isfinite(a + b):
            pieces.append(f'{pen}{a:.1f} {b:.1f}')
            pen = 'L'
        else:
            pen = 'M'
    return ''.join(pieces) if 'L' in ''.join(pieces) else ''


def legend_style(style: int) -> str:
    """CSS of the short line in front of a legend entry."""
    kind = 'solid' if style % len(_DASHES) == 0 else 'dotted' if style % len(_DASHES) == 2 else 'dashed'
    return f'border-top:3px {kind} var(--line-{style % COLOURS})'
