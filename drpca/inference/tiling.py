"""Score maps of large frames from overlapping tiles, without seams and in bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice

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

    A tile's weight falls to almost nothing at its edge, so that no edge shows in the blend. Two maps of the
    frame's size are kept besides the tiles of one batch.

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
    height, width = min(tile, image.shape[0]), min(tile, image.shape[1])
    corners: Iterator[tuple[int, int]] = (
        (top, left)
        for top in tile_starts(image.shape[0], tile, overlap)
        for left in tile_starts(image.shape[1], tile, overlap)
    )
    window = np.outer(ramp_window(height, overlap), ramp_window(width, overlap))
    total = np.zeros(image.shape, np.float32)
    weight = np.zeros(image.shape, np.float32)
    while batch := list(islice(corners, batch_size)):
        places = [(slice(top, top + height), slice(left, left + width)) for top, left in batch]
        for place, scores in zip(places, score([image[place] for place in places])):
            total[place] += window * scores
            weight[place] += window
    total /= weight
    return np.clip(total, 0, 1, out=total)
