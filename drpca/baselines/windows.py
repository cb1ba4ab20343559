"""Local windows: cell means, ring cells, line medians, border shifts."""

from __future__ import annotations

import cv2
import numpy as np

# The eight directions, opposite ones four apart: (rows, columns).
DIRECTIONS = ((-1, -1), (-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1))
# Along a row, a column and the two diagonals.
LINES = ((0, 1), (1, 0), (1, 1), (1, -1))


def box_mean(image: np.ndarray, size: int) -> np.ndarray:
    """Mean over size × size pixels around each pixel, border replicated; same shape as ``image``."""
    return cv2.blur(image, (size, size), borderType=cv2.BORDER_REPLICATE)


def box_sum(image: np.ndarray, size: int) -> np.ndarray:
    """Sum over size × size pixels around each pixel, border replicated; same shape as ``image``."""
    return cv2.boxFilter(image, -1, (size, size), normalize=False, borderType=cv2.BORDER_REPLICATE)


def ring(padded: np.ndarray, margin: int, distance: int) -> list[np.ndarray]:
    """Values of a map at the eight neighbours in distance ``distance``.

    Args:
        padded: (H + 2·margin, W + 2·margin).
        margin: Pixels added on each side, at least ``distance``.
        distance: Rows and columns to the neighbours.

    Returns:
        Eight views (H, W), in the order of ``DIRECTIONS``.
    """
    height, width = (n - 2 * margin for n in padded.shape)
    starts = [(margin + distance * dy, margin + distance * dx) for dy, dx in DIRECTIONS]
    return [padded[y : y + height, x : x + width] for y, x in starts]


def line_values(image: np.ndarray, taps: int, direction: tuple[int, int]) -> list[np.ndarray]:
    """Values on a line through each pixel, border mirrored with the edge repeated.

    Args:
        image: (H, W).
        taps: Pixels on the line, odd.
        direction: (rows, columns) from one tap to the next.

    Returns:
        ``taps`` views (H, W).
    """
    reach = taps // 2
    padded = np.pad(image, reach, mode='symmetric')
    height, width = image.shape
    dy, dx = direction
    starts = [(reach + k * dy, reach + k * dx) for k in range(-reach, reach + 1)]
    return [padded[y : y + height, x : x + width] for y, x in starts]


def median_of(maps: list[np.ndarray]) -> np.ndarray:
    """Pixelwise median of an odd number of maps, by minima and maxima alone.

    Forgetful selection: of n/2 + 2 maps neither the smallest nor the largest value of a pixel can be its
    median; both are dropped, the next map joins, and so on. No sorting along a short axis, all work is on
    whole maps.

    Args:
        maps: Odd number of arrays of the same shape.
    """
    count = len(maps)
    held = [m.copy() for m in maps[: count // 2 + 2]] if count > 1 else [maps[0].copy()]
    waiting = list(maps[len(held) :])
    while len(held) > 1:
        for k in range(1, len(held)):  # the smallest moves to the front
            held[0], held[k] = np.minimum(held[0], held[k]), np.maximum(held[0], held[k])
        for k in range(1, len(held) - 1):  # the largest moves to the back
            held[k], held[-1] = np.minimum(held[k], held[-1]), np.maximum(held[k], held[-1])
        held = held[1:-1]
        if waiting:
            held.append(waiting.pop(0).copy())
    return held[0]


def largest_mean(image: np.ndarray, size: int, count: int) -> np.ndarray:
    """Mean of the ``count`` largest values in each size × size window.

    Args:
        image: (H, W), at least size × size.
        size: Side of the window.
        count: At most size².

    Returns:
        (H − size + 1, W − size + 1), at the windows' first pixels.
    """
    windows = np.lib.stride_tricks.sliding_window_view(image, (size, size))
    values = windows.reshape(*windows.shape[:2], size * size)
    return np.partition(values, size * size - count, axis=-1)[..., size * size - count :].mean(axis=-1)
