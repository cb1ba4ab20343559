"""Windows of a stream of frames, of which nobody knows yet how long it is: one window in memory.

Beyond the ends of a sequence stand its first and its last frame again, as in
:func:`drpca.datasets.sequences.windows_of` with ``border='repeat'``; a sequence shorter than a window is made up
likewise.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

T = TypeVar('T')


def delay_of(frames: int, reported: Sequence[int]) -> int:
    """Frames that must follow one before its map is there, at most."""
    return frames - 1 - min(reported)


def stream_windows(items: Iterable[T], frames: int, reported: Sequence[int]) -> Iterator[tuple[list[T], Sequence[int]]]:
    """The windows of one sequence, each as soon as its last frame is there.

    Args:
        items: The frames, in order.
        frames: Of a window.
        reported: Which of them a network reports on: one, or all.

    Yields:
        The frames of a window, oldest first, and the places in it that are new; every frame is new once, in order.
    """
    held: deque[T] = deque(maxlen=frames)
    if len(reported) > 1:
        yield from _blocks(items, held)
        return
    delay, count = delay_of(frames, reported), 0
    for item in items:
        held.extend([item] if held else [item] * frames)
        count += 1
        if count > delay:
            yield list(held), reported
    for _ in range(min(delay, count)):
        missing = max(delay - count, 0)  # of a sequence shorter than the delay
        held.extend([held[-1]] * (1 + missing))
        count += missing
        yield list(held), reported


def _blocks(items: Iterable[T], held: deque[T]) -> Iterator[tuple[list[T], Sequence[int]]]:
    """One after the other; the last one reaches back."""
    assert held.maxlen is not None
    waiting = 0
    for item in items:
        held.append(item)
        waiting += 1
        if waiting == held.maxlen:
            yield list(held), range(waiting)
            waiting = 0
    if waiting:
        window = [*held, *[held[-1]] * (held.maxlen - len(held))]
        yield window, range(len(held) - waiting, len(held))
