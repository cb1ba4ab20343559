"""``run_configs.py``: train configs × data sets × seeds, one after another."""

from __future__ import annotations

import argparse
import gc
import json
import sys
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.dist import is_main_process

from drpca.cli.common import EXIT_FAILED, EXIT_INTERRUPTED, OptionsAction, command_parser, guarded
from drpca.datasets import find_datasets, open_split
from drpca.datasets.layouts import simplify
from drpca.engine.config import config_for, find_config, load_config
from drpca.engine.faults import TrainingDiverged, TrainingFailed
from drpca.engine.hooks import LAST
from drpca.engine.loop import Interrupted
from drpca.engine.train import train
from drpca.errors import EXIT_USAGE, UserError

EXAMPLES = """\
  python run_configs.py                                  DRPCA-Net on every data set under the data root
  python run_configs.py rpcanet_sirstv1                  one config, by name or by path
  python run_configs.py --model lrrnet --dataset NUDT-SIRST --seeds 0 1 2
  python run_configs.py rpcanet_sirstv1 --resume         go on where the run stopped
  python run_configs.py drpcanet_sirstv1 --final --fast  train + val images, all epochs, fast settings
  python run_configs.py rpcanet_sirstv1 --epochs 50 --cfg-options optim_wrapper.optimizer.lr=5e-4
  torchrun --nproc_per_node 2 run_configs.py drpcanet_sirstv1 --launcher pytorch
"""


def build_parser() -> argparse.ArgumentParser:
    parser = command_parser(
        'run_configs.py',
        'Train networks. Each run keeps last.pth, best.pth (by IoU on the validation split; with --final final.pth, '
        'the weights after the last epoch), log.jsonl, TensorBoard events and summary.json in '
        'WORK_DIR/<config>/seed_<n>, and scores the test split once at its end.',
        EXAMPLES,
    )
    parser.add_argument(
        'configs', nargs='*', metavar='CONFIG', help='config files, or their names without .py'
    )
    parser.add_argument(
        '--model', nargs='+', metavar='M', help='models, used with --dataset (default: DRPCA-Net)'
    )
    parser.add_argument(
        '--dataset', nargs='+', metavar='D', help='data sets (default: all under the data root)'
    )
    parser.add_argument(
        '--data-root', metavar='DIR', help='folder of the data sets (default: $DRPCA_DATA, else datasets)'
    )
    parser.add_argument(
        '--seeds', nargs='+', type=int, default=[0], metavar='N', help='one run per seed (default: 0)'
    )
    parser.add_argument(
        '--work-dir', default='checkpoints', metavar='DIR', help='where runs are kept (default: %(default)s)'
    )
    parser.add_argument(
        '--resume', action='store_true', help='go on from last.pth; start where there is none'
    )
    parser.add_argument('--load-from', metavar='FILE', help='start from these weights (fine-tuning)')
    parser.add_argument(
        '--epochs',
        type=int,
        metavar='N',
        help='length of the training; schedules follow',
    )
    parser.add_argument(
        '--final',
        action='store_true',
        help='train on the training and validation splits for all epochs and score the last weights',
    )
    parser.add_argument(
        '--log-test-every',
        type=int,
        metavar='N',
        help='log the test figures every N epochs, for the published best-on-test convention; selects nothing',
    )
    parser.add_argument(
        '--fast',
        action='store_true',
        help='data on the device, bfloat16, NHWC, fused optimiser; on a GPU also compiled',
    )
    parser.add_argument('--batch-size', type=int, metavar='N', help='images per step and process')
    parser.add_argument(
        '--accumulate',
        type=int,
        metavar='N',
        help='update the weights every N batches, by their mean gradient',
    )
    parser.add_argument(
        '--checkpoint-stages',
        action='store_true',
        help='run stages again in the backward pass: same gradients, far less memory, a third more time',
    )
    parser.add_argument('--workers', type=int, metavar='N', help='loader processes')
    parser.add_argument('--amp', choices=['bf16', 'fp16'], help='mixed precision (fp16: GPU only)')
    parser.add_argument(
        '--ema',
        type=float,
        nargs='?',
        const=0.001,
        metavar='MOMENTUM',
        help='average the weights (default momentum: 0.001)',
    )
    parser.add_argument(
        '--patience', type=int, metavar='N', help='stop after N validations without improvement'
    )
    parser.add_argument('--clip-grad', type=float, metavar='NORM', help='clip the gradient norm')
    parser.add_argument('--compile', action='store_true', help='torch.compile the network')
    parser.add_argument(
        '--deterministic', action='store_true', help='deterministic kernels (slower on a GPU)'
    )
    parser.add_argument(
        '--launcher',
        default='none',
        choices=['none', 'pytorch', 'slurm', 'mpi'],
        help='for several processes',
    )
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=OptionsAction,
        default={},
        metavar='KEY=VALUE',
        help='override any key of the config',
    )
    parser.add_argument('--dry-run', action='store_true', help='list the runs and stop')
    return parser


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
        for model in args.model or ['drpcanet']:
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
        open_split(source.dataset, source.split, source.get('data_root'))
    config.work_dir = str(run.work_dir(args.work_dir))
    config.randomness = {'seed': run.seed, 'deterministic': args.deterministic}
    config.launcher = args.launcher
    return config


def _cell(value: float | None, factor: float, width: int) -> str:
    return f'{"-":>{width}s}' if value is None else f'{factor * value:{width}.2f}'


def _table(rows: list[dict[str, Any]]) -> str:
    columns = ('epochs', 'val IoU', 'test IoU', 'nIoU', 'Pd', 'Fa e-6', 'time s')
    lines = [f'{"run":40s} {"state":12s}' + ''.join(f'{column:>10s}' for column in columns)]
    for row in rows:
        test = row.get('test') or {}
        cells = [f'{row.get("epochs", "-")!s:>10s}', _cell(row.get('best'), 100, 10)]
        cells += [_cell(test.get(key), 100, 10) for key in ('IoU', 'nIoU', 'Pd')]
        cells += [_cell(test.get('Fa'), 1e6, 10), _cell(row.get('seconds'), 1, 10)]
        lines.append(f'{row["run"]:40s} {row["state"]:12s}' + ''.join(cells))
    return '\n'.join(lines)


@guarded
def main(argv: list[str] | None = None) -> int:
    """Entry point; returns the exit code: 0 all done, 1 a run failed, 2 bad input, 130 interrupted."""
    args = build_parser().parse_args(argv)
    runs = plan_runs(args)
    rows: list[dict[str, Any]] = []
    codes = []
    for number, run in enumerate(runs, start=1):
        title = f'{run.name} seed {run.seed}'
        row: dict[str, Any] = {'run': title, 'state': 'failed'}
        rows.append(row)
        if is_main_process():
            print(
                f'[{number}/{len(runs)}] {title}: {run.config} -> {run.work_dir(args.work_dir)}', flush=True
            )
        try:
            config = build_config(run, args)
            if args.dry_run:
                row['state'] = 'planned'
                continue
            row.update(train(config, resume=args.resume), state='done')
        except Interrupted:
            row['state'] = 'interrupted'
            print(f'Saved. Go on with: {_resume_command(argv)}', file=sys.stderr)
            codes.append(EXIT_INTERRUPTED)
            break
        except UserError as error:
            print(f'error: {title}: {error}', file=sys.stderr)
            codes.append(EXIT_USAGE)
        except TrainingFailed as error:
            print(f'error: {title}: {error}', file=sys.stderr)
            if (run.work_dir(args.work_dir) / LAST).exists() and not isinstance(error, TrainingDiverged):
                print(f'Go on with: {_resume_command(argv)}', file=sys.stderr)
            codes.append(EXIT_FAILED)
        except Exception:
            # A failure in one run does not stop the others; this one is ours to mend, so it shows whole.
            traceback.print_exc()
            codes.append(EXIT_FAILED)
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
    main_process = is_main_process()
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        # What is left of the networks holds on to the group, whose threads end a process that just ends with them.
        gc.collect()
        torch.distributed.destroy_process_group()
    if main_process:
        if not args.dry_run:
            chosen = 'after the last epoch' if args.final else 'selected on the validation split'
            print(
                f'\nTest figures: weights {chosen}, test split scored once, threshold 0.5, network size, preset '
                'basicirstd.'
            )
        print(_table(rows))
        if any(row['state'] == 'done' for row in rows):
            print('\n'.join(f'{row["run"]}: {row["checkpoint"]}' for row in rows if row['state'] == 'done'))
    return _exit_code(codes)


def _exit_code(codes: list[int]) -> int:
    """One code for all runs: interrupted before failed before bad input before done."""
    return next((code for code in (EXIT_INTERRUPTED, EXIT_FAILED, EXIT_USAGE) if code in codes), 0)


def _resume_command(argv: list[str] | None) -> str:
    arguments = sys.argv[1:] if argv is None else argv
    resumed = [*arguments, *([] if '--resume' in arguments else ['--resume'])]
    return ' '.join(['python run_configs.py', *(json.dumps(a) if ' ' in a else a for a in resumed)])
