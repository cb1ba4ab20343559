"""The hook that seeds every epoch."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch
from mmengine.hooks import Hook

from drpca.registry import HOOKS


def _random_state() -> dict[str, Any]:
    state: dict[str, Any] = {'torch': torch.get_rng_state()}
    if torch.cuda.is_available():
        # Of this process's GPU alone: a run may go on where there are fewer.
        state['cuda'] = torch.cuda.get_rng_state()
    return state


def _set_random_state(state: dict[str, Any]) -> None:
    torch.set_rng_state(state['torch'].cpu())
    if 'cuda' in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state['cuda'].cpu())


@HOOKS.register_module()
class SeedHook(Hook):
    """Makes every epoch's randomness follow from (seed, epoch, rank), whatever came before it.

    So a resumed run draws the same dropout masks as an uninterrupted one. Within an epoch the state of
    torch's generators travels in the checkpoint.
    """

    priority = 'VERY_HIGH'

    def __init__(self) -> None:
        self._resumed: dict[str, Any] | None = None

    def before_train_epoch(self, runner: Any) -> None:
        seed = np.random.SeedSequence([runner.seed, runner.epoch, runner.rank]).generate_state(1)[0]
        random.seed(int(seed))
        np.random.seed(int(seed))  # noqa: NPY002  (user transforms may use the global generator)
        torch.manual_seed(int(seed))

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        if self._resumed is not None and batch_idx > 0:
            _set_random_state(self._resumed)
        self._resumed = None

    def before_save_checkpoint(self, runner: Any, checkpoint: dict) -> None:
        checkpoint['random_state'] = _random_state()

    def after_load_checkpoint(self, runner: Any, checkpoint: dict) -> None:
        self._resumed = checkpoint.get('random_state')
