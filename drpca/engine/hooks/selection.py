"""The hook that keeps checkpoints and selects the weights of a run."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from tqdm import tqdm

from drpca.checkpoint import save_checkpoint
from drpca.config_text import config_text
from drpca.engine.faults import DIVERGED_ADVICE, TrainingDiverged, TrainingFailed
from drpca.engine.processes import add_parts, highest
from drpca.errors import UserError, unknown_name
from drpca.models.detector import bare_model
from drpca.registry import HOOKS
from drpca.run_folder import BEST, FINAL, LAST


@HOOKS.register_module()
class SelectionHook(Hook):
    """Keeps ``last.pth`` (everything a resumed run needs) and the weights of the run's result.

    These are ``best.pth``, by a validation figure, or, in a run without validation, ``final.pth`` after the
    last epoch; averaged weights where there are some. All are written atomically. The test split plays no part.

    Args:
        interval: Epochs between two writes of ``last.pth``; the first and the last epoch are always written.
        interval_iters: Iterations between writes within an epoch; None writes at epoch ends only.
        monitor: The validation figure that selects; larger is better.
        patience: Stop after so many validations without improvement; None never stops early.
        min_delta: What counts as an improvement for ``patience``.

    Raises:
        UserError: ``interval`` or ``patience`` below 1; at the first validation, no such figure.
    """

    priority = 'VERY_LOW'

    def __init__(
        self,
        interval: int = 1,
        interval_iters: int | None = None,
        monitor: str = 'IoU',
        patience: int | None = None,
        min_delta: float = 0.0,
    ) -> None:
        for name, value in (('interval', interval), ('patience', patience)):
            if value is not None and value < 1:
                raise UserError(f'SelectionHook: {name} must be at least 1, got {value}.')
        self.interval = interval
        self.interval_iters = interval_iters
        self.monitor = monitor
        self.patience = patience
        self.min_delta = min_delta
        self._config_text = ''
        self.state: dict[str, Any] = {'best': None, 'best_epoch': None, 'reference': None, 'waited': 0}

    def before_train(self, runner: Any) -> None:
        self._config_text = config_text(runner.cfg)

    def after_val_epoch(self, runner: Any, metrics: dict[str, float] | None = None) -> None:
        if self.monitor not in (metrics or {}):
            raise unknown_name('validation figure (monitor)', self.monitor, list(metrics or {}))
        value = float((metrics or {})[self.monitor])
        value = -math.inf if math.isnan(value) else value  # undefined: a split without targets
        state = self.state
        if state['best'] is None or value > state['best']:
            state.update(best=value, best_epoch=runner.epoch)
            self._save(runner, BEST, full=False)
        if state['reference'] is None or value > state['reference'] + self.min_delta:
            state.update(reference=value, waited=0)
        else:
            state['waited'] += 1
        if self.patience is not None and state['waited'] >= self.patience:
            runner.train_loop.stop_training = True
            tqdm.write(
                f'Early stop: {self.monitor} has not improved for {state["waited"]} validations '
                f'(best {state["best"]:.4f} in epoch {state["best_epoch"]}).'
            )

    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        if self.interval_iters and (runner.iter + 1) % self.interval_iters == 0:
            self._save(runner, LAST, iteration=runner.iter + 1)

    def after_epoch(self, runner: Any) -> None:
        finished = runner.epoch == runner.max_epochs or runner.train_loop.stop_training
        if finished and runner.val_loop is None:
            self._save(runner, FINAL, full=False)
        if finished or runner.epoch == 1 or runner.epoch % self.interval == 0:
            self._save(runner, LAST)

    def on_interrupt(self, runner: Any) -> None:
        self._save(runner, LAST)

    def _save(self, runner: Any, filename: str, full: bool = True, iteration: int | None = None) -> None:
        model = bare_model(runner.model)
        if highest(full and not torch.stack([value.isfinite().all() for value in model.parameters()]).all()):
            raise TrainingDiverged(f'The weights are no numbers any more after epoch {runner.epoch}. {DIVERGED_ADVICE}')
        meta = {
            'epoch': runner.epoch,
            'iter': runner.iter if iteration is None else iteration,
            'seed': runner.seed,
            'epoch_length': len(runner.train_dataloader),
            'dataset_meta': getattr(runner.train_dataloader.dataset, 'metainfo', {}),
            'cfg': self._config_text,
            'selection': dict(self.state),
        }
        checkpoint: dict[str, Any] = {'meta': meta, 'state_dict': model.state_dict()}
        if full:
            checkpoint['optimizer'] = runner.optim_wrapper.state_dict()
            checkpoint['param_schedulers'] = [scheduler.state_dict() for scheduler in runner.param_schedulers or []]
            # MMEngine's log buffers pickle functions, which a weights-only reader refuses; our log is a file.
            checkpoint['message_hub'] = {'log_scalars': {}, 'runtime_info': {}, 'resumed_keys': {}}
            checkpoint['stopped'] = runner.train_loop.stop_training
            if not runner.optim_wrapper.should_update():  # gradients are being accumulated
                checkpoint['gradients'] = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
        runner.call_hook('before_save_checkpoint', checkpoint=checkpoint)
        if full:
            add_parts(checkpoint, model)
        else:  # weights alone: what averaging adds for resuming stays in last.pth
            checkpoint = {key: checkpoint[key] for key in ('meta', 'state_dict')}
        fault = None
        if is_main_process():
            try:
                save_checkpoint(checkpoint, Path(runner.work_dir) / filename)
            except UserError as error:
                fault = error
        if highest(fault is not None):
            raise fault or TrainingFailed('The first process could not save; it says why.')

    def after_load_checkpoint(self, runner: Any, checkpoint: dict) -> None:
        meta = checkpoint.get('meta', {})
        length = len(runner.train_dataloader)
        if meta.get('epoch_length', length) != length:
            raise UserError(
                f'The run was begun with {meta["epoch_length"]} batches per epoch and would go on with {length}: '
                'resume it with the same data, batch size and number of processes, or start another with --load-from.'
            )
        self.state.update(meta.get('selection', {}))
        model = bare_model(runner.model)
        for name, gradient in checkpoint.get('gradients', {}).items():
            parameter = model.get_parameter(name)
            parameter.grad = gradient.to(parameter.device)
        if checkpoint.get('stopped'):
            runner.train_loop.stop_training = True
