"""Score maps of large frames from overlapping tiles, in bounded memory.

Three ways, by what a pixel of the map depends on:

* An unfolded network whose steps see a few pixels around one, and means and maxima of the whole frame, runs step by
  step (:func:`in_tiles`): exact.
* Of a network that sees r pixels around one and nothing else, tiles overlap by 2r, and each gives the pixels that
  are r away from its cut edges (:func:`map_in_tiles` with ``radius``): exact.
* Tiles of any other are blended (:func:`map_in_tiles`): without seams, but each tile is computed as if it were the
  frame, which is another result wherever a network pools or attends over all that it sees.
"""

from __future__ import annotations

import copy
import weakref
from collections.abc import Callable, Iterator, Sequence
from itertools import islice, pairwise, product
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from drpca.errors import UserError
from drpca.models.unfolding import ABSENT, StageState, UnfoldingNetwork, reach


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


Region = tuple[slice, slice]
"""Rows and columns."""


class Tile(NamedTuple):
    """A tile of a frame.

    Attributes:
        place: All of it, in the frame.
        kept: The part that it gives, in the tile: away from its cut edges by half the overlap.
        core: The same part, in the frame. The cores cover the frame once.
    """

    place: Region
    kept: Region
    core: Region


def cut(shape: Sequence[int], side: int, overlap: int) -> Iterator[Tile]:
    """The tiles of a frame of (height, width), all of the same size."""

    def along(length: int) -> list[tuple[slice, slice, slice]]:
        tile = min(side, length)
        starts = tile_starts(length, tile, overlap)
        borders = [0, *((first + tile + second) // 2 for first, second in pairwise(starts)), length]
        return [
            (slice(start, start + tile), slice(low - start, high - start), slice(low, high))
            for start, (low, high) in zip(starts, pairwise(borders))
        ]

    for parts in product(*map(along, shape)):
        yield Tile(*zip(*parts))


def map_in_tiles(
    image: np.ndarray,
    score: Callable[[list[np.ndarray]], Sequence[np.ndarray]],
    tile: int,
    overlap: int,
    batch_size: int = 1,
    radius: int | None = None,
) -> np.ndarray:
    """The map of a frame of any size.

    Args:
        image: (H, W).
        score: Tiles of equal size → their score maps, or with ``radius`` any other maps.
        tile: Side of a tile.
        overlap: Smallest overlap of neighbours, in pixels.
        batch_size: Tiles per call of ``score``.
        radius: Pixels around one on which its value depends, at most half the overlap: the map is that of the whole
            frame. None: of the frame in some other way. Then a tile's weight falls to almost nothing at its edge, so
            that no edge shows in the blend. Weights are a product of rows and columns, and so is their sum over the
            grid of tiles: besides the tiles of one batch, one map of the frame's size is kept.

    Raises:
        UserError: The overlap leaves no room to advance.
    """
    if not 0 <= overlap <= tile // 2:
        raise UserError(f'Expected an overlap from 0 to half the tile ({tile // 2}), got {overlap}.')
    total = np.zeros(image.shape, np.float32)
    tiles = cut(image.shape, tile, overlap)
    (row_window, row_sum), (column_window, column_sum) = (_weights(length, tile, overlap) for length in image.shape)
    window = np.outer(row_window, column_window)
    while batch := list(islice(tiles, batch_size)):
        for (place, kept, core), scores in zip(batch, score([image[each.place] for each in batch])):
            if radius is None:
                total[place] += window * scores
            else:
                total[core] = scores[kept]
    if radius is not None:
        return total
    total /= row_sum[:, None]
    total /= column_sum
    return np.clip(total, 0, 1, out=total)


def _weights(length: int, tile: int, overlap: int) -> tuple[np.ndarray, np.ndarray]:
    """Along one axis: the weights of a tile, the sum of the weights of all tiles (length,)."""
    window = ramp_window(min(tile, length), overlap)
    total = np.zeros(length, np.float32)
    for start in tile_starts(length, tile, overlap):
        total[start : start + len(window)] += window
    return window, total


def in_tiles(network: UnfoldingNetwork, side: int, batch_size: int = 1) -> Any:
    """The same network, sharing its steps, which takes images of any size and computes them in tiles, exactly.

    What goes from step to step, D, B, T and N, has one channel and is kept of the whole image. Each step runs tile by
    tile; tiles overlap by what the step sees. Where a step takes a mean or a maximum over the image, all tiles first
    run up to there, once for each such place, to gather it: a step with n of them runs up to n + 1 times.

    Args:
        network: With ``local_steps``. Call the ``detect`` of its class.
        side: Of a tile; more where a step sees more than a quarter of it.
        batch_size: Tiles at once.
    """
    steps = [step for stage in network.decos for step in stage.children()]
    return copy.deepcopy(network, {id(step): _TiledStep(step, side, batch_size) for step in steps})


class _TiledStep(nn.Module):
    """A step: state of (1, 1, H, W) → its variable, (1, 1, H, W)."""

    def __init__(self, step: nn.Module, side: int, batch_size: int) -> None:
        super().__init__()
        self.step, self.batch_size, self.overlap = step, batch_size, 2 * reach(step)
        self.side = max(side, 2 * self.overlap)

    def forward(self, state: StageState) -> Tensor:
        result = torch.empty_like(state.reconstruction, dtype=torch.float32)
        known: list[_Pooled] = []
        while self._has_to_gather(state, known, result):
            pass
        return result

    def _has_to_gather(self, state: StageState, known: list[_Pooled], result: Tensor) -> bool:
        """Fills the result, or adds to what is known, in the order of the step."""
        gathered: _Pooled | None = None
        tiles = cut(result.shape[-2:], self.side, self.overlap)
        while batch := list(islice(tiles, self.batch_size)):
            places = [tile.place for tile in batch]
            inputs = StageState(
                *(
                    value if value is ABSENT else torch.cat([value[..., rows, columns] for rows, columns in places])
                    for value in state
                )
            )
            try:
                with _FramePooling(known, batch):
                    values = self.step(inputs)
            except _GatheredError as part:
                gathered = part.pooled if gathered is None else gathered.joined(part.pooled)
                continue
            for (_, kept, core), value in zip(batch, values):
                result[0, :, core[0], core[1]] = value[:, kept[0], kept[1]]
        if gathered is None:
            return False
        known.append(gathered)
        return True


class _Pooled(NamedTuple):
    """Sum of each channel over a number of pixels, (C,) float64, and largest value (C,)."""

    total: Tensor
    pixels: int
    peak: Tensor

    def joined(self, other: _Pooled) -> _Pooled:
        return _Pooled(self.total + other.total, self.pixels + other.pixels, torch.maximum(self.peak, other.peak))


class _GatheredError(Exception):
    def __init__(self, pooled: _Pooled) -> None:
        self.pooled = pooled


class _FramePooling(TorchFunctionMode):
    """Within it, means and maxima over rows and columns are those of the frame, for this thread.

    Args:
        known: Of the frame, for each tensor that is pooled, in order.
        tiles: What the batch holds.

    Raises:
        _GatheredError: From within the network, at the first tensor beyond ``known``: what these tiles add to it.
    """

    def __init__(self, known: list[_Pooled], tiles: list[Tile]) -> None:
        super().__init__()
        self.known, self.tiles = known, tiles
        self.place = -1
        self.pooled: weakref.ref[Tensor] | None = None

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        is_peak = func in _PEAKS
        if not (is_peak or func in _MEANS) or not _is_global(func, *args, **kwargs):
            return func(*args, **kwargs)
        x = args[0]
        if self.pooled is None or self.pooled() is not x:
            self.place, self.pooled = self.place + 1, weakref.ref(x)
        if self.place == len(self.known):
            raise _GatheredError(self._gather(x))
        total, pixels, peak = self.known[self.place]
        value = peak if is_peak else total / pixels
        return value.to(x.dtype).reshape(1, -1, 1, 1).expand(*x.shape[:2], 1, 1)

    def _gather(self, x: Tensor) -> _Pooled:
        kept = [features[:, rows, columns] for features, (_, (rows, columns), _) in zip(x, self.tiles)]
        parts = [
            _Pooled(
                part.mean(dim=(1, 2), dtype=torch.float32).double() * part[0].numel(),
                part[0].numel(),
                F.adaptive_max_pool2d(part, 1).flatten(),  # ``amax`` is slow in half precision on a CPU
            )
            for part in kept
        ]
        pooled = parts[0]
        for part in parts[1:]:
            pooled = pooled.joined(part)
        return pooled


_POOLING: Any = {F.adaptive_avg_pool2d, F.adaptive_max_pool2d}
_MEANS: Any = {Tensor.mean, torch.mean, F.adaptive_avg_pool2d}
_PEAKS: Any = {Tensor.amax, torch.amax, F.adaptive_max_pool2d}


def _is_global(func: Any, x: Tensor, at: Any = None, keepdim: bool = False, **named: Any) -> bool:
    """Whether one of these functions is called for (B, C, 1, 1), of more than that."""
    if x.shape[-2:] == (1, 1):
        return False
    if func in _POOLING:
        return named.get('output_size', at) in (1, (1, 1))
    axes = named.get('dim', at)
    return keepdim and isinstance(axes, tuple | list) and sorted(axis % 4 for axis in axes) == [2, 3]
