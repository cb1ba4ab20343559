"""The training loop: epochs that can be interrupted and resumed at any iteration."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

from mmengine.runner import EpochBasedTrainLoop

from drpca.engine.processes import equalise_buffers, highest
from drpca.errors import EXIT_INTERRUPTED, EXIT_REQUEUE
from drpca.registry import LOOPS


class Interrupted(Exception):
    """Training stopped on request after its state was saved.

    Attributes:
        exit_code: Of a command that it ends: 130 after Ctrl-C, 75 (``EX_TEMPFAIL`` of ``sysexits.h``) after SIGTERM or
            SIGUSR1, by which a scheduler says that time is up.
    """

    def __init__(self, exit_code: int = EXIT_INTERRUPTED) -> None:
        super().__init__(exit_code)
        self.exit_code = exit_code


# Signals that ask a training to stop; a system may have no SIGUSR1.
_SIGNALS = {
    number: code
    for number, code in (
        (signal.SIGINT, EXIT_INTERRUPTED),
        (signal.SIGTERM, EXIT_REQUEUE),
        (getattr(signal, 'SIGUSR1', None), EXIT_REQUEUE),
    )
    if number is not None
}


def begin_loading(number: int, then: Callable[[int], None] | None = None) -> None:
    """Begins a loader process, which goes on until its parent ends it.

    Ctrl-C reaches the processes of a terminal all at once, and a scheduler's signal those of a job, while the training
    still needs the images of its last iteration.

    Args:
        number: Of the process, from 0 on.
        then: Called with it.
    """
    for signal_number in _SIGNALS.keys() - {signal.SIGTERM}:
        signal.signal(signal_number, signal.SIG_IGN)
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
    * Ctrl-C, SIGTERM or SIGUSR1, at one of the processes, ends the current iteration or validation of all, calls the
      hook method ``on_interrupt`` and raises :class:`Interrupted`. A second Ctrl-C stops at once.

    Attributes:
        stop_code: Exit code of a stop that this process was asked for; 0 until then.
    """

    stop_code = 0

    def run(self) -> Any:
        self.runner.call_hook('before_train')
        previous = {number: signal.signal(number, self._on_signal) for number in _SIGNALS}
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
        equalise_buffers(self.runner)
        self.runner.call_hook('after_train_epoch')
        self._epoch += 1

    def _stop_if_requested(self) -> None:
        code = highest(self.stop_code)  # a signal reaches the processes at different iterations
        if code:
            self.runner.call_hook('on_interrupt')
            raise Interrupted(code)

    def request_stop(self, why: str, code: int = EXIT_INTERRUPTED) -> None:
        """Stops after this iteration; why is said the first time."""
        if not self.stop_code:
            self.runner.logger.warning(f'{why}: stopping after this iteration and saving.')
        self.stop_code = max(self.stop_code, code)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT and self.stop_code == EXIT_INTERRUPTED:
            raise KeyboardInterrupt
        why = 'Ctrl-C (press it again to stop at once)' if number == signal.SIGINT else signal.Signals(number).name
        self.request_stop(why, _SIGNALS[number])
