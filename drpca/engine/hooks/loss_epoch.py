"""Losses that follow the course of the training."""

from __future__ import annotations

from typing import Any

from mmengine.hooks import Hook

from drpca.models.detector import bare_model
from drpca.registry import HOOKS


@HOOKS.register_module()
class LossEpochHook(Hook):
    """Tells every loss that has ``set_epoch`` which epoch begins, counted from 0, and which one is the last.

    A resumed run hears of its own epoch, so nothing needs to be stored in checkpoints.
    """

    def before_train_epoch(self, runner: Any) -> None:
        model = bare_model(runner.model)
        for term in model.losses.values():
            if hasattr(term, 'set_epoch'):
                term.set_epoch(runner.epoch, runner.max_epochs - 1)
