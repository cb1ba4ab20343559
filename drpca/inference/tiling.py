"""Score maps of large frames from overlapping tiles, without seams and in bounded memory."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice, product

import numpy as np

from drpca.errors import UserError


def tile_starts(length: int, tile: int, overlap: int) -> list[int]:
    """First pixels of evenly spread tiles that cover ``length`` and overlap by at least ``overlap``."""
    if length <= tile:
        return [0]
    count = -(-(length - overlap) // (tile - overlap))
    return np.round(np.linspace(0, length - tile, count)).astype(int).tolist()


def ramp_window(length: int, overlap: int) -> np.ndarray:
    """(length,) weights: 1 in the middle, raised cosines of ``overlap`` pixels down to almost 0 at both ends."""
    distance = np.minimum(np.arange(length), np.arange(length)[::-1]) + 0.5
    return np.sin(np.pi / 2 * np.minimum(distance / max(overlap, 1), 1)).astype(np.float32) ** 2


def map_in_tiles(
    image: np.ndarray,
    score: Callable[[list[np.ndarray]], list[np.ndarray]],
    tile: int,
    overlap: int,
    batch_size: int = 1,
) -> np.ndarray:
    """The score map of a frame of any size.

    A tile's weight falls to almost nothing at its edge, so that no edge shows in the blend. Weights are a product
    of rows and columns, and so is their sum over the grid of tiles: besides the tiles of one batch, one map of
    the frame's size is kept.

    Args:
        image: (H, W).
        score: Tiles of equal size → their score maps.
        tile: Side of a tile.
        overlap: Smallest overlap of neighbours, in pixels.
        batch_size: Tiles per call of ``score``.

    Raises:
        UserError: The overlap leaves no room to advance.
    """
    if not 0 <= overlap <= tile // 2:
        raise UserError(f'Expected an overlap from 0 to half the tile ({tile // 2}), got {overlap}.')
    (row_window, row_starts, row_sum), (column_window, column_starts, column_sum) = (
        _weights(length, tile, overlap) for length in image.shape
    )
    window = np.outer(row_window, column_window)
    corners = product(row_starts, column_starts)
    total = np.zeros(image.shape, np.float32)
    while batch := list(islice(corners, batch_size)):
        places = [(slice(top, top + len(row_window)), slice(left, left + len(column_window))) for top, left in batch]
        for place, scores in zip(places, score([image[place] for place in places])):
            total[place] += window * scores
    total /= row_sum[:, None]
    total /= column_sum
    return np.clip(total, 0, 1, out=total)


def _weights(length: int, tile: int, overlap: int) -> tuple[np.ndarray, list[int], np.ndarray]:
    """Along one axis: the weights of a tile, the first pixels of all tiles, the sum of their weights (length,)."""
    starts = tile_starts(length, tile, overlap)
    window = ramp_window(min(tile, length), overlap)
    total = np.zeros(length, np.float32)
    for start in starts:
        total[start : start + len(window)] += window
    return window, starts, total
