"""Loader processes outlast the signals that ask a training to stop, and end with it."""

from __future__ import annotations

import os
import signal
import time

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from drpca.engine.loop import begin_loading


@pytest.mark.skipif(not hasattr(signal, 'sigwaitinfo'), reason='this system does not say who sent a signal')
def test_only_their_parent_ends_them(capfd: pytest.CaptureFixture) -> None:
    noisy = [signal.SIGINT, signal.SIGTERM]
    previous = [signal.signal(number, lambda number, frame: print('stopping', flush=True)) for number in noisy]
    loader = DataLoader(
        TensorDataset(torch.arange(4.0)), num_workers=1, persistent_workers=True, worker_init_fn=begin_loading
    )
    try:
        assert len([*loader]) == 4
        (process,) = loader._iterator._workers
        pid = process.pid
        other = os.fork()  # a scheduler's signal does not come from the training
        if not other:
            for number in (signal.SIGINT, signal.SIGUSR1, signal.SIGTERM):
                os.kill(pid, number)
            os._exit(0)
        os.waitpid(other, 0)
        time.sleep(0.05)
        assert len([*loader]) == 4
        assert process.is_alive()
        process.terminate()
        process.join(5)
        assert process.exitcode == 0
    finally:
        for number, handler in zip(noisy, previous):
            signal.signal(number, handler)
    assert capfd.readouterr().out == ''
