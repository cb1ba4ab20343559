"""The figure of what every threshold gives: Pd against Fa, a line per results folder."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure

from drpca.evaluation.curves import Curve
from drpca.visualization.charts import label_text, line_style, panel_grid, style


@dataclass(frozen=True)
class RocLine:
    """One line.

    Attributes:
        label: What it is called.
        curve: Counts at every threshold.
        threshold: Score in [0, 1) of the threshold to mark; None: no mark.
    """

    label: str
    curve: Curve
    threshold: float | None = None


def roc_figure(lines: Sequence[RocLine], heading: str = '', width: float | None = None) -> Figure:
    """The highest Pd that can be had within a Fa, as steps with a dot for measured thresholds, Fa logarithmic.

    Dots that would cover one another are left out; Fa of 0 lies at the left edge; the large hollow mark is a preset's
    threshold.

    Args:
        lines: At least one.
        heading: Above the figure.
        width: Of a figure for a paper, in inches.
    """
    figure, (axis,) = panel_grid(1, heading, width)
    best = [line.curve.best() for line in lines]
    places = [line.curve.fa[chosen] for line, chosen in zip(lines, best)]
    positive = np.concatenate([*(fa[fa > 0] for fa in places), [1e-6]])
    low = 10.0 ** math.floor(math.log10(positive.min()))
    high = max(10.0 ** math.ceil(math.log10(positive.max())), 10 * low)
    with style(width):
        for number, (line, chosen, fa) in enumerate(zip(lines, best, places)):
            look = line_style(number, width)
            x, y = np.append(np.maximum(fa, low), high), line.curve.pd[chosen]
            dots = _apart(np.log10(x[:-1] / low) / np.log10(high / low), y)
            shown = {**look, 'markersize': 0.7 * look['markersize'], 'markevery': dots}
            axis.plot(
                x,
                np.append(y, y[-1] if len(y) else math.nan),
                drawstyle='steps-post',
                label=label_text(line.label),
                **shown,
            )
            if line.threshold is not None:
                logit = math.log(line.threshold / (1 - line.threshold)) if line.threshold else -math.inf
                at = logit if line.curve.scale == 'logit' else line.threshold
                point = line.curve.at(max(at, line.curve.lowest))
                axis.plot(max(point.fa, low), point.pd, look['marker'], markersize=7, fillstyle='none',
                          color=look['color'], markeredgewidth=1, zorder=3)  # fmt: skip
        axis.set(xscale='log', xlim=(low, high), ylim=(0, 1.02), xlabel='Fa (false-alarm pixels / pixels)', ylabel='Pd')
        axis.legend(loc='lower right', frameon=False)
    return figure


def _apart(x: np.ndarray, y: np.ndarray, distance: float = 0.02) -> list[int]:
    """Which of some points, as shares of the axes, to draw: none nearer to the one before than a distance."""
    kept: list[int] = []
    for index, place in enumerate(zip(x.tolist(), y.tolist())):
        if not kept or math.dist(place, (x[kept[-1]], y[kept[-1]])) >= distance:
            kept.append(index)
    return kept
