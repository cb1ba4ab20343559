"""The hook that ends a training when its time is up."""

from __future__ import annotations

import time
from typing import Any

from mmengine.hooks import Hook

from drpca.registry import HOOKS


@HOOKS.register_module()
class DeadlineHook(Hook):
    """Stops a training when its time is up, as Ctrl-C does: it saves, and can be resumed.

    Args:
        seconds: From the start of the training.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def before_train(self, runner: Any) -> None:
        self._end = time.monotonic() + self.seconds

    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        if time.monotonic() > self._end:
            runner.train_loop.request_stop('The time is up (--time)')
