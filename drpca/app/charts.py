"""Charts of a frame and its scores as Plotly's figures: plain dictionaries of data, layout and config."""

from __future__ import annotations

from typing import Any

import numpy as np

RADIUS = 16
"""Pixels of a target's surround to each side of its centre."""
BINS = 128
_GREY, _SCORE, _THRESHOLD = '#5b8fd0', '#d9822b', '#ff4d4f'

Figure = dict[str, Any]


def _figure(data: list[dict[str, Any]], **layout: Any) -> Figure:
    shared = {
        'margin': {'l': 50, 'r': 50, 't': 10, 'b': 40},
        'height': 280,
        'paper_bgcolor': 'rgba(0,0,0,0)',
        'plot_bgcolor': 'rgba(0,0,0,0)',
        'font': {'color': '#888', 'size': 11},
        'legend': {'orientation': 'h', 'y': 1.15},
    }
    return {'data': data, 'layout': shared | layout, 'config': {'displaylogo': False, 'responsive': True}}


def _axis(title: str, **more: Any) -> dict[str, Any]:
    return {'title': {'text': title}, 'gridcolor': 'rgba(128,128,128,0.25)', 'zeroline': False, **more}


def histogram(image: np.ndarray, scores: np.ndarray, threshold: float) -> Figure:
    """How many pixels have which grey value and which score, on a logarithmic axis, with the threshold.

    Args:
        image: (H, W) in [0, 1].
        scores: (H, W) in [0, 1].
        threshold: In [0, 1).
    """
    edges = np.linspace(0, 1, BINS + 1)
    centres = ((edges[:-1] + edges[1:]) / 2).round(4).tolist()
    data = [
        {
            'type': 'scatter', 'mode': 'lines', 'line': {'shape': 'hvh', 'color': colour}, 'name': name, 'x': centres,
            'y': [int(count) or None for count in np.histogram(values, edges)[0]],
        }
        for values, name, colour in ((image, 'grey values', _GREY), (scores, 'scores', _SCORE))
    ]  # fmt: skip
    line = {'type': 'line', 'x0': threshold, 'x1': threshold, 'y0': 0, 'y1': 1, 'yref': 'paper'}
    return _figure(
        data,
        xaxis=_axis('value', range=[0, 1]),
        yaxis=_axis('pixels', type='log'),
        shapes=[{**line, 'line': {'color': _THRESHOLD, 'dash': 'dash'}}],
    )


def window(shape: tuple[int, ...], row: int, column: int, radius: int = RADIUS) -> tuple[slice, slice]:
    """Rows and columns around a pixel, inside of a frame."""
    rows, columns = (
        slice(max(centre - radius, 0), min(centre + radius + 1, size)) for centre, size in zip((row, column), shape)
    )
    return rows, columns


def profile(image: np.ndarray, scores: np.ndarray, row: int, column: int, threshold: float) -> Figure:
    """Grey values, and scores on an axis of their own, along the row and the column through a pixel.

    Args:
        image: (H, W) in [0, 1].
        scores: (H, W) in [0, 1].
        row: Of the pixel.
        column: Of the pixel.
        threshold: In [0, 1).
    """
    rows, columns = window(image.shape, row, column)
    data = []
    for name, cut, start, centre, dash in (
        ('row', (row, columns), columns.start, column, 'solid'),
        ('column', (rows, column), rows.start, row, 'dot'),
    ):
        for kind, values, colour, axis in (('grey', image, _GREY, 'y'), ('score', scores, _SCORE, 'y2')):
            line = values[cut]
            data.append({
                'type': 'scatter', 'mode': 'lines', 'name': f'{kind} along the {name}', 'yaxis': axis,
                'line': {'color': colour, 'dash': dash}, 'x': (np.arange(len(line)) + start - centre).tolist(),
                'y': line.astype(float).round(4).tolist(),
            })  # fmt: skip
    return _figure(
        data,
        xaxis=_axis('pixels from the chosen one'),
        yaxis=_axis('grey value'),
        yaxis2={'title': {'text': 'score'}, 'overlaying': 'y', 'side': 'right', 'range': [0, 1.02], 'showgrid': False},
        shapes=[
            {
                'type': 'line', 'x0': 0, 'x1': 1, 'xref': 'paper', 'y0': threshold, 'y1': threshold, 'yref': 'y2',
                'line': {'color': _THRESHOLD, 'dash': 'dash', 'width': 1},
            }
        ],
    )  # fmt: skip


def surface(values: np.ndarray, row: int, column: int, name: str) -> Figure:
    """The values around a pixel as a surface.

    Args:
        values: (H, W) of any range.
        row: Of the pixel.
        column: Of the pixel.
        name: Of the values.
    """
    rows, columns = window(values.shape, row, column)
    data = {
        'type': 'surface', 'z': values[rows, columns].astype(float).round(4).tolist(), 'colorscale': 'Viridis',
        'x': list(range(columns.start, columns.stop)), 'y': list(range(rows.start, rows.stop)),
        'showscale': False, 'hovertemplate': f'row %{{y}}, column %{{x}}<br>{name} %{{z}}<extra></extra>',
    }  # fmt: skip
    scene = {
        'xaxis': {'title': {'text': 'column'}}, 'zaxis': {'title': {'text': name}},
        'yaxis': {'title': {'text': 'row'}, 'autorange': 'reversed'}, 'aspectratio': {'x': 1, 'y': 1, 'z': 0.6},
    }  # fmt: skip
    return _figure([data], scene=scene, height=360, margin={'l': 0, 'r': 0, 't': 0, 'b': 0})
