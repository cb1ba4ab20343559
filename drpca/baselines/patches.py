"""Patch image and patch tensor: overlapping patches of an image, and the way back.

Shapes: image (H, W); patches (p, p, n); patch matrix (p·p, n), one column per patch.
Patches are numbered column by column: top to bottom first, then left to right.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np

from drpca.errors import UserError

Coverage = Literal['flush', 'fitting', 'inside']
Aggregation = Literal['mean', 'median', 'last', 'mean_without_last']


def positions(length: int, patch_size: int, step: int, coverage: Coverage = 'flush') -> list[int]:
    """First rows (or columns) of the patches along one side of an image.

    Args:
        length: Pixels along the side, at least ``patch_size``.
        patch_size: Pixels along a patch.
        step: Distance of neighbouring patches.
        coverage: 'flush': every fitting position, and a last one flush with the border, so that all pixels
            are covered. 'fitting': without that last one. 'inside': 0, step, … below length − patch_size, as
            behind the leaderboard's IPI and NOLC rows. The latter two leave up to ``step`` pixels at the far
            border uncovered.
    """
    last = length - patch_size
    if coverage == 'inside':
        return list(range(0, max(last, 1), step))
    starts = list(range(0, last + 1, step))
    return [*starts, last] if coverage == 'flush' and starts[-1] != last else starts


def refuse_gaps(method: str, patch_size: int, step: int) -> None:
    """Refuses patches that do not touch.

    Raises:
        UserError: ``step`` is larger than ``patch_size``.
    """
    if step > patch_size:
        raise UserError(
            f'{method}: step {step} is larger than patch_size {patch_size}, pixels between patches would be lost; '
            'choose a smaller step.'
        )


@dataclass(frozen=True)
class PatchGrid:
    """Where the patches of an image lie.

    Args:
        shape: (H, W) of the image.
        patch_size: p, at most min(H, W).
        step: Distance of neighbouring patches, at most p.
        coverage: As in :func:`positions`.
    """

    shape: tuple[int, int]
    patch_size: int
    step: int
    coverage: Coverage = 'flush'

    @cached_property
    def corners(self) -> list[tuple[int, int]]:
        """(row, column) of the first pixel of each patch."""
        rows, columns = (positions(n, self.patch_size, self.step, self.coverage) for n in self.shape)
        return [(row, column) for column in columns for row in rows]

    def __len__(self) -> int:
        return len(self.corners)

    @cached_property
    def counts(self) -> np.ndarray:
        """How many patches cover each pixel, (H, W) int."""
        counts = np.zeros(self.shape, int)
        for window in self._windows():
            counts[window] += 1
        return counts

    def _windows(self) -> list[tuple[slice, slice]]:
        p = self.patch_size
        return [(slice(row, row + p), slice(column, column + p)) for row, column in self.corners]

    def patches(self, image: np.ndarray) -> np.ndarray:
        """Patch tensor of an image, (p, p, n)."""
        views = np.lib.stride_tricks.sliding_window_view(image, (self.patch_size, self.patch_size))
        rows, columns = np.array(self.corners).T
        return np.ascontiguousarray(views[rows, columns].transpose(1, 2, 0))

    def matrix(self, image: np.ndarray) -> np.ndarray:
        """Patch image: the patches as columns, (p·p, n)."""
        return self.patches(image).reshape(self.patch_size**2, len(self))

    def image(self, patches: np.ndarray, aggregation: Aggregation = 'mean') -> np.ndarray:
        """Puts patches back together.

        Args:
            patches: (p, p, n) or (p·p, n).
            aggregation: What becomes of overlapping values. 'mean'; 'median'; 'last': later patches
                overwrite earlier ones; 'mean_without_last': the sum of all but the last patch, divided by
                the number of all, so that pixels covered once become 0 (behind the leaderboard's IPI row).

        Returns:
            (H, W); 0 where no patch lies. Equals the image for the patches of an image, except under
            'mean_without_last'.
        """
        p = self.patch_size
        stack = patches.reshape(p, p, len(self))
        if aggregation == 'median':
            return self._median(stack)
        total, last = np.zeros(self.shape, patches.dtype), np.zeros(self.shape, patches.dtype)
        for index, window in enumerate(self._windows()):
            total[window] += stack[:, :, index]
            last[window] = stack[:, :, index]
        if aggregation == 'last':
            return last
        if aggregation == 'mean_without_last':
            total -= last
        return total / np.maximum(self.counts, 1)

    def _median(self, stack: np.ndarray) -> np.ndarray:
        """Median of the values that cover each pixel."""
        pixel = np.arange(self.shape[0] * self.shape[1]).reshape(self.shape)
        where, values = self.patches(pixel).ravel(), stack.ravel()
        values = values[np.lexsort((values, where))]
        counts = self.counts.ravel()
        first = np.cumsum(counts) - counts
        covered = counts > 0
        low, high = (first + np.maximum(counts - 1, 0) // 2)[covered], (first + counts // 2)[covered]
        image = np.zeros(pixel.size, values.dtype)
        image[covered] = (values[low] + values[high]) / 2
        return image.reshape(self.shape)
