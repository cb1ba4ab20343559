"""Pictures of a decomposition as uint8 arrays (H, W, 3)."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

GAP = 4
CAPTION_HEIGHT = 18
BAR = 8
AROUND_ZERO = ('T', 'N')
"""Variables whose sign means something."""
DETECTED, LABELLED = (255, 60, 60), (60, 220, 60)


def to_grey(values: np.ndarray) -> np.ndarray:
    """(H, W) → uint8. Values are clipped to [0, 1]."""
    return np.round(255 * np.clip(np.asarray(values, np.float32), 0, 1)).astype(np.uint8)


def variable_range(values: np.ndarray, around_zero: bool = False) -> tuple[float, float]:
    """Smallest and largest value that are told apart in a picture: single outliers do not move them.

    Args:
        values: (H, W) of any range.
        around_zero: −m and m, with m the 99.5th percentile of |values|, zeros left out. Otherwise the 0.5th and the
            99.5th percentile of the values.
    """
    if around_zero:
        sizes = np.abs(values[values != 0])
        high = float(np.percentile(sizes, 99.5, method='lower')) if sizes.size else 1.0
        return -high, high
    low, high = np.percentile(values, 0.5, method='higher'), np.percentile(values, 99.5, method='lower')
    return (float(low), float(high)) if low < high else (float(values.min()), float(values.max()))


def variable_picture(values: np.ndarray, around_zero: bool = False) -> np.ndarray:
    """(H, W) of any range → (H, W, 3) uint8, RGB, in the range of :func:`variable_range`.

    Grey from black to white; ``around_zero``: 0 is black, values above it become orange, those below blue.
    """
    low, high = variable_range(values, around_zero)
    return _coloured((np.asarray(values, np.float32) - low) / max(high - low, 1e-12), around_zero)


def colour_bar(height: int, around_zero: bool = False) -> np.ndarray:
    """(height, ``BAR``, 3) uint8: the colours of :func:`variable_picture`, the largest value at the top."""
    return np.repeat(_coloured(np.linspace(1, 0, height)[:, None], around_zero), BAR, axis=1)


def range_text(values: np.ndarray, around_zero: bool = False) -> str:
    """What a picture tells apart, ``-7 .. 7``, and all that there is where that is more, ``-7 .. 7 of -9 .. 31``."""
    shown = variable_range(values, around_zero)
    text = f'{shown[0]:.3g} .. {shown[1]:.3g}'
    there = float(values.min()), float(values.max())
    return text if shown[0] <= there[0] and there[1] <= shown[1] else f'{text} of {there[0]:.3g} .. {there[1]:.3g}'


def _coloured(share: np.ndarray, around_zero: bool) -> np.ndarray:
    """Places in a range, 0 to 1, as colours: (…,) → (…, 3) uint8."""
    anchors = ((90, 160, 255), (0, 0, 0), (255, 150, 60)) if around_zero else ((0, 0, 0), (255, 255, 255))
    places = np.linspace(0, 1, len(anchors))
    return np.round(np.stack([np.interp(share, places, part) for part in zip(*anchors)], axis=-1)).astype(np.uint8)


def caption(picture: np.ndarray, text: str) -> np.ndarray:
    """Put a line of text above a grey or RGB picture; returns RGB."""
    rgb = picture if picture.ndim == 3 else cv2.cvtColor(picture, cv2.COLOR_GRAY2RGB)
    strip = np.zeros((CAPTION_HEIGHT, rgb.shape[1], 3), np.uint8)
    cv2.putText(strip, text, (3, 13), cv2.FONT_HERSHEY_SIMPLEX, 0.4, (255, 255, 255), 1, cv2.LINE_AA)
    return np.concatenate([strip, rgb])


def side_by_side(pictures: list[np.ndarray]) -> np.ndarray:
    """Pictures of equal height in one row."""
    gap = np.full((pictures[0].shape[0], GAP, 3), 64, np.uint8)
    row: list[np.ndarray] = []
    for picture in pictures:
        row += [picture, gap]
    return np.concatenate(row[:-1], axis=1)


def outline(image: np.ndarray, pred_mask: np.ndarray, gt_mask: np.ndarray | None = None) -> np.ndarray:
    """Grey image with contours: detections red, targets of the label green. Returns RGB (H, W, 3)."""
    rgb = cv2.cvtColor(to_grey(image), cv2.COLOR_GRAY2RGB)
    for mask, colour in ((gt_mask, LABELLED), (pred_mask, DETECTED)):
        if mask is not None:
            grown = cv2.dilate(mask.astype(np.uint8), np.ones((5, 5), np.uint8))
            edge = grown - cv2.dilate(mask.astype(np.uint8), np.ones((3, 3), np.uint8))
            rgb[edge > 0] = colour
    return rgb


def enlarge(picture: np.ndarray, side: int) -> np.ndarray:
    """By the smallest whole factor, pixels kept, that brings the shorter side to at least ``side``."""
    factor = max(1, -(-side // min(picture.shape[:2])))
    return picture.repeat(factor, axis=0).repeat(factor, axis=1)


@torch.no_grad()
def decomposition_panel(model: Any, image: Tensor, gt_mask: Tensor | None = None) -> np.ndarray:
    """D, B, T, (N), score and mask of the last stage in one row.

    Args:
        model: A :class:`drpca.models.detector.DetectionModel`; networks without a decomposition show D,
            score and mask.
        image: (1, H, W) in [0, 1]; or a window (n, H, W), of which the last reported frame is shown.
        gt_mask: (1, H, W) or None.

    Returns:
        (H + caption, W', 3) uint8. B in its own range, T and N around 0, see :func:`variable_picture`.
    """
    variables: dict[str, Tensor | None] = {}
    if hasattr(model.network, 'decompose'):
        last = model.decompose(image[None])[-1]
        variables = {'B': last.background, 'T': last.target, 'N': last.noise}
    scores = torch.sigmoid(model.detect(image[None]))[0, -1].cpu().numpy()
    shown = model.network.reported[-1] if len(image) > 1 else 0
    pictures = [caption(to_grey(image[shown].cpu().numpy()), 'D image')]
    for title, variable in variables.items():
        if variable is not None:
            values = variable[0, -1].float().cpu().numpy()
            picture = variable_picture(values, title in AROUND_ZERO)
            pictures.append(caption(picture, f'{title}  {range_text(values, title in AROUND_ZERO)}'))
    pictures.append(caption(to_grey(scores), 'score'))
    if gt_mask is not None:
        pictures.append(caption(to_grey(gt_mask[-1].cpu().numpy()), 'mask (label)'))
    return side_by_side(pictures)
