"""What many trainings are at: a table that stays current on a terminal, a line per change elsewhere."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from rich.live import Live
from rich.table import Table

from drpca.engine.runs import Outcome, Run
from drpca.errors import UserError

INTERVAL = 60.0
"""Seconds between two lines about what runs, where there is no terminal."""


@dataclass
class Place:
    """A training among several.

    Attributes:
        run: The training.
        state: 'waits', 'runs', 'done', 'failed' or 'interrupted'.
        where: GPU, number of the cluster's job, or 'another process'.
        job: Of submitit, once it is begun.
        seat: The GPU that it has, None for the processor.
        holds_seat: Its supervisor was killed, and it goes on there.
        outcome: How it ended.
    """

    run: Run
    state: str = 'waits'
    where: str = ''
    job: Any = None
    seat: int | None = None
    holds_seat: bool = False
    outcome: Outcome | None = None

    @property
    def title(self) -> str:
        """Name and seed."""
        return f'{self.run.name} seed {self.run.seed}'

    def finish(self, outcome: Outcome) -> None:
        """It ended so."""
        self.outcome, self.state, self.where = outcome, outcome.state, ''

    def progress(self) -> str:
        """What went wrong, or how far it is."""
        if self.outcome is not None and self.outcome.message:
            return self.outcome.message
        with suppress(UserError):  # a log that is being written
            log = self.run.folder.log()
            validated = [line['val/IoU'] for line in log if 'val/IoU' in line]
            return ''.join(
                [f'epoch {log[-1]["epoch"]}' if log else '', *(f', IoU {100 * v:.2f}' for v in validated[-1:])]
            )
        return ''


class Board:
    """Shows places; a context."""

    def __init__(self, places: Sequence[Place]) -> None:
        self._places = places
        self._live = Live(self._table(), refresh_per_second=2) if sys.stdout.isatty() else None
        self._states: dict[str, tuple[str, str]] = {}
        self._said = time.monotonic()

    def __enter__(self) -> Board:
        if self._live is not None:
            self._live.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.__exit__(kind, error, trace)

    def _table(self) -> Table:
        counts = Counter(place.state for place in self._places)
        table = Table(title=', '.join(f'{count} {state}' for state, count in counts.items()), title_justify='left')
        for column in ('run', 'state', 'where', ''):
            table.add_column(column, no_wrap=column != '')
        for place in self._places:
            table.add_row(place.title, place.state, place.where, place.progress())
        return table

    def show(self) -> None:
        """As it is now."""
        if self._live is not None:
            self._live.update(self._table())
            return
        remind = time.monotonic() - self._said > INTERVAL
        self._said = time.monotonic() if remind else self._said
        for place in self._places:
            state = place.state, place.where
            if self._states.get(place.title) != state or (remind and place.state == 'runs'):
                self._states[place.title] = state
                words = (time.strftime('%H:%M:%S'), f'{place.title}:', *state, place.progress())
                print(' '.join(filter(None, words)), flush=True)
