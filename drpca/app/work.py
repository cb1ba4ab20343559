"""A bounded queue of detector runs, worked off by threads beside the web server's event loop."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from inspect import CO_GENERATOR
from types import FrameType
from typing import Any

from drpca.errors import UserError

WORKERS = 2
"""Runs at a time, of different visitors: one slow frame leaves the others a thread."""
WAITING = 16
"""Runs that may wait."""


class _Stopped(BaseException):
    """Ends a cancelled run from inside."""


class Job:
    """One run.

    Args:
        owner: Who asked for it.
        function: Gets the job, reports to it, and gives the result.

    Attributes:
        step: What it does now, in words.
        done, total: Of its parts; ``total`` is 0 where there is only one.
        partial: Newest result that is worth a look before the last one.
        started: ``time.monotonic()`` of its start; None while it waits.
        cancelled: It was cancelled; there is no result.
    """

    def __init__(self, owner: object, function: Callable[[Job], Any]) -> None:
        self.owner, self.function = owner, function
        self.step, self.done, self.total = '', 0, 0
        self.partial: Any = None
        self.started: float | None = None
        self.cancelled = False
        self._future: Future[Any] = Future()

    def report(self, step: str, done: int = 0, total: int = 0, partial: Any = None) -> None:
        """What the run does now; called by its function."""
        self.step, self.done, self.total = step, done, total
        if partial is not None:
            self.partial = partial

    @property
    def seconds(self) -> float:
        """Since its start."""
        return 0.0 if self.started is None else time.monotonic() - self.started

    @property
    def share(self) -> float | None:
        """Done of all parts, in [0, 1]; None where that is not known."""
        return self.done / self.total if self.total else None

    async def result(self) -> Any:
        """Waits for what the function gives; None once cancelled.

        Raises:
            Exception: What the function raised.
        """
        return await asyncio.shield(asyncio.wrap_future(self._future))

    def cancel(self) -> None:
        """Ends it: :meth:`result` returns at once, the thread at the next call of a function of the project."""
        self.cancelled = True
        self._settle(self._future.set_result, None)

    @staticmethod
    def _settle(settle: Callable[[Any], None], value: Any) -> None:
        with suppress(InvalidStateError):  # the other side was first
            settle(value)

    def _watch(self, frame: FrameType, event: str, argument: Any) -> None:
        """A profile function: what it raises ends the run. Never inside of libraries, imports or context managers."""
        if (
            self.cancelled
            and event == 'call'
            and frame.f_globals.get('__name__', '').startswith('drpca.')
            and not frame.f_code.co_flags & CO_GENERATOR
            and not _is_importing(frame)
        ):
            raise _Stopped

    def run(self) -> None:
        """Runs the function in this thread."""
        self.started = time.monotonic()
        try:
            sys.setprofile(self._watch)
            try:
                result = self.function(self)
            finally:
                sys.setprofile(None)
            self._settle(self._future.set_result, result)
        except _Stopped:
            pass
        except Exception as error:
            self._settle(self._future.set_exception, error)


def _is_importing(frame: FrameType | None) -> bool:
    """Whether a module is being executed, which would be registered by half, and never again as a whole."""
    while frame is not None and frame.f_code.co_name != '<module>':
        frame = frame.f_back
    return frame is not None


class WorkQueue:
    """Runs jobs in order, at most one of each owner at a time.

    Args:
        workers: Jobs at a time.
        waiting: Jobs that may wait.
    """

    def __init__(self, workers: int = WORKERS, waiting: int = WAITING) -> None:
        self.workers, self.limit = workers, waiting
        self._waiting: list[Job] = []
        self._running: list[Job] = []
        self._changed = threading.Condition()
        self._threads: list[threading.Thread] = []
        self._is_open = True

    def submit(self, owner: object, function: Callable[[Job], Any]) -> Job:
        """Puts a run into the queue, in place of what the owner had there.

        Raises:
            UserError: The queue is full.
        """
        with self._changed:
            self._drop(owner)
            if len(self._waiting) >= self.limit:
                raise UserError(f'{self.limit} runs of other visitors wait already: try again in a while.')
            job = Job(owner, function)
            self._waiting.append(job)
            if len(self._threads) < self.workers:
                self._threads.append(threading.Thread(target=self._work, name='detector', daemon=True))
                self._threads[-1].start()
            self._changed.notify_all()
        return job

    def cancel(self, owner: object) -> None:
        """Ends all runs of an owner."""
        with self._changed:
            self._drop(owner)

    def position(self, job: Job) -> int:
        """Place among those that wait, from 1; 0: it runs, or is over."""
        with self._changed:
            return self._waiting.index(job) + 1 if job in self._waiting else 0

    def close(self, seconds: float = 2.0) -> None:
        """Ends all runs and, within that time, the threads."""
        with self._changed:
            self._is_open = False
            for job in [*self._waiting, *self._running]:
                job.cancel()
            self._waiting.clear()
            self._changed.notify_all()
        for thread in self._threads:
            thread.join(seconds)

    def _drop(self, owner: object) -> None:
        for job in [*self._waiting, *self._running]:
            if job.owner is owner:
                job.cancel()
        self._waiting = [job for job in self._waiting if job.owner is not owner]

    def _next(self) -> Job | None:
        busy = [job.owner for job in self._running]
        return next((job for job in self._waiting if not any(job.owner is owner for owner in busy)), None)

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: not self._is_open or self._next() is not None)
                job = self._next()
                if not self._is_open or job is None:
                    return
                self._waiting.remove(job)
                self._running.append(job)
            job.run()
            with self._changed:
                self._running.remove(job)
                self._changed.notify_all()
