"""What the page shows, as PNG data URLs and SVG."""

from __future__ import annotations

import base64

import cv2
import numpy as np

from drpca.app.verdicts import FALSE, FRAGMENT, HIT, MISSED, Verdicts
from drpca.datasets.io import resize_image, to_unit
from drpca.inference.detections import Detection
from drpca.visualization.panels import to_grey

MAX_SIDE = 1024
"""Larger pictures are shrunk for the screen; drawings on them keep to pixels of the frame."""
MAX_BOXES = 300
"""So many targets are drawn and listed, the strongest; files hold all of them."""

_MARGIN = 2  # pixels between a target and its box
DETECTED = '#ff4d4f'
_COLOUR_OF = {HIT: '#52c41a', FRAGMENT: '#ff9f1a', FALSE: DETECTED, MISSED: '#ffe14d'}
MARKS = (
    'numbered: detections, green a hit, orange a fragment of a target, red a false alarm; dashed: targets of the '
    'label, green found, yellow missed'
)
"""What the colours of :func:`boxes_svg` mean."""


def png(picture: np.ndarray) -> bytes:
    """(H, W) grey or (H, W, 3) RGB uint8 as a PNG file."""
    if picture.ndim == 3:
        picture = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
    return cv2.imencode('.png', picture)[1].tobytes()


DISPLAYS = {'seen': 'as the detector sees them', 'percentile': '1 % to 99 %', 'clahe': 'local contrast (CLAHE)'}
"""How grey values are shown."""
COLOURS = {'grey': None, 'inferno': cv2.COLORMAP_INFERNO, 'viridis': cv2.COLORMAP_VIRIDIS, 'turbo': cv2.COLORMAP_TURBO}


def frame_picture(image: np.ndarray, display: str = 'seen', colours: str = 'grey') -> np.ndarray:
    """A frame for the screen.

    Args:
        image: (H, W) float32 in [0, 1].
        display: One of ``DISPLAYS``. ``'clahe'``: contrast-limited adaptive histogram equalisation (Zuiderveld,
            Graphics Gems IV, 1994) in 8 × 8 parts.
        colours: One of ``COLOURS``.

    Returns:
        (H, W) or (H, W, 3) uint8, RGB.
    """
    if display == 'percentile':
        low, high = np.percentile(image, (1, 99))
        image = (image - low) / max(high - low, 1e-6)
    grey = to_grey(image)
    if display == 'clahe':
        grey = cv2.createCLAHE(clipLimit=3.0, tileGridSize=(8, 8)).apply(grey)
    table = COLOURS[colours]
    return grey if table is None else cv2.cvtColor(cv2.applyColorMap(grey, table), cv2.COLOR_BGR2RGB)


def data_url(picture: np.ndarray, max_side: int = MAX_SIDE) -> str:
    """A picture as a URL that holds it; larger ones than ``max_side`` are shrunk."""
    scale = max_side / max(picture.shape[:2])
    if scale < 1:
        height, width = (max(1, round(scale * side)) for side in picture.shape[:2])
        picture = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)
    return 'data:image/png;base64,' + base64.b64encode(png(picture)).decode()


def thumbnail_url(frame: np.ndarray) -> str:
    """A frame of 8 or 16 bits, 96 pixels wide and high."""
    return data_url(resize_image(to_grey(to_unit(frame)), (96, 96)))


def strongest(detection: Detection) -> list[int]:
    """Positions in ``detection.targets`` of the ``MAX_BOXES`` strongest, in their order there."""
    strengths = [target.strength for target in detection.targets]
    return sorted(sorted(range(len(strengths)), key=lambda index: -strengths[index])[:MAX_BOXES])


def boxes_svg(detection: Detection, verdicts: Verdicts | None = None) -> str:
    """Numbered boxes around the detections; dashed ones around the targets of the label. ``MARKS`` says what is what.

    Coordinates are pixels of the frame; a pixel reaches from its number to the next.
    """
    height, width = detection.scores.shape
    font = max(height, width) / 20
    parts = []
    for verdict, box in [] if verdicts is None else verdicts.targets:
        parts.append(_box(box, _COLOUR_OF[verdict], 3 * _MARGIN, ' stroke-dasharray="4 3"'))
    for index in strongest(detection):
        box = detection.targets[index].box
        colour = DETECTED if verdicts is None else _COLOUR_OF[verdicts.detections[index]]
        parts.append(_box(box, colour, _MARGIN))
        x = box[3] + _MARGIN + font / 4
        x = x if x < width - font else box[1] - _MARGIN - font * 1.2
        y = min(max((box[0] + box[2]) / 2 + font / 3, font), height - font / 4)
        parts.append(
            f'<text x="{x:.1f}" y="{y:.1f}" style="font: bold calc({font:.1f}px / var(--zoom, 1)) sans-serif" '
            f'fill="{colour}" stroke="black" stroke-width="0.17em" paint-order="stroke">{index + 1}</text>'
        )
    return ''.join(parts)


def _box(box: tuple[int, int, int, int], colour: str, margin: int, extra: str = '') -> str:
    top, left, bottom, right = box
    return (
        f'<rect x="{left - margin:.1f}" y="{top - margin:.1f}" width="{right - left + 2 * margin:.1f}" '
        f'height="{bottom - top + 2 * margin:.1f}" fill="none" stroke="{colour}" stroke-width="1.5" '
        f'vector-effect="non-scaling-stroke"{extra}/>'
    )
