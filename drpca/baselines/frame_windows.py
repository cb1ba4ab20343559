"""What all methods for windows of consecutive frames share: checked frames, placement of windows, maps, parts.

Shapes: frames (n, H, W), n at least the window; all results likewise, frame by frame.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Literal

import numpy as np

from drpca.baselines.base import Baseline, Decomposition, as_grey
from drpca.baselines.parallel import one_thread
from drpca.baselines.patches import PatchGrid
from drpca.baselines.rpca import Parts, Records
from drpca.datasets.io import GreyRule
from drpca.errors import UserError

Placement = Literal['block', 'centred', 'last']


@dataclass(frozen=True)
class SolvedFrames:
    """What a method says of frames, on the scale of the problem that it solves.

    Attributes:
        target: (n, H, W), the map; negative values mean 'no target'.
        parts: B, T and N of shape (n, H, W), overlaps averaged, N None for methods without it.
        scale: Grey levels (of 255) to one unit of ``parts``.
    """

    target: np.ndarray
    parts: Parts
    scale: float

    def __getitem__(self, frames: slice) -> SolvedFrames:
        """Those frames alone."""
        parts = (self.parts.background, self.parts.target, self.parts.noise)
        return SolvedFrames(
            self.target[frames], Parts(*(None if part is None else part[frames] for part in parts)), self.scale  # type: ignore[arg-type]
        )  # fmt: skip


class SequenceError(UserError):
    """Frames that make no window: too few of them, or of several sizes."""


class WindowBaseline(Baseline):
    """Base of the methods that look at several consecutive frames at once.

    Subclasses implement :meth:`solve`. ``placement`` says which frames a window speaks for. 'block': all of its own;
    windows follow each other, and the last one reaches back where frames are left over. 'centred': the one in its
    middle; the frames before the first middle and after the last one come from those two windows. 'last': its newest
    one; such a method has a :meth:`stream` of its own.

    Parameters: ``window``, frames.
    """

    window: int
    placement: ClassVar[Placement] = 'block'

    def __init__(self, preset: str = 'toolbox', **overrides: Any) -> None:
        super().__init__(preset, **overrides)

    @property
    def grey(self) -> GreyRule:
        return 'luma'

    @property
    def delay(self) -> int:
        """Frames for which a result waits, at most."""
        return {'block': self.window - 1, 'centred': self.window // 2, 'last': 0}[self.placement]

    def solve(self, frames: np.ndarray, records: Records) -> SolvedFrames:
        """The method itself.

        Args:
            frames: (``window``, H, W) float64 in [0, 255], not constant.
            records: List that takes one record per iteration, or None.
        """
        raise NotImplementedError

    def stream(self, frames: Iterable[np.ndarray], records: Records = None) -> Iterator[SolvedFrames]:
        """Results as soon as they are there, in order; holds one window.

        Args:
            frames: (H, W) float64 in [0, 255].
            records: List that takes the records of all windows, or None.

        Yields:
            Results of one or several frames.

        Raises:
            UserError: Fewer frames than a window, too small ones, or of several sizes.
        """
        held: deque[np.ndarray] = deque(maxlen=self.window)
        waiting = 0
        middle = self.window // 2
        solved: SolvedFrames | None = None
        for frame in frames:
            self._check_same_size(held[-1].shape if held else frame.shape, frame.shape)
            held.append(frame)
            waiting += 1
            if len(held) < self.window or (self.placement == 'block' and waiting < self.window):
                continue
            is_first = solved is None
            solved = self._solve(held, records)
            if self.placement == 'block':
                yield solved
                waiting = 0
            else:
                yield solved[slice(0 if is_first else middle, middle + 1)]
                waiting = self.window - middle - 1
        self._check_count(len(held), self.window)
        if waiting:
            if self.placement == 'block':
                solved = self._solve(held, records)
            assert solved is not None
            yield solved[slice(self.window - waiting, None)]

    def _check_same_size(self, before: tuple[int, ...], shape: tuple[int, ...]) -> None:
        if shape != before:
            raise SequenceError(
                f'{type(self).__name__} needs consecutive frames of one size, got {before} and {shape}: put those of '
                'each size into a folder of their own.'
            )

    def _check_count(self, count: int, needed: int) -> None:
        if count < needed:
            raise SequenceError(f'{type(self).__name__} needs {needed} consecutive frames of one size, got {count}.')

    def _solve(self, held: Iterable[np.ndarray], records: Records) -> SolvedFrames:
        frames = np.stack(list(held))
        self._check_size(frames.shape[1:])
        if frames.min() == frames.max():
            zeros = np.zeros_like(frames)
            return SolvedFrames(zeros, Parts(frames, zeros), 1.0)
        with one_thread:
            return self.solve(frames, records)

    def _checked_frames(self, frames: np.ndarray) -> np.ndarray:
        """(n, H, W) as float64 in [0, 255], on one scale."""
        if not isinstance(frames, np.ndarray) or frames.ndim != 3:
            came = f'shape {frames.shape}' if isinstance(frames, np.ndarray) else type(frames).__name__
            raise UserError(
                f'{type(self).__name__} looks at {self.window} consecutive frames: expected an array of shape '
                f'(n, H, W), got {came}.'
            )
        return as_grey(frames.reshape(-1, frames.shape[2])).reshape(frames.shape)

    def predict(self, image: np.ndarray) -> np.ndarray:
        """Raw target maps at the size of the frames that come.

        Args:
            image: (n, H, W) frames: uint8; uint16, stretched to the range of all; or float in [0, 1].

        Returns:
            (n, H, W) float32, at least 0, on the method's own scale.

        Raises:
            UserError: As :func:`as_grey`; too few frames, or smaller than the method's patch.
        """
        maps = [solved.target for solved in self.stream(self._checked_frames(image))]
        return np.maximum(np.concatenate(maps), 0).astype(np.float32)

    def scores(self, image: np.ndarray) -> np.ndarray:
        """:meth:`predict`, each map divided by its maximum.

        Returns:
            (n, H, W) float32 in [0, 1]; an all-zero map stays zero.
        """
        return np.stack([scaled(raw) for raw in self.predict(image)])

    def decompose(self, image: np.ndarray, trace: bool = False) -> Decomposition:
        """Splits frames.

        Args:
            image: As for :meth:`predict`.
            trace: Record every iteration, of one window after the other.

        Returns:
            B, T and N of shape (n, H, W).

        Raises:
            UserError: As :meth:`predict`.
        """
        records: Records = [] if trace else None
        solved = list(self.stream(self._checked_frames(image), records))
        parts = [decomposition(one, records) for one in solved]
        has_noise = any(part.noise is not None for part in parts)  # a constant frame has none
        return Decomposition(
            np.concatenate([part.background for part in parts]),
            np.concatenate([part.target for part in parts]),
            np.concatenate([np.zeros_like(part.target) if part.noise is None else part.noise for part in parts])
            if has_noise
            else None,
            records,
        )


def decomposition(solved: SolvedFrames, records: Records = None) -> Decomposition:
    """B, T and N on the scale of the frames, (n, H, W) float32."""
    parts = solved.parts
    background, target, noise = (
        None if part is None else (part * (solved.scale / 255)).astype(np.float32)
        for part in (parts.background, parts.target, parts.noise)
    )
    assert background is not None
    assert target is not None
    return Decomposition(background, target, noise, records)


def scaled(raw: np.ndarray) -> np.ndarray:
    """A map divided by its maximum, (H, W) float32 in [0, 1]; an all-zero map stays zero."""
    positive = np.maximum(raw, 0).astype(np.float32)
    high = positive.max()
    return positive / high if high > 0 else positive


@dataclass(frozen=True)
class PatchStack:
    """Patches of consecutive frames, cut at the same places: (n, H, W) ↔ (p, p, n, patches).

    Args:
        shape: (H, W).
        patch_size: p.
        step: Distance of neighbouring patches.
    """

    shape: tuple[int, int]
    patch_size: int
    step: int

    @cached_property
    def grid(self) -> PatchGrid:
        """Where the patches lie."""
        return PatchGrid(self.shape, self.patch_size, self.step)

    def patches(self, frames: np.ndarray) -> np.ndarray:
        """(n, H, W) → (p, p, n, patches)."""
        grid = self.grid
        return np.ascontiguousarray(np.stack([grid.patches(frame) for frame in frames], axis=2))

    @cached_property
    def _pixels(self) -> np.ndarray:
        """Where each entry of a patch lies in its frame, (p, p, patches)."""
        return self.grid.patches(np.arange(self.shape[0] * self.shape[1]).reshape(self.shape))

    def frames(self, patches: np.ndarray, aggregation: Literal['mean', 'last'] = 'mean') -> np.ndarray:
        """(p, p, n, patches) → (n, H, W); 'last': later patches overwrite earlier ones."""
        place = np.moveaxis(self._pixels, 2, 0).ravel()
        found = np.zeros((patches.shape[2], *self.shape), patches.dtype)
        for frame, entries in zip(found, np.moveaxis(patches, (2, 3), (0, 1))):
            if aggregation == 'last':
                frame.reshape(-1)[place] = entries.ravel()
            else:
                frame[:] = np.bincount(place, entries.ravel(), frame.size).reshape(self.shape) / self.grid.counts
        return found

    def parts(self, parts: Parts) -> Parts:
        """B, T and N as frames, overlaps averaged."""
        noise = None if parts.noise is None else self.frames(parts.noise)
        return Parts(self.frames(parts.background), self.frames(parts.target), noise)
