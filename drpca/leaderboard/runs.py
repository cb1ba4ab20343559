"""The runs behind the leaderboard: training what is missing, making score maps, scoring them."""

from __future__ import annotations

import argparse
import hashlib
import json
import traceback
from collections.abc import Iterator, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, replace
from io import StringIO
from pathlib import Path
from typing import Any

from mmengine.config import Config

import drpca
from drpca.checkpoint import file_hash, read_checkpoint
from drpca.cli import infer
from drpca.cli.common import EXIT_INTERRUPTED
from drpca.config_text import read_config
from drpca.datasets import Split, open_split
from drpca.engine import runs as engine_runs
from drpca.engine.faults import TrainingFailed
from drpca.engine.loop import Interrupted
from drpca.errors import UserError
from drpca.evaluation.protocols import Protocol
from drpca.leaderboard.contenders import Contender, config_of, option_texts
from drpca.leaderboard.rows import Cost, Run
from drpca.registry import BASELINES
from drpca.results.folder import ResultsFolder, saved_names
from drpca.results.scoring import score_folder
from drpca.run_folder import BEST, PUBLISHED


def complete_runs(contender: Contender, may_train: bool) -> list[Run]:
    """Trains what is missing, resumes what is half done, and describes all runs.

    A run that fails is marked as such; the others go on.

    Raises:
        Interrupted: Stopped by Ctrl-C; what was done is saved.
    """
    return [_complete(run, may_train) for run in contender.runs]


def _complete(run: engine_runs.Run, may_train: bool) -> Run:
    folder = run.folder
    state = folder.state
    try:
        if state != 'done':
            if not may_train:
                what = 'not trained' if state == 'train' else f'stopped after epoch {len(folder.log())}'
                return Run(run.seed, 'missing', f'{folder.path}: {what}')
            print(f'{state} {run.name} seed {run.seed} -> {folder.path}', flush=True)
            engine_runs.train_run(run, resume=state == 'resume')
        return _describe(run)
    except (UserError, TrainingFailed) as error:
        return Run(run.seed, 'failed', str(error))
    except Interrupted:
        raise
    except Exception as error:
        traceback.print_exc()  # ours to mend, so it shows whole; the other runs go on
        return Run(run.seed, 'failed', f'{type(error).__name__}: {error}')


def _describe(run: engine_runs.Run) -> Run:
    """A run that is done, from its files.

    Raises:
        UserError: A file is missing or damaged, or the run was made with other options than those given now.
    """
    summary, log = run.folder.summary(), run.folder.log()
    checkpoint = run.folder.path / Path(summary.get('checkpoint', BEST)).name
    _check_same_training(run, checkpoint)
    return Run(
        run.seed,
        checkpoint=str(checkpoint),
        checkpoint_sha256=file_hash(checkpoint),
        selection=summary.get('selection', 'val'),
        epochs=summary.get('epochs'),
        seconds=round(sum(line['seconds'] for line in log), 1) if log else summary.get('seconds'),
        best_on_test=next((line[PUBLISHED] for line in reversed(log) if PUBLISHED in line), None),
    )


# What a training is; and what in it changes its speed alone, or where its files lie.
_TRAINING = ('model', 'train_dataloader', 'train_cfg', 'optim_wrapper', 'param_scheduler', 'averages')
_SPEED = {
    'compiled', 'channels_last', 'precision', 'fused', 'on_device', 'data_root', 'num_workers', 'persistent_workers',
    'pin_memory',
}  # fmt: skip


def _check_same_training(run: engine_runs.Run, checkpoint: Path) -> None:
    """Refuses to show a run of other options, or of 50 epochs as one of 400.

    Raises:
        UserError: It was trained otherwise than the command line and its config say.
    """
    saved = read_checkpoint(checkpoint)['meta'].get('cfg')
    if saved is None:
        return
    was = dict(_leaves(read_config(saved, checkpoint)))
    asked = dict(_leaves(engine_runs.build_config(run)))
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


@dataclass(frozen=True)
class Task:
    """Score maps to be made, unless they are there, and scored.

    Attributes:
        folder: Where ``inference.py`` puts them; the name holds the hash of what makes them.
        arguments: For ``inference.py``.
        dataset: Data set, with ``split`` and ``data_root``.
        split: Split.
        data_root: Data root, None for the usual one.
        protocols: Presets.
    """

    folder: Path
    arguments: tuple[str, ...]
    dataset: str
    split: str
    data_root: str | None
    protocols: tuple[Protocol, ...]

    @property
    def images(self) -> Split:
        """The images."""
        return open_split(self.dataset, self.split, self.data_root)

    @property
    def maps(self) -> Path:
        """The results folder."""
        return self.folder / self.images.dataset

    def is_done(self) -> bool:
        """All maps are there."""
        return saved_names(self.maps, 'mat') == sorted(self.images.names)


def task_of(contender: Contender, run: Run, args: argparse.Namespace, protocols: Sequence[Protocol]) -> Task:
    """How the score maps of a run are made, and where they are kept.

    The folder's name ends in a hash of weights or parameters, size, options, split and version, so that maps
    of other weights are never taken for these.
    """
    identity: dict[str, Any] = {
        'size': args.size, 'split': args.split, 'dataset': contender.dataset, 'version': drpca.__version__,
    }  # fmt: skip
    arguments = ['--dataset', contender.dataset, '--split', args.split, '--format', 'mat']
    label = contender.config.stem
    if contender.kind != 'trained':  # a trained network has its config in its checkpoint
        config = config_of(contender)
        identity |= {'model': config.model, 'inference_size': config.get('inference_size')}
        arguments = [str(contender.config), *arguments]
    if contender.kind == 'classical':
        baseline = BASELINES.build(config.model)
        identity |= {'method': repr(baseline), 'grey': baseline.grey}
    else:
        assert run.checkpoint is not None
        arguments += ['--checkpoint', run.checkpoint, *(['--device', args.device] if args.device else [])]
        identity['sha256'] = run.checkpoint_sha256
        label += '_published' if contender.weights else f'_seed_{run.seed}'
        if contender.weights and args.cfg_options:
            arguments += ['--cfg-options', *option_texts(args.cfg_options)]
    arguments += [] if args.size is None else ['--size', str(args.size)]
    arguments += ['--data-root', str(args.data_root)] if args.data_root else []
    digest = hashlib.sha256(json.dumps(identity, sort_keys=True, default=str).encode()).hexdigest()[:12]
    folder = Path(args.maps) / f'{label}-{args.size or "own"}-{digest}'
    arguments += ['--out', str(folder)]
    return Task(folder, tuple(arguments), contender.dataset, args.split, args.data_root, tuple(protocols))


def score(task: Task) -> tuple[dict[str, dict[str, float]], str]:
    """Makes the maps of a task with ``inference.py`` unless they are there, and scores them.

    Returns:
        Figures by preset, and a message: '' or why there are none.
    """
    try:
        if not task.is_done():
            said = StringIO()
            with redirect_stderr(said), redirect_stdout(StringIO()):
                code = infer.main(list(task.arguments))
            if code == EXIT_INTERRUPTED:
                raise KeyboardInterrupt
            if code:
                lines = said.getvalue().strip().splitlines() or ['inference.py failed']
                raise UserError(lines[-1].removeprefix('error: '))
        folder = ResultsFolder(task.maps)
        return score_folder(folder, task.protocols, task.dataset, task.split, task.data_root).figures, ''
    except UserError as error:
        return {}, str(error)
    except Exception as error:
        traceback.print_exc()  # ours to mend, so it shows whole; the other methods go on
        return {}, f'{type(error).__name__}: {error}'


def unscored_runs(contender: Contender) -> list[Run]:
    """The one run of a method that is not trained."""
    if contender.weights is None:
        return [Run()]
    return [Run(checkpoint=str(contender.weights), checkpoint_sha256=file_hash(contender.weights))]


def with_seconds(cost: Cost, runs: Sequence[Run]) -> Cost:
    """The cost with the mean training time of the runs that are done."""
    seconds = [run.seconds for run in runs if run.state == 'done' and run.seconds is not None]
    return replace(cost, training_seconds=round(sum(seconds) / len(seconds), 1) if seconds else None)
