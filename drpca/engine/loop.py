"""The training loop: epochs that can be interrupted and resumed at any iteration."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

from mmengine.runner import EpochBasedTrainLoop

from drpca.registry import LOOPS


class Interrupted(Exception):
    """Training stopped on request after its state was saved; the argument is the checkpoint."""


def begin_loading(number: int, then: Callable[[int], None] | None = None) -> None:
    """Begins a loader process, which goes on until its parent ends it.

    Ctrl-C reaches the processes of a terminal all at once, and a scheduler's signal those of a job, while the training
    still needs the images of its last iteration.

    Args:
        number: Of the process, from 0 on.
        then: Called with it.
    """
    for name in ('SIGINT', 'SIGUSR1'):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    if hasattr(signal, 'sigwaitinfo'):
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        threading.Thread(target=_end_with_parent, daemon=True).start()
    if then is not None:
        then(number)


def _end_with_parent() -> None:
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != os.getppid():
        pass
    os._exit(0)


@LOOPS.register_module()
class ResumableTrainLoop(EpochBasedTrainLoop):
    """MMEngine's epoch loop with three additions.

    * A run resumed in the middle of an epoch skips the batches it has seen, without loading them, so that it
      goes on with exactly the batches that an uninterrupted run would see.
    * The hook method ``after_epoch`` runs after an epoch **and** its validation, if it had one: the place to
      save, so that a resumed run never misses a validation.
    * Ctrl-C (or SIGTERM) ends the current iteration or validation, calls the hook method ``on_interrupt`` and raises
      :class:`Interrupted`. A second Ctrl-C stops at once.
    """

    interrupt_requested = False

    def run(self) -> Any:
        self.runner.call_hook('before_train')
        previous = {number: signal.signal(number, self._request_stop) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            while self._epoch < self._max_epochs and not self.stop_training:
                self.run_epoch()
                self._decide_current_val_interval()
                if self._validation_due():
                    self.runner.val_loop.run()
                self.runner.call_hook('after_epoch')
                self._stop_if_requested()
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)
        self.runner.call_hook('after_train')
        return self.runner.model

    def _validation_due(self) -> bool:
        return (
            self.runner.val_loop is not None
            and self._epoch >= self.val_begin
            and (self._epoch % self.val_interval == 0 or self._epoch == self._max_epochs)
        )

    def run_epoch(self) -> None:
        seen = self._iter - self._epoch * len(self.dataloader)
        self.runner.call_hook('before_train_epoch')
        self.runner.model.train()
        sampler = self.dataloader.sampler
        if seen:
            sampler.start = seen * self.dataloader.batch_sampler.batch_size
        for index, batch in enumerate(self.dataloader, start=seen):
            self.run_iter(index, batch)
            self._stop_if_requested()
        if seen:
            sampler.start = 0
        self.runner.call_hook('after_train_epoch')
        self._epoch += 1

    def _stop_if_requested(self) -> None:
        if self.interrupt_requested:
            self.runner.call_hook('on_interrupt')
            raise Interrupted

    def _request_stop(self, number: int, frame: FrameType | None) -> None:
        if self.interrupt_requested:
            raise KeyboardInterrupt
        self.interrupt_requested = True
        self.runner.logger.warning('Stopping after this iteration and saving; press Ctrl-C again to stop at once.')
