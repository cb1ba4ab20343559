"""Trainings: the options they take, which ones are asked for, the config of each, and running one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config

from drpca.config import LOADERS, building, config_for, default_models, find_config, load_config
from drpca.datasets import find_datasets
from drpca.datasets.splits import open_joined
from drpca.engine.train import train as train_config
from drpca.errors import UserError, unknown_name
from drpca.names import joined_names, simplify
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
        fast: Data on the device, bfloat16, NHWC, fused optimiser; on a GPU also compiled.
        batch_size: Images per step and process.
        accumulate: Update the weights every so many batches, by their mean gradient.
        checkpoint_stages: Run stages again in the backward pass: less memory, more time.
        workers: Loader processes, 0 for none.
        amp: Mixed precision, ``'bf16'`` or (on a GPU) ``'fp16'``.
        ema: Momentum in (0, 1) of averaged weights.
        patience: Stop after so many validations without improvement.
        clip_grad: Largest norm of the gradient, above 0.
        compile: Compile the network.
        deterministic: Deterministic kernels.
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
    batch_size: int | None = None
    accumulate: int | None = None
    checkpoint_stages: bool = False
    workers: int | None = None
    amp: str | None = None
    ema: float | None = None
    patience: int | None = None
    clip_grad: float | None = None
    compile: bool = False
    deterministic: bool = False
    launcher: str = 'none'
    cfg_options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        whole = ('epochs', 'batch_size', 'accumulate', 'log_test_every', 'patience', 'workers')
        for key in (*whole, 'clip_grad', 'ema'):
            value, option = getattr(self, key), '--' + key.replace('_', '-')
            kinds, words = (int, 'a whole number') if key in whole else ((int, float), 'a number')
            least = 0 if key == 'workers' else 1
            if value is None:
                continue
            if not isinstance(value, kinds) or isinstance(value, bool):
                raise UserError(f'{option} must be {words}, got {value!r}.')
            if key in whole and value < least:
                raise UserError(f'{option} must be at least {least}, got {value}.')
        if self.clip_grad is not None and not self.clip_grad > 0:
            raise UserError(f'--clip-grad must be above 0, got {self.clip_grad:g}.')
        if self.ema is not None and not 0 < self.ema < 1:
            raise UserError(f'--ema must lie between 0 and 1, got {self.ema:g}.')
        if self.amp not in (None, *PRECISIONS):
            raise unknown_name('precision (--amp)', str(self.amp), PRECISIONS)
        if self.launcher not in LAUNCHERS:
            raise unknown_name('launcher', str(self.launcher), LAUNCHERS)
        if not isinstance(self.cfg_options, Mapping):
            raise UserError(f'--cfg-options: expected dotted keys and values, got {self.cfg_options!r}.')
        for key, option in (('randomness', '--seeds or --deterministic'), ('work_dir', '--work-dir')):
            if any(name.split('.')[0] == key for name in self.cfg_options):
                raise UserError(f'--cfg-options {key} is set for every run: give {option}.')


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
        Interrupted: Stopped by Ctrl-C; its state was saved.
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


def train_run(run: Run, resume: bool = False) -> TrainingResult:
    """Does one of the trainings of :func:`plan_runs`; see :func:`train`."""
    try:
        return TrainingResult(run.folder, **train_config(build_config(run), resume))
    finally:
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


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
        datasets = datasets or _present_datasets(options.data_root)
        for model in models or default_models('train'):
            for dataset in datasets:
                path = config_for(model, dataset)
                own = simplify(path.stem) == simplify(f'{path.parent.name}{dataset}')
                name = path.stem if own else f'{path.parent.name}_{_label(dataset)}'
                chosen.append((path, dataset, name))
    ending = '_final' if options.final else ''
    return [Run(config, d, name + ending, seed, options) for config, d, name in chosen for seed in seeds]


def _label(dataset: str) -> str:
    return '+'.join(simplify(name) for name in joined_names(dataset))


def _present_datasets(data_root: str | Path | None) -> list[str]:
    try:
        return sorted(find_datasets(data_root))
    except UserError as error:
        raise UserError(
            f'{error} To try without one, make the synthetic data set: python tools/make_synthetic.py'
        ) from None


def build_config(run: Run) -> Config:
    """The config of a run with its options applied.

    Raises:
        UserError: Unknown key or bad value; data that is not there.
    """
    asked = run.options
    options: dict[str, Any] = {
        'train_cfg.max_epochs': asked.epochs,
        'train_dataloader.batch_size': asked.batch_size,
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
    config = load_config(run.config, run.dataset, asked.data_root, {**options, **asked.cfg_options}, fast)
    if 'train_dataloader' not in config:
        raise UserError(f'{config.filename} has no training part (train_dataloader); run_configs.py trains networks.')
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
        source = config.train_dataloader.dataset
        if source.get('type') == 'InfraredDataset':
            open_joined(source.dataset, source.split, source.get('data_root'))
    config.work_dir = str(run.folder.path)
    config.randomness = {'seed': run.seed, 'deterministic': asked.deterministic}
    config.launcher = asked.launcher
    return config
