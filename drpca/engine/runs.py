"""Trainings: the options they take, which ones are asked for, the config of each, and running one."""

from __future__ import annotations

import copy
import math
import shlex
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal

import torch
from mmengine.config import Config
from mmengine.device import get_device

from drpca.checkpoint import read_checkpoint, read_training_state
from drpca.config import (
    HOME_SEQUENCES,
    LOADERS,
    building,
    config_for,
    default_models,
    find_config,
    list_configs,
    load_config,
    window_models,
)
from drpca.config_text import read_config
from drpca.datasets import find_datasets
from drpca.datasets.splits import open_joined
from drpca.engine.faults import TrainingDiverged, TrainingFailed
from drpca.engine.leaks import check_final
from drpca.engine.loop import Interrupted
from drpca.engine.precision import resolve_precision
from drpca.engine.train import train as train_config
from drpca.engine.trial import epochs_within, faster_order, largest_batch, rehearse
from drpca.errors import EXIT_FAILED, UserError, explain, unknown_name
from drpca.names import joined_names, simplify
from drpca.options import called
from drpca.run_folder import RunFolder

LAUNCHERS = ('none', 'pytorch', 'slurm', 'mpi')
PRECISIONS = ('bf16', 'fp16')


@dataclass(frozen=True)
class TrainingOptions:
    """What ``run_configs.py`` takes beside configs and seeds; None leaves what the config says.

    Attributes:
        data_root: Folder of the data sets; None means ``$DRPCA_DATA``, else ``datasets``.
        work_dir: Where runs are kept, each in ``<name>/seed_<n>``.
        load_from: File of weights to start from.
        epochs: Length of the training; schedules follow.
        final: Train on the training and validation splits and take the weights after the last epoch.
        log_test_every: Log the test figures every so many epochs; it selects nothing.
        fast: Data on the device, bfloat16, fused optimiser; NHWC, on a CPU NCHW where a short trial says that it is
            faster; on a GPU also compiled.
        batch_size: Images per step and process; ``'auto'``: the most that fit into memory, found by trying
            (:func:`drpca.engine.trial.largest_batch`).
        accumulate: Update the weights every so many batches, by their mean gradient.
        checkpoint_stages: Run stages again in the backward pass: less memory, more time.
        workers: Loader processes, 0 for none.
        amp: Mixed precision, ``'bf16'`` or (on a GPU) ``'fp16'``.
        ema: Momentum in (0, 1) of averaged weights.
        patience: Stop after so many validations without improvement.
        clip_grad: Largest norm of the gradient, above 0.
        compile: Compile the network.
        deterministic: Deterministic kernels.
        fast_dev_run: Only try everything on a few batches, in a folder that is removed at the end
            (:func:`drpca.engine.trial.rehearse`).
        overfit: Train on the first so many training images alone, without augmentation, and validate on the same: what
            learns at all gets them right.
        limit: Train on a part of the training images: a share below 1, spread over the list, or the first so many.
        time: Hours that the training may take. The speed is measured first, and the training gets as many epochs as
            fit, at most those of the config; when the time is up it stops and can be resumed.
        launcher: What started this process among several; one of ``LAUNCHERS``.
        cfg_options: Dotted keys of the config → values, applied last.

    Raises:
        UserError: A value outside these ranges.
    """

    data_root: str | Path | None = None
    work_dir: str | Path = 'checkpoints'
    load_from: str | Path | None = None
    epochs: int | None = None
    final: bool = False
    log_test_every: int | None = None
    fast: bool = False
    batch_size: int | Literal['auto'] | None = None
    accumulate: int | None = None
    checkpoint_stages: bool = False
    workers: int | None = None
    amp: str | None = None
    ema: float | None = None
    patience: int | None = None
    clip_grad: float | None = None
    compile: bool = False
    deterministic: bool = False
    fast_dev_run: bool = False
    overfit: int | None = None
    limit: float | None = None
    time: float | None = None
    launcher: str = 'none'
    cfg_options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        whole = ('epochs', 'batch_size', 'accumulate', 'log_test_every', 'patience', 'workers', 'overfit')
        above_zero = ('clip_grad', 'limit', 'time')
        for key in (*whole, *above_zero, 'ema'):
            value, option = getattr(self, key), '--' + key.replace('_', '-')
            kinds, words = (int, 'a whole number') if key in whole else ((int, float), 'a number')
            least = 0 if key == 'workers' else 1
            if value is None or (key, value) == ('batch_size', 'auto'):
                continue
            if not isinstance(value, kinds) or isinstance(value, bool):
                raise UserError(f'{option} must be {words}, got {value!r}.')
            if key in whole and value < least:
                raise UserError(f'{option} must be at least {least}, got {value}.')
            if key in above_zero and not 0 < value < math.inf:
                raise UserError(f'{option} must be above 0, got {value:g}.')
        if self.ema is not None and not 0 < self.ema < 1:
            raise UserError(f'--ema must lie between 0 and 1, got {self.ema:g}.')
        if self.amp not in (None, *PRECISIONS):
            raise unknown_name('precision (--amp)', str(self.amp), PRECISIONS)
        if self.launcher not in LAUNCHERS:
            raise unknown_name('launcher', str(self.launcher), LAUNCHERS)
        self._check_pairs()
        if not isinstance(self.cfg_options, Mapping):
            raise UserError(f'--cfg-options: expected dotted keys and values, got {self.cfg_options!r}.')
        for key, option in (('randomness', '--seeds or --deterministic'), ('work_dir', '--work-dir')):
            if any(name.split('.')[0] == key for name in self.cfg_options):
                raise UserError(f'--cfg-options {key} is set for every run: give {option}.')

    def _check_pairs(self) -> None:
        """Options that do not go together."""
        if self.limit is not None and self.limit >= 1 and self.limit != int(self.limit):
            raise UserError(f'--limit: expected a share below 1 or a whole number of images, got {self.limit:g}.')
        if self.overfit and (self.limit or self.final):
            raise UserError('--overfit validates on the images that it trains on: leave out --limit and --final.')
        if self.time and self.epochs:
            raise UserError('--time chooses the number of epochs: leave out --epochs.')
        if self.launcher != 'none' and (self.batch_size == 'auto' or self.time or self.fast_dev_run):
            given = '--batch-size auto' if self.batch_size == 'auto' else '--time' if self.time else '--fast-dev-run'
            raise UserError(
                f'{given} measures in one process: leave out --launcher, and give the numbers that it finds.'
            )


@dataclass(frozen=True)
class Run:
    """One training to be done.

    Attributes:
        config: Its config file, or a config that was read and changed.
        dataset: In place of the config's own; None keeps that.
        name: Of the folder that holds one folder per seed.
        seed: Seed of everything random.
        options: Its other options.
    """

    config: Path | Config
    dataset: str | None
    name: str
    seed: int
    options: TrainingOptions

    @property
    def folder(self) -> RunFolder:
        """Where it is kept."""
        return RunFolder(Path(self.options.work_dir) / self.name / f'seed_{self.seed}')


@dataclass(frozen=True)
class TrainingResult:
    """What a training came to; all but ``folder`` is in its ``summary.json``.

    Attributes:
        folder: Its files.
        config: Name of the config.
        seed: Its seed.
        epochs: Epochs trained.
        selection: How the weights were chosen: ``'val'`` (best on the validation split) or ``'final'``.
        best_epoch: Epoch of the selected weights, from 1; None without validation.
        best: Their validation figure, a ratio; None without validation.
        parameters: Parameters of the network.
        seconds: Time spent in training epochs, without validation.
        checkpoint: The weights.
        test: Figures on the test split by name, ratios; None without such a split.
    """

    folder: RunFolder
    config: str
    seed: int
    epochs: int
    selection: str
    best_epoch: int | None
    best: float | None
    parameters: int
    seconds: float
    checkpoint: str
    test: dict[str, float] | None


def train(
    config: str | Path | Config | None = None,
    *,
    model: str | None = None,
    dataset: str | None = None,
    seed: int = 0,
    resume: bool = False,
    **options: Any,
) -> TrainingResult:
    """Train a network, as ``run_configs.py`` does, and score the test split once with the selected weights.

    The run is kept in ``<work_dir>/<name>/seed_<seed>``: ``best.pth`` (or ``final.pth``), ``last.pth``,
    ``log.jsonl``, ``summary.json``, TensorBoard events.

    Args:
        config: Name or path of a config, or a config that :func:`drpca.config.load_config` gave.
        model: Instead of ``config``: name of a model, whose config for ``dataset`` is taken.
        dataset: Data set in place of the config's own, or several joined, ``'SIRSTv1+NUDT-SIRST'``; needed with
            ``model``.
        seed: From 0 on.
        resume: Go on from ``last.pth`` where there is one.
        **options: See :class:`TrainingOptions`.

    Raises:
        UserError: Bad config, option, data or checkpoint; a run that is there already.
        TypeError: A keyword that is no option.
        TrainingFailed: The run could not go on: memory or disk full, a file gone, a loader process dead.
        TrainingDiverged: The loss became NaN or infinite.
        Interrupted: Stopped by Ctrl-C, SIGTERM or SIGUSR1; its state was saved.
    """
    if config is None and (model is None or dataset is None):
        raise UserError('Which training? Give a config, or model and dataset.')
    (run,) = plan_runs(
        [] if config is None else [config],
        [] if model is None else [model],
        [] if dataset is None else [dataset],
        [seed],
        TrainingOptions(**options),
    )
    return train_run(run, resume)


@dataclass(frozen=True)
class Outcome:
    """How a training ended.

    Attributes:
        state: ``'done'``, ``'failed'``, ``'interrupted'``, or ``'planned'`` of one that was only looked at.
        result: What it came to, if it is done.
        message: Why it is not.
        code: Exit code of a command that did only this.
        resumable: It can go on from what it saved.
    """

    state: Literal['done', 'failed', 'interrupted', 'planned']
    result: TrainingResult | None = None
    message: str = ''
    code: int = 0
    resumable: bool = False


def attempt(run: Run, resume: bool = False, doing: str = 'training', dry: bool = False) -> Outcome:
    """:func:`train_run` for one of several: whatever ends it is told, not raised.

    Args:
        run: The training.
        resume: As of :func:`train`.
        doing: For the message about a fault of the program.
        dry: Only apply the options.
    """
    try:
        if dry:
            build_config(run)
            return Outcome('planned')
        return Outcome('done', train_run(run, resume))
    except Interrupted as stop:
        return Outcome('interrupted', code=stop.exit_code, resumable=not run.options.fast_dev_run)
    except TrainingFailed as error:
        resumable = run.folder.last.exists() and not isinstance(error, TrainingDiverged)
        return Outcome('failed', None, str(error), EXIT_FAILED, resumable)
    except BrokenPipeError:
        raise
    except Exception as error:
        return Outcome('failed', None, *explain(error, doing))


def already_done(run: Run, doing: str) -> Outcome:
    """A training that was done before, unless it was another one."""
    try:
        summary = run.folder.summary()
        check_same_training(run, run.folder.path / Path(summary['checkpoint']).name)
        known: Any = {part.name: summary.get(part.name) for part in fields(TrainingResult) if part.name != 'folder'}
        return Outcome('done', TrainingResult(run.folder, **known))
    except Exception as error:  # the others go on
        message, code = explain(error, doing)
        return Outcome('failed', None, message, code)


def train_run(run: Run, resume: bool = False) -> TrainingResult:
    """Does one of the trainings of :func:`plan_runs`; see :func:`train`."""
    started = time.perf_counter()
    try:
        if run.options.fast_dev_run and resume:
            raise UserError('--fast-dev-run begins anew each time: leave out --resume.')
        if run.options.fast_dev_run:
            short = replace(run.options, epochs=2, time=None)
            return TrainingResult(run.folder, **rehearse(build_config(replace(run, options=short))))
        saved = _saved_config(run) if resume else None
        config = _settle(run, saved, started)
        if saved is not None:
            _check_length(run, config, saved)
        return TrainingResult(run.folder, **train_config(config, resume))
    finally:
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def _saved_config(run: Run) -> Config | None:
    """The config of a run that goes on.

    Raises:
        UserError: What is saved is not the config of a training.
    """
    last = run.folder.last
    if not last.is_file():
        return None
    saved = read_config(read_training_state(last)['meta']['cfg'], last)
    length = saved.get('train_cfg')
    if not isinstance(length, dict) or not isinstance(length.get('max_epochs'), int):
        raise UserError(f'The config inside {last} has no train_cfg.max_epochs: it was changed; train anew elsewhere.')
    return saved


def _settle(run: Run, saved: Config | None, started: float = 0.0) -> Config:
    """The config of a run, with what has to be measured first; a run that goes on keeps what was measured."""
    options = run.options
    if options.batch_size == 'auto':
        size = largest_batch(build_config(run)) if saved is None else saved.train_dataloader.batch_size
        run = replace(run, options=replace(options, batch_size=size))
    if (
        options.fast
        and not torch.cuda.is_available()
        and options.launcher == 'none'
        and _ORDER not in options.cfg_options
    ):
        order = faster_order(build_config(run)) if saved is None else saved.model.get('channels_last', True)
        run = replace(run, options=replace(run.options, cfg_options={**options.cfg_options, _ORDER: order}))
    if options.time is None:
        return build_config(run)
    seconds = 3600 * options.time
    if saved is None:
        epochs = epochs_within(build_config(run), seconds - (time.perf_counter() - started))
    else:
        epochs = saved.train_cfg.max_epochs
    config = build_config(replace(run, options=replace(run.options, time=None, epochs=epochs)))
    left = seconds - (time.perf_counter() - started)
    config.custom_hooks = [*(config.get('custom_hooks') or []), {'type': 'DeadlineHook', 'seconds': left}]
    return config


def _check_length(run: Run, config: Config, saved: Config) -> None:
    """A schedule ends with its training: one that is longer is another training, from the weights of the first.

    Raises:
        UserError: The run was begun with another length.
    """
    before, after = saved.train_cfg.max_epochs, config.train_cfg.max_epochs
    if before == after or saved.get('param_scheduler') == config.get('param_scheduler'):
        return
    more = replace(
        run.options, epochs=after - before if after > before else after, load_from=run.folder.last, time=None,
        work_dir=Path(run.options.work_dir) / 'more',
    )  # fmt: skip
    raise UserError(
        f'{run.folder.path} was begun for {before} epochs, not {after}, and its learning rate ends with them. '
        f'Go on with --resume and the same --epochs, or train longer from its weights: '
        f'{command_of(replace(run, options=more))}'
    )


def command_of(run: Run) -> str:
    """The command that does a training, as a shell takes it."""
    config = run.config
    name = Path(config.filename or '') if isinstance(config, Config) else config
    words = [name.stem if list_configs().get(name.stem) == name else str(name)]
    words += ['--dataset', run.dataset] if run.dataset else []
    words += ['--seeds', str(run.seed)] if run.seed else []
    for option in fields(run.options):
        value, word = getattr(run.options, option.name), '--' + option.name.replace('_', '-')
        if option.name == 'cfg_options':
            words += [word, *(f'{key}={inner}' for key, inner in value.items())] if value else []
        elif value is True:
            words.append(word)
        elif value != option.default:
            words += [word, str(value)]
    return f'{called("train")} {shlex.join(words)}'


def plan_runs(
    configs: Sequence[str | Path | Config] = (),
    models: Sequence[str] = (),
    datasets: Sequence[str] = (),
    seeds: Sequence[int] = (0,),
    options: TrainingOptions | None = None,
) -> list[Run]:
    """Configs, or models × data sets, times seeds.

    Args:
        configs: Names, paths, or configs that were read.
        models: Without ``configs``; DRPCA-Net if there are none either.
        datasets: With configs: each on all of these in place of its own. With models: all under the data root
            if none are named. ``'SIRSTv1+NUDT-SIRST'`` is the two joined.
        seeds: Whole numbers from 0 on.
        options: Of all runs.

    Raises:
        UserError: An unknown name, a seed twice, or no data set where one is needed.
    """
    options = options or TrainingOptions()
    if not all(isinstance(seed, int) and seed >= 0 for seed in seeds) or len(set(seeds)) < len(seeds):
        raise UserError(f'--seeds: expected different whole numbers from 0 on, got {" ".join(map(str, seeds))}.')
    chosen: list[tuple[Path | Config, str | None, str]] = []
    if configs and models:
        raise UserError('Give configs or --model, not both.')
    for given in configs:
        config = given if isinstance(given, Config) else find_config(given)
        stem = Path(config.filename or 'config').stem if isinstance(config, Config) else config.stem
        chosen += [(config, d, f'{stem}_on_{_label(d)}') for d in datasets] or [(config, None, stem)]
    if not configs:
        models = models or default_models('train')
        several = [model for model in models if config_for(model, '', windows=True).parent.name in window_models()]
        if several and not datasets:
            raise UserError(
                f'--model {several[0]} looks at several frames: give --dataset, a folder of sequences or '
                f'{HOME_SEQUENCES}.'
            )
        datasets = datasets or _present_datasets(options.data_root)
        for model in models:
            for dataset in datasets:
                path = config_for(model, dataset, windows=True)
                own = simplify(path.stem) == simplify(f'{path.parent.name}{dataset}')
                name = path.stem if own else f'{path.parent.name}_{_label(dataset)}'
                chosen.append((path, dataset, name))
    ending = f'_overfit{options.overfit}' if options.overfit else f'_limit{options.limit:g}' if options.limit else ''
    ending += '_final' if options.final else ''
    return [Run(config, d, name + ending, seed, options) for config, d, name in chosen for seed in seeds]


def _label(dataset: str) -> str:
    return '+'.join(simplify(name) for name in joined_names(dataset))


def _present_datasets(data_root: str | Path | None) -> list[str]:
    try:
        return sorted(find_datasets(data_root))
    except UserError as error:
        raise UserError(
            f'{error} To try without one, make the synthetic data set: {called("make-synthetic")}'
        ) from None


def build_config(run: Run) -> Config:
    """The config of a run with its options applied.

    Raises:
        UserError: Unknown key or bad value; data that is not there.
    """
    asked = run.options
    options: dict[str, Any] = {
        'train_cfg.max_epochs': asked.epochs,
        'train_dataloader.batch_size': None if asked.batch_size == 'auto' else asked.batch_size,
        'train_dataloader.images': asked.limit if asked.limit is None or asked.limit < 1 else int(asked.limit),
        'train_dataloader.num_workers': asked.workers,
        'optim_wrapper.accumulative_counts': asked.accumulate,
        'optim_wrapper.clip_grad': None if asked.clip_grad is None else {'max_norm': asked.clip_grad},
        'default_hooks.checkpoint.patience': asked.patience,
        'model.compiled': True if asked.compile else None,
        'checkpoint_stages': True if asked.checkpoint_stages else None,
        'selection': 'final' if asked.final else None,
        'load_from': None if asked.load_from is None else str(asked.load_from),
    }
    options = {key: value for key, value in options.items() if value is not None}
    if asked.workers == 0:
        options['train_dataloader.persistent_workers'] = False
    if asked.amp == 'fp16':
        if not torch.cuda.is_available():
            raise UserError('--amp fp16 needs a GPU; on a CPU use --amp bf16.')
        options |= {'optim_wrapper.type': 'AmpOptimWrapper', 'model.precision': 'float32'}
    elif asked.amp == 'bf16':
        options['model.precision'] = 'bfloat16'
    fast = ('cuda' if torch.cuda.is_available() else 'cpu') if asked.fast else None
    options |= asked.cfg_options
    config = load_config(run.config, run.dataset, asked.data_root, options, fast)
    if 'train_dataloader' not in config:
        raise UserError(f'{config.filename} has no training part (train_dataloader): only networks are trained.')
    with building():
        if asked.ema is not None:  # in place of an average that the config has
            average = {'type': 'EMAHook', 'momentum': asked.ema, 'update_buffers': True, 'priority': 'NORMAL'}
            hooks = [hook for hook in config.get('custom_hooks') or [] if hook['type'] != 'EMAHook']
            config.custom_hooks = [*hooks, average]
        for hook in config.get('custom_hooks') or []:
            if asked.accumulate and hook['type'] == 'EMAHook':
                hook['interval'] = asked.accumulate  # one step of the average per update of the weights
                if 'gamma' in hook:  # which counts iterations
                    hook['gamma'] *= asked.accumulate
            elif asked.log_test_every and hook['type'] == 'TrainingLogHook':
                hook['log_test_every'] = asked.log_test_every
        for loader in LOADERS:
            if config.get(loader) and config[loader].get('num_workers') == 0:
                config[loader].persistent_workers = False
        if asked.overfit:
            _overfit(config, asked.overfit)
        source = config.train_dataloader.dataset
        if source.get('type') == 'InfraredDataset':
            if config.get('selection') == 'final':
                check_final(config)
            there = len(open_joined(source.dataset, source.split, source.get('data_root')))
            option, images = ('--overfit', asked.overfit) if asked.overfit else ('--limit', asked.limit or 0)
            if images > there:
                raise UserError(f'{option}: expected at most {there}, the number of training images, got {images:g}.')
    resolve_precision(config, 'model.precision' in options, get_device())
    config.work_dir = str(run.folder.path)
    config.randomness = {'seed': run.seed, 'deterministic': asked.deterministic}
    config.launcher = asked.launcher
    return config


def _overfit(config: Config, images: int) -> None:
    """Trains and validates on the same images, without augmentation; there is nothing to test."""
    if not config.get('val_dataloader'):
        raise UserError('--overfit needs a config that validates (val_dataloader).')
    loader = config.train_dataloader
    loader.images, loader.batch_size = images, min(loader.batch_size, images)
    for steps in ('pipeline', 'before_resize'):
        if steps in loader.dataset:
            loader.dataset[steps] = []
    config.val_dataloader.dataset, config.val_dataloader.images = copy.deepcopy(loader.dataset), images
    config.test_dataloader = config.test_cfg = config.test_evaluator = None


_ORDER = 'model.channels_last'

# What a training is; and what in it changes its speed alone, or where its files lie.
_TRAINING = ('model', 'train_dataloader', 'train_cfg', 'optim_wrapper', 'param_scheduler', 'averages')
_SPEED = {
    'compiled', 'channels_last', 'precision', 'fused', 'on_device', 'data_root', 'num_workers', 'persistent_workers',
    'pin_memory',
}  # fmt: skip


def check_same_training(run: Run, checkpoint: Path) -> None:
    """Refuses to show a run of other options, or of 50 epochs as one of 400.

    Raises:
        UserError: It was trained otherwise than the command line and its config say.
    """
    saved = read_checkpoint(checkpoint)['meta'].get('cfg')
    if saved is None:
        return
    before = read_config(saved, checkpoint)
    was, asked = dict(_leaves(before)), dict(_leaves(_settle(run, before)))
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
