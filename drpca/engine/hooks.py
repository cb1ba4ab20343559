"""Hooks over MMEngine's Runner: seeds, log, checkpoints, model selection."""

from __future__ import annotations

import json
import math
import random
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from tqdm import tqdm

from drpca.engine.checkpoint import save_atomically
from drpca.engine.faults import TrainingDiverged
from drpca.errors import UserError, unknown_name
from drpca.registry import HOOKS

DIVERGED_ADVICE = (
    'The last checkpoint is from before. Go on from it with --resume and clipped gradients (--clip-grad 1) or a lower '
    'learning rate (--cfg-options optim_wrapper.optimizer.lr=…).'
)
LAST, BEST, FINAL, LOG = 'last.pth', 'best.pth', 'final.pth', 'log.jsonl'
# What other code calls best on the test split; here it is written down and selects nothing.
PUBLISHED = 'test_best_published_convention'


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


@HOOKS.register_module()
class TrainingLogHook(Hook):
    """Progress bar with ETA, one JSON line per epoch, TensorBoard scalars, and the guard against NaN.

    Losses are summed on the device and read back once per ``interval`` iterations, so that nothing waits for
    the GPU in between.

    Args:
        interval: Iterations between two readings; 1 on a CPU, where reading is free.
        log_test_every: Score the test split too, every so many epochs, for the published convention that takes
            the best test figure of all epochs. It is logged as ``test_best_published_convention`` and never
            selects weights.
    """

    priority = 'BELOW_NORMAL'

    def __init__(self, interval: int = 20, log_test_every: int | None = None) -> None:
        self.interval = interval
        self.log_test_every = log_test_every
        self._test_metrics: dict[str, float] = {}
        self._best_on_test = -math.inf
        self._pending: list[tuple[torch.Tensor, Sequence[str]]] = []
        self._sums: dict[str, torch.Tensor] = {}
        self._count = 0
        self._seconds = 0.0
        self._resumed: dict[str, Any] | None = None
        self._bar: tqdm | None = None
        self.metrics: dict[str, float] = {}

    def before_train(self, runner: Any) -> None:
        if not torch.cuda.is_available():
            self.interval = 1
        if is_main_process():
            self._bar = tqdm(
                total=runner.max_iters,
                initial=runner.iter,
                desc='train',
                unit='it',
                dynamic_ncols=True,
                disable=None,
            )

    def before_train_epoch(self, runner: Any) -> None:
        resumed, self._resumed = self._resumed or {'sums': {}, 'count': 0, 'seconds': 0.0}, None
        self._sums, self._count, self.metrics = dict(resumed['sums']), resumed['count'], {}
        self._started = time.perf_counter() - resumed['seconds']
        if torch.cuda.is_available():
            torch.cuda.reset_peak_memory_stats()

    def after_train_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        for key, value in outputs.items():
            value = value.detach()
            self._sums[key] = value + self._sums[key] if key in self._sums else value
        self._count += 1
        self._pending.append((outputs['loss'].detach(), data_batch['name']))
        if len(self._pending) >= self.interval:
            self._check(runner)

    def _check(self, runner: Any) -> None:
        """Read the losses of the last iterations; stop if one of them is not a number."""
        if not self._pending:
            return
        losses = torch.stack([loss for loss, _ in self._pending]).tolist()
        for loss, (_, names) in zip(losses, self._pending):
            if not math.isfinite(loss):
                path = Path(runner.work_dir) / 'diverged.json'
                path.write_text(
                    json.dumps({'epoch': runner.epoch, 'loss': str(loss), 'images': list(names)}, indent=1)
                )
                raise TrainingDiverged(
                    f'The loss became {loss} in epoch {runner.epoch + 1}; the batch is in {path}. {DIVERGED_ADVICE}'
                )
        if self._bar is not None:
            self._bar.set_postfix(epoch=runner.epoch + 1, loss=f'{losses[-1]:.4f}', refresh=False)
            self._bar.update(len(losses))
        self._pending.clear()

    def after_train_epoch(self, runner: Any) -> None:
        self._check(runner)
        self._seconds = time.perf_counter() - self._started

    def after_val_epoch(self, runner: Any, metrics: dict[str, float] | None = None) -> None:
        self.metrics = dict(metrics or {})

    def after_test_epoch(self, runner: Any, metrics: dict[str, float] | None = None) -> None:
        self._test_metrics = dict(metrics or {})

    def after_epoch(self, runner: Any) -> None:
        """One line for people, one for programs, one point per curve."""
        self._test_metrics = {}
        if self.log_test_every and runner.epoch % self.log_test_every == 0:
            runner.test_loop.run()
            self._best_on_test = max(self._best_on_test, self._test_metrics['IoU'])
        means = {key: float(value) / max(self._count, 1) for key, value in self._sums.items()}
        record: dict[str, Any] = {
            'epoch': runner.epoch,
            'iter': runner.iter,
            'lr': runner.optim_wrapper.get_lr()['lr'][0],
            **means,
            **{f'val/{key}': float(value) for key, value in self.metrics.items()},
            'seconds': round(self._seconds, 3),
        }
        if self._test_metrics:
            record |= {f'test/{key}': float(value) for key, value in self._test_metrics.items()}
            record[PUBLISHED] = self._best_on_test
        if torch.cuda.is_available():
            record['memory_MB'] = torch.cuda.max_memory_allocated() >> 20
        self._sums, self._count = {}, 0
        if not is_main_process():
            return
        with open(Path(runner.work_dir) / LOG, 'a') as file:
            file.write(json.dumps(record) + '\n')
        runner.visualizer.add_scalars(
            {f'train/{key}': value for key, value in means.items()}
            | {f'val/{key}': float(value) for key, value in self.metrics.items()}
            | {'train/lr': record['lr']},
            step=runner.epoch,
        )
        line = f'epoch {runner.epoch}/{runner.max_epochs}  loss {means.get("loss", float("nan")):.4f}'
        if 'IoU' in self.metrics:
            line += '  val ' + '  '.join(
                f'{key} {100 * self.metrics[key]:.2f}' for key in ('IoU', 'nIoU', 'Pd') if key in self.metrics
            )
            line += f'  Fa {1e6 * self.metrics["Fa"]:.2f}e-6' if 'Fa' in self.metrics else ''
        tqdm.write(f'{line}  {self._seconds:.1f} s')
        if self.metrics.get('recall') == 0 and self.metrics.get('Fa') == 0:
            tqdm.write(
                '  Nothing is predicted. If that stays so, all scores have sunk to 0 and no gradient is left: begin '
                'again with a lower learning rate, or with BCELoss among the losses (docs/training.md).'
            )

    def before_save_checkpoint(self, runner: Any, checkpoint: dict) -> None:
        self._check(runner)
        checkpoint['best_on_test'] = self._best_on_test
        if self._count:
            checkpoint['epoch_so_far'] = {
                'count': self._count,
                'sums': {key: float(value) for key, value in self._sums.items()},
                'seconds': time.perf_counter() - self._started,
            }

    def after_load_checkpoint(self, runner: Any, checkpoint: dict) -> None:
        self._resumed = checkpoint.get('epoch_so_far')
        self._best_on_test = checkpoint.get('best_on_test', -math.inf)
        path, epoch = Path(runner.work_dir) / LOG, checkpoint.get('meta', {}).get('epoch', 0)
        if is_main_process() and path.exists():  # epochs after the checkpoint will come again
            lines = [line for line in path.read_text().splitlines() if _epoch_of(line) <= epoch]
            shorter = path.with_name(f'{LOG}.partial')
            shorter.write_text(''.join(f'{line}\n' for line in lines))
            shorter.replace(path)

    def after_train(self, runner: Any) -> None:
        if self._bar is not None:
            self._bar.close()

    on_interrupt = after_train


def _epoch_of(line: str) -> float:
    """The epoch of a line of the log; infinite for one that was cut off when the disk was full."""
    try:
        return json.loads(line)['epoch']
    except ValueError:
        return math.inf


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
        self._config_text = runner.cfg.pretty_text  # formatting it takes longer than saving

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

    def after_train_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
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
        if not is_main_process():
            return
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        if full and not all(bool(value.isfinite().all()) for value in model.parameters()):
            raise TrainingDiverged(
                f'The weights are no numbers any more after epoch {runner.epoch}. {DIVERGED_ADVICE}'
            )
        meta = {
            'epoch': runner.epoch,
            'iter': runner.iter if iteration is None else iteration,
            'seed': runner.seed,
            'epoch_length': len(runner.train_dataloader),
            'dataset_meta': runner.train_dataloader.dataset.metainfo,
            'cfg': self._config_text,
            'selection': dict(self.state),
        }
        checkpoint: dict[str, Any] = {'meta': meta, 'state_dict': model.state_dict()}
        if full:
            checkpoint['optimizer'] = runner.optim_wrapper.state_dict()
            checkpoint['param_schedulers'] = [
                scheduler.state_dict() for scheduler in runner.param_schedulers or []
            ]
            # MMEngine's log buffers pickle functions, which a weights-only reader refuses; our log is a file.
            checkpoint['message_hub'] = {'log_scalars': {}, 'runtime_info': {}, 'resumed_keys': {}}
            checkpoint['stopped'] = runner.train_loop.stop_training
            if not runner.optim_wrapper.should_update():  # gradients are being accumulated
                checkpoint['gradients'] = {
                    name: p.grad for name, p in model.named_parameters() if p.grad is not None
                }
        runner.call_hook('before_save_checkpoint', checkpoint=checkpoint)
        if not full:  # weights alone: what averaging adds for resuming stays in last.pth
            checkpoint = {key: checkpoint[key] for key in ('meta', 'state_dict')}
        save_atomically(checkpoint, Path(runner.work_dir) / filename)

    def after_load_checkpoint(self, runner: Any, checkpoint: dict) -> None:
        meta = checkpoint.get('meta', {})
        length = len(runner.train_dataloader)
        if meta.get('epoch_length', length) != length:
            raise UserError(
                f'The run was begun with {meta["epoch_length"]} batches per epoch and would go on with {length}: '
                'resume it with the same data, batch size and number of processes, or start another with --load-from.'
            )
        self.state.update(meta.get('selection', {}))
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        for name, gradient in checkpoint.get('gradients', {}).items():
            parameter = model.get_parameter(name)
            parameter.grad = gradient.to(parameter.device)
        if checkpoint.get('stopped'):
            runner.train_loop.stop_training = True
