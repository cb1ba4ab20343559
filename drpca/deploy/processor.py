"""What a speed depends on besides the code: the processor, its instructions, the threads, and what else it does."""

from __future__ import annotations

import os
import platform
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch

QUIET = 0.1
"""Cores kept busy by others up to which a machine is called quiet."""
_INSTRUCTIONS = {'AVX512': 'AVX-512', 'DEFAULT': 'no vector instructions'}
_LIMITS = ('ATEN_CPU_CAPABILITY', 'ONEDNN_MAX_CPU_ISA')


@dataclass(frozen=True)
class Machine:
    """Where figures were measured.

    Attributes:
        processor: Its model, as it calls itself.
        instructions: The vector instructions that PyTorch uses there, and whether bfloat16 ones are among them.
        cores: Those that the process may run on.
        threads: Of PyTorch and the runtimes.
        busy: Cores that other processes kept busy before the measurement, None where the system does not say.
    """

    processor: str
    instructions: str
    cores: int
    threads: int
    busy: float | None

    def __str__(self) -> str:
        load = 'load unknown' if self.busy is None else (
            'otherwise quiet' if self.busy <= QUIET else f'others kept {self.busy:.1f} cores busy'
        )  # fmt: skip
        threads, cores = (f'{n} {what}{"s" * (n != 1)}' for n, what in ((self.threads, 'thread'), (self.cores, 'core')))
        return f'{self.processor} ({self.instructions}), {threads} on {cores}, {load}'


def machine(seconds: float = 0.5) -> Machine:
    """This machine as it is now; takes this long, in which the process should do nothing."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1
    return Machine(processor_name(), instructions(), cores, torch.get_num_threads(), others_busy(seconds))


@cache
def processor_name() -> str:
    """Model of the processor, ``'AMD EPYC'``; its architecture where it has no name."""
    try:
        lines = Path('/proc/cpuinfo').read_text(encoding='utf-8').splitlines()
    except OSError:
        lines = []
    names = [line.partition(':')[2].strip() for line in lines if line.startswith('model name')]
    return (names and names[0]) or platform.processor() or platform.machine()


def instructions() -> str:
    """``'AVX-512 with bf16'``: what PyTorch and oneDNN use here, with the variables that hold them to less."""
    name = torch.backends.cpu.get_cpu_capability()
    has_bf16 = torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported()
    limits = ', '.join(f'{key}={os.environ[key]}' for key in _LIMITS if os.environ.get(key))
    return f'{_INSTRUCTIONS.get(name, name)}{" with bf16" * has_bf16}{f", {limits}" * bool(limits)}'


def others_busy(seconds: float) -> float | None:
    """Cores that other processes keep busy meanwhile, None where there is no ``/proc/stat``."""
    try:
        before, started = _ticks(), time.perf_counter()
        time.sleep(seconds)
        ticks = _ticks() - before
        return max(0.0, ticks / os.sysconf('SC_CLK_TCK') / (time.perf_counter() - started))
    except (OSError, ValueError, AttributeError):
        return None


def _ticks() -> float:
    """Time that all cores have worked for other processes than this one, in ticks of the system's clock."""
    user, nice, system, _, _, *interrupts = map(int, Path('/proc/stat').read_text().split('\n', 1)[0].split()[1:9])
    own = os.times()
    return user + nice + system + sum(interrupts) - (own.user + own.system) * os.sysconf('SC_CLK_TCK')
