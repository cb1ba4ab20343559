"""How far long work is: a bar on a terminal, a line now and then elsewhere, none on short work."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

from tqdm import tqdm

INTERVAL = 60.0
"""Seconds before a line, after the start or the last one."""

T = TypeVar('T')


def progress_bar(total: int | None, unit: str, done: int = 0) -> tqdm | ProgressLines:
    """What shows on standard error how much is done.

    Args:
        total: All that is to do; None: it shows only at the end.
        unit: What is counted, as 'image'.
        done: What was done in an earlier session.
    """
    if sys.stderr.isatty():
        return tqdm(total=total, initial=done, unit=f' {unit}', dynamic_ncols=True)
    return ProgressLines(total, unit, done)


def watched(items: Iterable[T], total: int | None, unit: str) -> Iterator[T]:
    """The items; shows how many were asked for."""
    bar = progress_bar(total, unit)
    try:
        for item in items:
            yield item
            bar.update(1)
    finally:
        bar.close()


class ProgressLines:
    """Where there is no terminal, as in the log of a cluster: a line now and then, so that it does not look dead.

    Args:
        total: All that is to do, None where that is not known.
        unit: What is counted.
        done: What was done in an earlier session.
    """

    def __init__(self, total: int | None, unit: str = 'iteration', done: int = 0) -> None:
        self.total, self.unit, self.done, self._begin = total, unit, done, done
        self._started = self._said = time.monotonic()
        self._state = ''

    def set_postfix(self, refresh: bool = False, **state: Any) -> None:
        """What else to say."""
        self._state = ''.join(f'  {key} {value}' for key, value in state.items())

    def update(self, count: int = 1) -> None:
        """So many more are done."""
        self.done += count
        now = time.monotonic()
        if now - self._said >= INTERVAL:
            self._said = now
            each = (now - self._started) / (self.done - self._begin)
            of, left = '', ''
            if self.total is not None:
                of, left = f'/{self.total}', f'  {tqdm.format_interval(each * (self.total - self.done))} left'
            print(f'{self.unit} {self.done}{of}{self._state}  {each:.3g} s each{left}', file=sys.stderr, flush=True)

    def close(self) -> None:
        """Nothing is left to do."""
