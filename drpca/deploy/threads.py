"""How many CPU threads are worth starting."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

import torch

CGROUP = Path('/sys/fs/cgroup')


def quota(root: Path = CGROUP) -> float | None:
    """CPUs that a container's control group may use, None where there is no limit (or no Linux)."""
    for files in (('cpu.max',), ('cpu/cpu.cfs_quota_us', 'cpu/cpu.cfs_period_us')):  # version 2, version 1
        try:
            allowed, period = ' '.join((root / file).read_text().strip() for file in files).split()
            return float(allowed) / float(period) if float(allowed) > 0 else None
        except (OSError, ValueError):  # no such file, or 'max'
            continue
    return None


@cache
def limit_threads() -> None:
    """Lower PyTorch's threads to a container's CPU quota, once and only if nobody has chosen their number.

    PyTorch starts a thread per physical core that the process may run on. It does not know of a quota, and
    threads beyond it wait for each other.
    """
    allowed = quota()
    if allowed is not None and 'OMP_NUM_THREADS' not in os.environ and torch.get_num_threads() == _DEFAULT:
        torch.set_num_threads(min(_DEFAULT, max(1, round(allowed))))


_DEFAULT = torch.get_num_threads()
