"""The trainings behind the leaderboard: what is missing is trained, what is half done goes on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config

from drpca.checkpoint import file_hash, read_checkpoint
from drpca.config_text import read_config
from drpca.engine.faults import TrainingFailed
from drpca.engine.loop import Interrupted
from drpca.engine.runs import Run, build_config, train_run
from drpca.errors import UserError, explain
from drpca.leaderboard.rows import ScoredRun
from drpca.run_folder import BEST, BEST_ON_TEST


def complete_runs(runs: Sequence[Run], may_train: bool, progress: bool = False) -> list[ScoredRun]:
    """Trains what is missing, resumes what is half done, and describes all runs.

    A run that fails is marked as such; the others go on.

    Args:
        runs: Trainings.
        may_train: False only marks what is missing.
        progress: Print a line for each that is trained.

    Raises:
        Interrupted: Stopped by Ctrl-C; what was done is saved.
    """
    return [_complete(run, may_train, progress) for run in runs]


def _complete(run: Run, may_train: bool, progress: bool) -> ScoredRun:
    folder, state = run.folder, run.folder.state
    try:
        if state != 'done':
            if not may_train:
                what = 'not trained' if state == 'train' else f'stopped after epoch {len(folder.log())}'
                return ScoredRun(run.seed, 'missing', f'{folder.path}: {what}')
            if progress:
                print(f'{state} {run.name} seed {run.seed} -> {folder.path}', flush=True)
            train_run(run, resume=state == 'resume')
        return _describe(run)
    except TrainingFailed as error:
        return ScoredRun(run.seed, 'failed', str(error))
    except Interrupted:
        raise
    except Exception as error:  # the other runs go on
        return ScoredRun(run.seed, 'failed', explain(error, f'{run.name} seed {run.seed}')[0])


def _describe(run: Run) -> ScoredRun:
    """A run that is done, from its files.

    Raises:
        UserError: A file is missing or damaged, or the run was made with other options than those given now.
    """
    summary, log = run.folder.summary(), run.folder.log()
    checkpoint = run.folder.path / Path(summary.get('checkpoint', BEST)).name
    _check_same_training(run, checkpoint)
    return ScoredRun(
        run.seed,
        checkpoint=str(checkpoint),
        checkpoint_sha256=file_hash(checkpoint),
        selection=summary.get('selection', 'val'),
        epochs=summary.get('epochs'),
        seconds=round(sum(line['seconds'] for line in log), 1) if log else summary.get('seconds'),
        best_on_test=next((line[BEST_ON_TEST] for line in reversed(log) if BEST_ON_TEST in line), None),
    )


# What a training is; and what in it changes its speed alone, or where its files lie.
_TRAINING = ('model', 'train_dataloader', 'train_cfg', 'optim_wrapper', 'param_scheduler', 'averages')
_SPEED = {
    'compiled', 'channels_last', 'precision', 'fused', 'on_device', 'data_root', 'num_workers', 'persistent_workers',
    'pin_memory',
}  # fmt: skip


def _check_same_training(run: Run, checkpoint: Path) -> None:
    """Refuses to show a run of other options, or of 50 epochs as one of 400.

    Raises:
        UserError: It was trained otherwise than the command line and its config say.
    """
    saved = read_checkpoint(checkpoint)['meta'].get('cfg')
    if saved is None:
        return
    was = dict(_leaves(read_config(saved, checkpoint)))
    asked = dict(_leaves(build_config(run)))
    for key in sorted(was.keys() | asked.keys(), key=lambda key: (not key.startswith('train_cfg'), key)):
        if was.get(key) != asked.get(key):
            raise UserError(
                f'{checkpoint.parent} was trained with {key} = {was.get(key)!r}, not {asked.get(key)!r}: choose '
                'another --work-dir, or give the options that it was trained with.'
            )


def _leaves(config: Config) -> Iterator[tuple[str, Any]]:
    """Dotted keys and values of what makes a training."""
    averages = [hook for hook in config.get('custom_hooks') or [] if hook['type'] == 'EMAHook']
    parts = {'averages': averages, **{key: config.get(key) for key in _TRAINING if key != 'averages'}}
    todo = list(parts.items())
    while todo:
        key, value = todo.pop()
        if isinstance(value, dict):
            todo += [(f'{key}.{name}', inner) for name, inner in value.items() if name not in _SPEED]
        elif isinstance(value, (list, tuple)):
            todo += [(f'{key}.{index}', inner) for index, inner in enumerate(value)]
        elif value is not None:
            yield key, value
