"""The hook that measures an epoch."""

from __future__ import annotations

import json
import statistics
import time
from pathlib import Path
from typing import Any

from mmengine.hooks import Hook
from typing_extensions import TypedDict

from drpca.json_file import read_json
from drpca.registry import HOOKS

_FILE = 'times.json'


class Times(TypedDict):
    """Seconds that the last epoch of a training took.

    ``batch``: between two batches. ``validation``: of one validation batch, 0 without validation. ``rest``: of the
    epoch beside both. ``epochs``: of all epochs.
    """

    batch: float
    validation: float
    rest: float
    epochs: float


def read_times(folder: Path) -> Times:
    """What :class:`StopwatchHook` measured."""
    return read_json(folder / _FILE, Times)


@HOOKS.register_module()
class StopwatchHook(Hook):
    """Measures the last epoch of a training and writes it to its folder (:class:`Times`)."""

    priority = 'LOWEST'

    def __init__(self) -> None:
        self._batches: list[float] = []
        self._validation, self._validated = 0.0, 0

    def before_train(self, runner: Any) -> None:
        self._first = self._begin = time.perf_counter()

    def before_train_epoch(self, runner: Any) -> None:
        self._begin = time.perf_counter()
        self._batches, self._validation, self._validated = [], 0.0, 0

    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        self._batches.append(time.perf_counter())

    def before_val_epoch(self, runner: Any) -> None:
        self._validation = time.perf_counter()

    def after_val_epoch(self, runner: Any, metrics: dict[str, float] | None = None) -> None:
        self._validation, self._validated = time.perf_counter() - self._validation, len(runner.val_dataloader)

    def after_train(self, runner: Any) -> None:
        now, times = time.perf_counter(), self._batches
        between = [second - first for first, second in zip(times, times[1:])] or [times[0] - self._begin]
        batch = statistics.mean(between)
        measured: Times = {
            'batch': batch,
            'validation': self._validation / max(self._validated, 1),
            'rest': max(now - self._begin - batch * len(times) - self._validation, 0.0),
            'epochs': now - self._first,
        }
        (Path(runner.work_dir) / _FILE).write_text(json.dumps(measured))
