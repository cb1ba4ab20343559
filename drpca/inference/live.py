"""Frames as they come: a reader thread, a bounded queue, and the detector behind it.

The thread decodes while the detector computes. When the detector is slower than the source, the queue fills up,
and then either the source waits (``'block'``: a recording, nothing is lost) or the frame that has waited longest
is dropped (``'drop'``: a camera; what comes out is never older than the queue is long). The order is kept.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np

from drpca.errors import UserError, unknown_name

if TYPE_CHECKING:
    from drpca.inference.detections import Detection

WHEN_FULL = ('block', 'drop')
QUEUE = 8
LATENCIES = 10_000
_PATIENCE = 5.0  # seconds that a reader gets to end; it may be waiting for a camera


class Arrival(NamedTuple):
    """A frame that waits.

    Attributes:
        number: Its place in the source, counting those dropped.
        time: When it came, ``time.perf_counter()``.
        name: Its name.
        frame: (H, W).
    """

    number: int
    time: float
    name: str
    frame: np.ndarray


class FrameQueue:
    """A bounded queue between one reader and one consumer.

    Args:
        size: Frames that may wait.
        when_full: ``'block'`` or ``'drop'``.
    """

    def __init__(self, size: int, when_full: str) -> None:
        self.size = size
        self.drops = when_full == 'drop'
        self.dropped = 0
        self._waiting: deque[Arrival] = deque()
        self._changed = threading.Condition()
        self._ended = False
        self._stopped = False
        self._error: BaseException | None = None

    def put(self, arrival: Arrival) -> bool:
        """Add a frame; False when the consumer wants no more."""
        with self._changed:
            if not self.drops:
                self._changed.wait_for(lambda: len(self._waiting) < self.size or self._stopped)
            elif len(self._waiting) == self.size:
                self._waiting.popleft()
                self.dropped += 1
            self._waiting.append(arrival)
            self._changed.notify_all()
            return not self._stopped

    def end(self, error: BaseException | None = None) -> None:
        """The reader has no more frames, because of ``error`` if there is one."""
        with self._changed:
            self._ended, self._error = True, error
            self._changed.notify_all()

    def stop(self) -> None:
        """The consumer wants no more frames."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def wait_to_stop(self, seconds: float) -> bool:
        """Wait so long, or until the consumer wants no more frames; whether it does."""
        with self._changed:
            return self._changed.wait_for(lambda: self._stopped, max(seconds, 0.0))

    def __iter__(self) -> Iterator[Arrival]:
        """Frames in order; at the end raises what stopped the reader."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._ended)
                if not self._waiting:
                    if self._error is not None:
                        raise self._error
                    return
                arrival = self._waiting.popleft()
                self._changed.notify_all()
            yield arrival


class SingleFrameDetector(Protocol):
    """What a live stream needs of a detector."""

    def stream(self, frames: Iterable[tuple[str, np.ndarray]]) -> Iterator[Detection]:
        """(name, (H, W) array) → detections, in order."""
        ...


class LiveStream:
    """Detections of frames as they come; made by :meth:`drpca.Detector.live`.

    >>> stream = detector.live(0, when_full='drop')
    >>> for detection in stream: print(detection.index, detection.latency, stream.dropped)

    Each frame goes through the detector by itself, without waiting for a batch. One that looks at several frames gets
    them in a row, without those that were dropped, and answers :attr:`drpca.Detector.delay` frames late, which the
    latency includes. Leaving the loop ends the reader thread. What goes wrong in the reader is raised in the loop after
    the frames read before.

    Args:
        detector: The detector.
        source: An iterable of (name, (H, W) array).
        queue: Frames that may wait, besides the one in the detector.
        when_full: ``'block'``: the source waits. ``'drop'``: the frame that has waited longest is dropped.
        rate: Frames per second at which a recording is played, as a camera would; None: as fast as it is read.

    Attributes:
        dropped: Frames dropped so far.
        latencies: Seconds from arrival to result of the frames so far, the last ``LATENCIES`` of them.

    Raises:
        UserError: An empty queue, another ``when_full``, or a rate that is not positive.
    """

    def __init__(
        self,
        detector: SingleFrameDetector,
        source: Iterable[tuple[str, np.ndarray]],
        queue: int = QUEUE,
        when_full: str = 'block',
        rate: float | None = None,
    ) -> None:
        if queue < 1:
            raise UserError(f'Expected a queue of at least one frame, got {queue}.')
        if when_full not in WHEN_FULL:
            raise unknown_name('way to treat a full queue', when_full, WHEN_FULL)
        if rate is not None and not rate > 0:
            raise UserError(f'Expected a positive number of frames per second, got {rate}.')
        self.detector = detector
        self.source = source
        self.when_full = when_full
        self.rate = rate
        self.latencies: deque[float] = deque(maxlen=LATENCIES)
        self._size = queue
        self._queue = FrameQueue(queue, when_full)

    @property
    def dropped(self) -> int:
        return self._queue.dropped

    def __iter__(self) -> Iterator[Detection]:
        """Starts from the beginning of the source each time."""
        self.latencies = deque(maxlen=LATENCIES)
        self._queue = queue = FrameQueue(self._size, self.when_full)
        reader = threading.Thread(target=self._read, args=(queue,), name='drpca-reader', daemon=True)
        started = time.perf_counter()
        reader.start()
        try:
            for arrival, detection in self._detections(queue):
                targets = detection.targets  # a result includes them
                latency = time.perf_counter() - arrival.time
                self.latencies.append(latency)
                yield replace(
                    detection, confirmed=targets, index=arrival.number, time=arrival.time - started, latency=latency
                )
        finally:
            queue.stop()
            reader.join(_PATIENCE)

    def _detections(self, queue: FrameQueue) -> Iterator[tuple[Arrival, Detection]]:
        from drpca.inference.frames import CheckedFrames  # brings PyTorch, which help texts of options do without

        if getattr(self.detector, 'frames', 1) == 1:
            for arrival in queue:
                (detection,) = self.detector.stream(CheckedFrames([(arrival.name, arrival.frame)]))
                yield arrival, detection
            return
        waiting: deque[Arrival] = deque()
        stopped: list[Exception] = []

        def arrivals() -> Iterator[tuple[str, np.ndarray]]:
            try:
                for arrival in queue:
                    waiting.append(arrival)
                    yield arrival.name, arrival.frame
            except Exception as error:  # is told after the frames that are still in a window
                stopped.append(error)

        for detection in self.detector.stream(CheckedFrames(arrivals())):
            yield waiting.popleft(), detection
        for error in stopped:
            raise error

    def _read(self, queue: FrameQueue) -> None:
        try:
            with closing(_generator(self.source)) as frames:
                started = time.perf_counter()
                for number, (name, frame) in enumerate(frames):
                    if self.rate is not None:
                        queue.wait_to_stop(started + number / self.rate - time.perf_counter())
                    if not queue.put(Arrival(number, time.perf_counter(), name, frame)):
                        return
        except BaseException as error:  # whatever it is, it belongs to the consumer
            queue.end(error)
        else:
            queue.end()


def _generator(source: Iterable[tuple[str, np.ndarray]]) -> Generator[tuple[str, np.ndarray], None, None]:
    """The source as something that can be closed."""
    yield from source
