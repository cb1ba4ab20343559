"""The options of commands that train several networks at once."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from drpca.cli.common import OptionsAction, positive
from drpca.errors import UserError

if TYPE_CHECKING:
    from drpca.engine.jobs import JobOptions

_NAMES = ('gpus', 'at_once', 'partition', 'hours', 'slurm')


def add_job_options(parser: Any) -> None:
    """Adds ``--executor`` and what goes with it."""
    add = parser.add_argument
    add(
        '--executor', choices=['local', 'slurm', 'debug'],
        help='one training a job: on every GPU of this machine at once, or on a cluster; goes on with what is there',
    )  # fmt: skip
    add('--gpus', nargs='+', type=int, default=[], metavar='N', help='of this machine (default: all)')
    add('--at-once', type=positive, metavar='N', help='trainings at a time (default: one per GPU; on a cluster all)')
    add('--partition', metavar='P', help='of the cluster')
    add('--hours', type=float, metavar='H', help='time limit of a job on the cluster; it is queued again and goes on')
    add(
        '--slurm', nargs='+', action=OptionsAction, default={}, metavar='KEY=VALUE',
        help='further settings of a job on the cluster: account, qos, cpus_per_task, mem, …',
    )  # fmt: skip


def job_options(args: argparse.Namespace) -> JobOptions | None:
    """What was asked for; None without ``--executor``.

    Raises:
        UserError: Settings without an executor.
    """
    given = {name: getattr(args, name) for name in _NAMES}
    if args.executor is None:
        if any(given.values()):
            raise UserError('--gpus, --at-once, --partition, --hours and --slurm need --executor local or slurm.')
        return None
    from drpca.engine.jobs import JobOptions

    return JobOptions(args.executor, **given)
