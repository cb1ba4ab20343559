"""Which trainings a command line asks for, and the config of each."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config

from drpca.config import config_for, default_models, find_config, load_config
from drpca.datasets import find_datasets
from drpca.datasets.splits import open_joined
from drpca.errors import UserError
from drpca.names import simplify


@dataclass(frozen=True)
class Run:
    """One training to be done."""

    config: Path
    dataset: str | None
    name: str
    seed: int

    def work_dir(self, root: str) -> Path:
        return Path(root) / self.name / f'seed_{self.seed}'


def plan_runs(args: argparse.Namespace) -> list[Run]:
    """Configs, or models × data sets, times seeds.

    Raises:
        UserError: An unknown name, a seed twice, or no data set where one is needed.
    """
    if min(args.seeds) < 0 or len(set(args.seeds)) < len(args.seeds):
        raise UserError(
            f'--seeds: expected different whole numbers from 0 on, got {" ".join(map(str, args.seeds))}.'
        )
    chosen: list[tuple[Path, str | None, str]] = []
    if args.configs:
        if args.model:
            raise UserError('Give configs or --model, not both.')
        for name in args.configs:
            path = find_config(name)
            datasets = args.dataset or [None]
            chosen += [
                (path, d, path.stem if d is None else f'{path.stem}_on_{simplify(d)}') for d in datasets
            ]
    else:
        datasets = args.dataset or _present_datasets(args.data_root)
        for model in args.model or default_models('train'):
            for dataset in datasets:
                path = config_for(model, dataset)
                own = simplify(path.stem) == simplify(f'{path.parent.name}{dataset}')
                chosen.append(
                    (path, dataset, path.stem if own else f'{path.parent.name}_{simplify(dataset)}')
                )
    ending = '_final' if args.final else ''
    return [Run(path, dataset, name + ending, seed) for path, dataset, name in chosen for seed in args.seeds]


def _present_datasets(data_root: str | None) -> list[str]:
    try:
        return sorted(find_datasets(data_root))
    except UserError as error:
        raise UserError(
            f'{error} To try without one, make the synthetic data set: python tools/make_synthetic.py'
        ) from None


def _check_numbers(args: argparse.Namespace) -> None:
    for key in ('epochs', 'batch_size', 'accumulate', 'log_test_every', 'patience'):
        value = getattr(args, key)
        if value is not None and value < 1:
            raise UserError(f'--{key.replace("_", "-")} must be at least 1, got {value}.')
    if args.workers is not None and args.workers < 0:
        raise UserError(f'--workers must be at least 0, got {args.workers}.')
    if args.clip_grad is not None and not args.clip_grad > 0:
        raise UserError(f'--clip-grad must be above 0, got {args.clip_grad:g}.')
    if args.ema is not None and not 0 < args.ema < 1:
        raise UserError(f'--ema must lie between 0 and 1, got {args.ema:g}.')
    for key, option in (('randomness', '--seeds or --deterministic'), ('work_dir', '--work-dir')):
        if any(name.split('.')[0] == key for name in args.cfg_options):
            raise UserError(f'--cfg-options {key} is set for every run: give {option}.')


def build_config(run: Run, args: argparse.Namespace) -> Config:
    """The config of a run with the command line applied.

    Raises:
        UserError: Unknown key or bad value; data that is not there.
    """
    options: dict[str, Any] = {
        'train_cfg.max_epochs': args.epochs,
        'train_dataloader.batch_size': args.batch_size,
        'train_dataloader.num_workers': args.workers,
        'optim_wrapper.accumulative_counts': args.accumulate,
        'optim_wrapper.clip_grad': None if args.clip_grad is None else {'max_norm': args.clip_grad},
        'default_hooks.checkpoint.patience': args.patience,
        'model.compiled': True if args.compile else None,
        'checkpoint_stages': True if args.checkpoint_stages else None,
        'selection': 'final' if args.final else None,
        'load_from': args.load_from,
    }
    options = {key: value for key, value in options.items() if value is not None}
    if args.workers == 0:
        options['train_dataloader.persistent_workers'] = False
    _check_numbers(args)
    if args.amp == 'fp16':
        if not torch.cuda.is_available():
            raise UserError('--amp fp16 needs a GPU; on a CPU use --amp bf16.')
        options |= {'optim_wrapper.type': 'AmpOptimWrapper', 'model.precision': 'float32'}
    elif args.amp == 'bf16':
        options['model.precision'] = 'bfloat16'
    fast = ('cuda' if torch.cuda.is_available() else 'cpu') if args.fast else None
    config = load_config(run.config, run.dataset, args.data_root, {**options, **args.cfg_options}, fast)
    if 'train_dataloader' not in config:
        raise UserError(
            f'{run.config} has no training part (train_dataloader); run_configs.py trains networks.'
        )
    if args.ema is not None:  # in place of an average that the config has
        config.custom_hooks = [hook for hook in config.custom_hooks if hook['type'] != 'EMAHook']
        config.custom_hooks.append(
            {'type': 'EMAHook', 'momentum': args.ema, 'update_buffers': True, 'priority': 'NORMAL'}
        )
    for hook in config.custom_hooks if args.accumulate else []:
        if hook['type'] == 'EMAHook':  # one step of the average per update of the weights
            hook['interval'] = args.accumulate
            if 'gamma' in hook:  # which counts iterations
                hook['gamma'] *= args.accumulate
    if args.log_test_every is not None:
        for hook in config.custom_hooks:
            if hook['type'] == 'TrainingLogHook':
                hook['log_test_every'] = args.log_test_every
    for loader in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        if config.get(loader) and config[loader].get('num_workers') == 0:
            config[loader].persistent_workers = False
    source = config.train_dataloader.dataset
    if source.get('type') == 'InfraredDataset':
        open_joined(source.dataset, source.split, source.get('data_root'))
    config.work_dir = str(run.work_dir(args.work_dir))
    config.randomness = {'seed': run.seed, 'deterministic': args.deterministic}
    config.launcher = args.launcher
    return config
