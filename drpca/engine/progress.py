"""How far a training is: a bar on a terminal, a line a minute elsewhere."""

from __future__ import annotations

import sys
import time
from typing import Any

from tqdm import tqdm

INTERVAL = 60.0
"""Seconds between two lines."""


def training_bar(total: int, done: int) -> tqdm | ProgressLines:
    """What shows the iterations of a training on standard error."""
    if sys.stderr.isatty():
        return tqdm(total=total, initial=done, desc='train', unit='it', dynamic_ncols=True)
    return ProgressLines(total, done)


class ProgressLines:
    """Where there is no terminal, as in the log of a cluster: a line now and then, so that it does not look dead.

    Args:
        total: Iterations of the whole training.
        done: Those of an earlier session.
    """

    def __init__(self, total: int, done: int = 0) -> None:
        self.total, self.done, self._begin = total, done, done
        self._started = self._said = time.monotonic()
        self._state = ''

    def set_postfix(self, refresh: bool = False, **state: Any) -> None:
        """What else to say."""
        self._state = ''.join(f'  {key} {value}' for key, value in state.items())

    def update(self, iterations: int) -> None:
        """So many more are done."""
        self.done += iterations
        now = time.monotonic()
        if now - self._said >= INTERVAL:
            self._said = now
            each = (now - self._started) / (self.done - self._begin)
            left = tqdm.format_interval(each * (self.total - self.done))
            print(
                f'iteration {self.done}/{self.total}{self._state}  {each:.3g} s each  {left} left',
                file=sys.stderr, flush=True,
            )  # fmt: skip

    def close(self) -> None:
        """Nothing is left to do."""
