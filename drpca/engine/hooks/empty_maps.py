"""The hook that speaks up when a training has sunk into empty maps."""

from __future__ import annotations

from typing import Any

from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from tqdm import tqdm

from drpca.losses.pixel import BCELoss
from drpca.models.detector import bare_model
from drpca.registry import HOOKS


@HOOKS.register_module()
class EmptyMapsHook(Hook):
    """Says so when nothing has been predicted in several validations in a row, and which options prevent it.

    SoftIoU alone has no gradient where all scores are 0, so such a training does not come back (docs/training.md).

    Args:
        patience: Validations in a row; it is said once for each row of them.
    """

    priority = 'LOW'  # behind the line of the epoch

    def __init__(self, patience: int = 3) -> None:
        self.patience = patience
        self._empty = 0

    def after_val_epoch(self, runner: Any, metrics: dict[str, float] | None = None) -> None:
        found = metrics or {}
        self._empty = self._empty + 1 if found.get('recall') == found.get('Fa') == 0 else 0

    def after_epoch(self, runner: Any) -> None:
        if self._empty != self.patience or not is_main_process():
            return
        self._empty += 1  # said
        options = [f'optim_wrapper.optimizer.lr={runner.optim_wrapper.optimizer.defaults["lr"] / 5:.0e}']
        if not any(isinstance(term, BCELoss) for term in bare_model(runner.model).losses.values()):
            options.insert(0, 'model.losses.bce.type=BCELoss model.losses.bce.weight=20')
        tqdm.write(
            f'  Nothing was predicted in {self.patience} validations in a row: all scores have sunk to 0, where '
            f'SoftIoU has no gradient. Begin again with --cfg-options {" or ".join(options)} (docs/training.md).'
        )

    def before_save_checkpoint(self, runner: Any, checkpoint: dict) -> None:
        checkpoint['empty_validations'] = self._empty

    def after_load_checkpoint(self, runner: Any, checkpoint: dict) -> None:
        self._empty = checkpoint.get('empty_validations', 0)
