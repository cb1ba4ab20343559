"""The hook that reports on a training."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from tqdm import tqdm

from drpca.engine.faults import DIVERGED_ADVICE, TrainingDiverged
from drpca.engine.processes import highest, mean_over_processes, told_by_all
from drpca.errors import unknown_name
from drpca.files import append_whole, save_text
from drpca.progress import ProgressLines, progress_bar
from drpca.registry import HOOKS
from drpca.run_folder import BEST_ON_TEST, LOG


@HOOKS.register_module()
class TrainingLogHook(Hook):
    """Progress bar with ETA, one JSON line per epoch, TensorBoard scalars, and the guard against NaN.

    Losses are summed on the device and read back once per ``interval`` iterations, so that nothing waits for
    the GPU in between. What is logged of them are means over all processes.

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
        self._bar: tqdm | ProgressLines | None = None
        self.metrics: dict[str, float] = {}

    def before_train(self, runner: Any) -> None:
        if not torch.cuda.is_available():
            self.interval = 1
        if is_main_process():
            self._bar = progress_bar(runner.max_iters, 'iteration', runner.iter)

    def before_train_epoch(self, runner: Any) -> None:
        resumed, self._resumed = self._resumed or {'sums': {}, 'count': 0, 'seconds': 0.0}, None
        self._sums, self._count, self.metrics = dict(resumed['sums']), resumed['count'], {}
        self._started = time.perf_counter() - resumed['seconds']
        if torch.cuda.is_available():
            torch.cuda.reset_peak_memory_stats()

    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        for key, value in outputs.items():
            value = value.detach()
            self._sums[key] = value + self._sums[key] if key in self._sums else value
        self._count += 1
        self._pending.append((outputs['loss'].detach(), data_batch.get('name', ())))
        if len(self._pending) >= self.interval:
            self._check(runner)

    def _check(self, runner: Any) -> None:
        """Read the losses of the last iterations; stop if one of them is not a number."""
        if not self._pending:
            return
        losses = torch.stack([loss for loss, _ in self._pending]).tolist()
        bad = [(loss, names) for loss, (_, names) in zip(losses, self._pending) if not math.isfinite(loss)]
        if highest(bool(bad)):
            loss, names = next(first for (first, *_) in filter(None, told_by_all(bad)))
            path = Path(runner.work_dir) / 'diverged.json'
            if is_main_process():
                record = {'epoch': runner.epoch, 'loss': str(loss), 'images': list(names)}
                save_text(path, json.dumps(record, indent=1), overwrite=True)
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
            if 'IoU' not in self._test_metrics:
                raise unknown_name('test figure (log_test_every)', 'IoU', list(self._test_metrics))
            self._best_on_test = max(self._best_on_test, self._test_metrics['IoU'])
        sums = mean_over_processes([float(value) for value in self._sums.values()])
        means = {key: value / max(self._count, 1) for key, value in zip(self._sums, sums)}
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
            record[BEST_ON_TEST] = self._best_on_test
        if torch.cuda.is_available():
            record['memory_MB'] = torch.cuda.max_memory_allocated() >> 20
        self._sums, self._count = {}, 0
        if not is_main_process():
            return
        append_whole(Path(runner.work_dir) / LOG, f'{json.dumps(record)}\n'.encode())
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
            tqdm.write('  Nothing is predicted.')

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
            save_text(path, ''.join(f'{line}\n' for line in lines), overwrite=True)

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
