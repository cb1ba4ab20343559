"""``run_configs.py``: train configs × data sets × seeds, one after another."""

from __future__ import annotations

import argparse
import shlex
import sys
from typing import Any

from drpca.cli.common import OptionsAction, add_job_options, command_parser, job_options, keywords, seed_argument
from drpca.cli.guard import command_line, guarded
from drpca.errors import EXIT_FAILED, EXIT_FAULT, EXIT_INTERRUPTED, EXIT_REQUEUE, EXIT_USAGE
from drpca.options import called

EXAMPLES = """\
  python run_configs.py                                  DRPCA-Net on every data set under the data root
  python run_configs.py rpcanet_sirstv1                  one config, by name or by path
  python run_configs.py --model lrrnet --dataset NUDT-SIRST --seeds 0 1 2
  python run_configs.py rpcanet_sirstv1 --resume         go on where the run stopped
  python run_configs.py drpcanet_sirstv1 --final --fast  train + val images, all epochs, fast settings
  python run_configs.py rpcanet_sirstv1 --epochs 50 --cfg-options optim_wrapper.optimizer.lr=5e-4
  python run_configs.py rpcanet_sirstv1 --fast-dev-run   does everything work?
  python run_configs.py rpcanet_sirstv1 --time 2         as many epochs as fit into two hours
  python run_configs.py {rpcanet,drpcanet}_sirstv1 --seeds 0 1 2 --executor local
      six trainings, one per GPU at a time; on a cluster: --executor slurm --partition P --hours H
  python run_configs.py rpcanet_plus_sirstv1 --sweep model.network.num_stages=1,2,3
      three trainings, a table and a plot; the same command again goes on
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
    add = parser.add_argument
    add('configs', nargs='*', metavar='CONFIG', help='config files, or their names without .py')
    add('--model', nargs='+', metavar='M', help='models, used with --dataset (default: DRPCA-Net)')
    add(
        '--dataset', nargs='+', metavar='D',
        help='data sets (default: all under the data root); A+B: both together',
    )  # fmt: skip
    add('--data-root', metavar='DIR', help='folder of the data sets (default: $DRPCA_DATA, else datasets)')
    add(
        '--seeds', nargs='+', type=seed_argument, default=[0], metavar='N',
        help='one run per seed (default: 0)',
    )  # fmt: skip
    add('--work-dir', default='checkpoints', metavar='DIR', help='where runs are kept (default: %(default)s)')
    add('--resume', action='store_true', help='go on from last.pth; start where there is none')
    add('--load-from', metavar='FILE', help='start from these weights (fine-tuning)')
    add('--epochs', type=int, metavar='N', help='length of the training; schedules follow')
    add(
        '--time', type=float, metavar='HOURS',
        help='as many epochs as fit, measured first; stops when the time is up, can be resumed',
    )  # fmt: skip
    add(
        '--fast-dev-run', action='store_true',
        help='only try it: two batches through training, validation, checkpoint, test and export',
    )  # fmt: skip
    add(
        '--overfit', type=int, metavar='N',
        help='train and validate on the same N images: what learns at all gets them right',
    )  # fmt: skip
    add(
        '--limit', type=float, metavar='F',
        help='train on a share of the training images (below 1), or on the first F',
    )  # fmt: skip
    add(
        '--final', action='store_true',
        help='train on the training and validation splits for all epochs and score the last weights',
    )  # fmt: skip
    add(
        '--log-test-every', type=int, metavar='N',
        help='log the test figures every N epochs, for the published best-on-test convention; selects nothing',
    )  # fmt: skip
    add(
        '--fast', action='store_true',
        help='data on the device, bfloat16, NHWC (on a CPU the memory order that is faster there), fused optimiser; on '
        'a GPU also compiled',
    )  # fmt: skip
    add(
        '--batch-size', type=_batch_size, metavar='N|auto',
        help='images per step and process; auto: the most that fit into memory, found by trying',
    )  # fmt: skip
    add(
        '--accumulate', type=int, metavar='N',
        help='update the weights every N batches, by their mean gradient',
    )  # fmt: skip
    add(
        '--checkpoint-stages', action='store_true',
        help='run stages again in the backward pass: same gradients, far less memory, a third more time',
    )  # fmt: skip
    add('--workers', type=int, metavar='N', help='loader processes')
    add('--amp', choices=['bf16', 'fp16'], help='mixed precision (fp16: GPU only)')
    add(
        '--ema', type=float, nargs='?', const=0.001, metavar='MOMENTUM',
        help='average the weights (default momentum: 0.001)',
    )  # fmt: skip
    add('--patience', type=int, metavar='N', help='stop after N validations without improvement')
    add('--clip-grad', type=float, metavar='NORM', help='clip the gradient norm')
    add('--compile', action='store_true', help='torch.compile the network')
    add('--deterministic', action='store_true', help='deterministic kernels (slower on a GPU)')
    add(
        '--launcher', default='none', choices=['none', 'pytorch', 'slurm', 'mpi'],
        help='for several processes',
    )  # fmt: skip
    add(
        '--cfg-options', nargs='+', action=OptionsAction, default={}, metavar='KEY=VALUE',
        help='override any key of the config',
    )  # fmt: skip
    add(
        '--sweep', nargs='+', metavar='KEY=V1,V2,…',
        help='train every combination of these values, then write a table and a plot; or one of the named sweeps '
        'rpcanet_plus_stages, rpcanet_plus_bottleneck, rpcanet_plus_channels, gaussian, salt_pepper',
    )  # fmt: skip
    add('--dry-run', action='store_true', help='list the runs and stop')
    add_job_options(parser.add_argument_group('several trainings at once'))
    return parser


def _batch_size(text: str) -> int | str:
    return text if text == 'auto' else int(text)


def _cell(value: float | None, factor: float = 1) -> str:
    return '-' if value is None else f'{factor * value:.2f}'


def _table(rows: list[dict[str, Any]]) -> str:
    from drpca.reports.plain_tables import text_table

    header = ('run', 'state', 'epochs', 'val IoU', 'test IoU', 'nIoU', 'F1', 'Pd', 'Fa e-6', 'time s')
    lines = []
    for row in rows:
        test = row.get('test') or {}
        cells = [row['run'], row['state'], str(row.get('epochs', '-')), _cell(row.get('best'), 100)]
        cells += [_cell(test.get(key), 100) for key in ('IoU', 'nIoU', 'F1', 'Pd')]
        cells += [_cell(test.get('Fa'), 1e6), _cell(row.get('seconds'))]
        lines.append(cells)
    return text_table(header, lines, left=2)


@guarded
def main(argv: list[str] | None = None) -> int:
    """Entry point; returns the exit code: 0 all done, 1 a run failed, 2 bad input, 70 a fault, 130 interrupted, 75
    by a scheduler's signal."""
    args = build_parser().parse_args(argv)
    # After parsing: with these, a help text would take seconds.
    from mmengine.dist import is_main_process

    from drpca.engine.processes import leave_processes
    from drpca.engine.runs import TrainingOptions, already_done, attempt, plan_runs

    options = TrainingOptions(**keywords(TrainingOptions, args))
    runs = plan_runs(args.configs, args.model or (), args.dataset or (), args.seeds, options)
    if args.sweep:
        from drpca.leaderboard.sweeps import parse_sweep, plan_sweep, report_sweep

        sweep = parse_sweep(args.sweep)
        points = plan_sweep(runs, sweep)
        runs = [run for point in points for run in point.runs]
    jobs, doing = job_options(args), command_line(__name__, argv)
    rows: list[dict[str, Any]] = []
    outcomes = []
    if jobs is not None and not args.dry_run:
        from drpca.engine.jobs import run_jobs

        outcomes = run_jobs(runs, jobs, doing)
    for number, run in enumerate(runs, start=1):
        title = f'{run.name} seed {run.seed}'
        if jobs is None or args.dry_run:
            if is_main_process():
                print(f'[{number}/{len(runs)}] {title}: {run.config} -> {run.folder.path}', flush=True)
            if args.sweep and not args.dry_run and run.folder.state == 'done':
                outcomes.append(already_done(run, doing))
            else:
                outcomes.append(attempt(run, args.resume or bool(args.sweep), doing, args.dry_run))
        outcome = outcomes[number - 1]
        rows.append({'run': title, 'state': outcome.state, **(vars(outcome.result) if outcome.result else {})})
        if outcome.message:
            print(f'error: {title}: {outcome.message}', file=sys.stderr)
        if outcome.resumable and jobs is None and is_main_process():
            saved = 'Saved. ' if outcome.state == 'interrupted' else ''
            print(f'{saved}Go on with: {_resume_command(argv)}', file=sys.stderr)
        if outcome.state == 'interrupted' and jobs is None:
            break
    if jobs is not None and any(outcome.resumable for outcome in outcomes):
        print('What was saved goes on with the same command.', file=sys.stderr)
    codes = [outcome.code for outcome in outcomes]
    main_process = is_main_process()
    leave_processes()
    if main_process and args.fast_dev_run and not args.dry_run and not any(codes):
        print('All of it works: trained, validated, saved, tested and exported, on two batches; nothing was kept.')
    elif main_process:
        if not args.dry_run:
            chosen = 'after the last epoch' if args.final else 'selected on the validation split'
            print(
                f'\nTest figures: weights {chosen}, test split scored once, threshold 0.5, network size, preset '
                'basicirstd.'
            )
        print(_table(rows))
        if any(row['state'] == 'done' for row in rows):
            print('\n'.join(f'{row["run"]}: {row["checkpoint"]}' for row in rows if row['state'] == 'done'))
            if args.sweep:
                ended = {run.folder.path: outcome for run, outcome in zip(runs, outcomes)}
                for table in report_sweep(sweep, points, ended):
                    print(f'\n{table.as_text()}\nwrote {", ".join(map(str, table.files))}')
    return _exit_code(codes)


def _exit_code(codes: list[int]) -> int:
    """One code for all runs: interrupted before a fault before failed before bad input before done."""
    order = (EXIT_INTERRUPTED, EXIT_REQUEUE, EXIT_FAULT, EXIT_FAILED, EXIT_USAGE)
    return next((code for code in order if code in codes), 0)


def _resume_command(argv: list[str] | None) -> str:
    arguments = sys.argv[1:] if argv is None else argv
    if '--launcher' in arguments:  # which alone knows how many processes it started
        return 'the same command and --resume'
    return f'{called("train")} {shlex.join([*arguments, *([] if "--resume" in arguments else ["--resume"])])}'
