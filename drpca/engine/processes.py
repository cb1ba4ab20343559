"""Trainings on several processes: what they agree on, what they average, and what each keeps for itself.

A process that is alone agrees with itself. What is said here about all processes has to be called by all of them.
"""

from __future__ import annotations

import gc
from collections.abc import Sequence
from typing import Any

import torch
from mmengine.dist import get_dist_info, is_distributed, is_main_process
from mmengine.hooks import EMAHook
from torch import Tensor
from torch import distributed as dist

from drpca.errors import UserError
from drpca.models.detector import bare_model

PARTS = 'processes'
"""Key of a checkpoint: what each process keeps for itself, one after another."""

_OWN = ('random_state', 'gradients', 'epoch_so_far')
_STATES = {'state_dict': '', 'ema_state_dict': 'module.'}  # state dicts of a checkpoint, and how their names begin

_of_processors: Any = None


def _group() -> Any:
    """The processes, talking without their GPUs, which therefore need not be waited for."""
    global _of_processors
    if _of_processors is None and dist.get_backend() != 'gloo':
        _of_processors = dist.new_group(backend='gloo')
    return _of_processors


def leave_processes() -> None:
    """Ends what ``--launcher`` began; called after the last training of a process."""
    global _of_processors
    if is_distributed():
        # What is left of the networks holds on to the group, whose threads end a process that just ends with them.
        gc.collect()
        dist.destroy_process_group()
        _of_processors = None


def highest(number: int) -> int:
    """The highest of all processes' numbers; it takes a tenth of a millisecond."""
    if not is_distributed():
        return int(number)
    value = torch.tensor(int(number))
    dist.all_reduce(value, dist.ReduceOp.MAX, group=_group())
    return int(value)


def told_by_all(value: Any) -> list[Any]:
    """What each process says, small and plain, in their order."""
    if not is_distributed():
        return [value]
    values = [None] * dist.get_world_size()
    dist.all_gather_object(values, value, group=_group())
    return values


def mean_over_processes(numbers: Sequence[float]) -> list[float]:
    """Each number's mean over all processes."""
    values = torch.tensor(numbers, dtype=torch.float64)
    if is_distributed():
        dist.all_reduce(values, group=_group())
        values /= dist.get_world_size()
    return values.tolist()


def equalise_buffers(runner: Any) -> None:
    """Gives all processes the mean of their running statistics, also of the averaged weights.

    Each process has seen other images: without it, validation would score each one's images by another network, and the
    file would hold the first one's.
    """
    averages = [hook.ema_model.module for hook in runner.hooks if isinstance(hook, EMAHook)]
    buffers = [b for model in (bare_model(runner.model), *averages) for b in model.buffers() if b.is_floating_point()]
    if not is_distributed() or not buffers:
        return
    together = torch.cat([buffer.flatten() for buffer in buffers])
    dist.all_reduce(together)
    together /= dist.get_world_size()
    for buffer, value in zip(buffers, together.split([buffer.numel() for buffer in buffers])):
        buffer.copy_(value.view_as(buffer))


def add_parts(checkpoint: dict[str, Any], model: torch.nn.Module) -> None:
    """Adds what every process keeps for itself to the first one's checkpoint, which gets the means of their buffers.

    These are random numbers, gradients that are being accumulated, losses of the epoch so far, and running statistics.
    """
    if not is_distributed():
        return
    names = [name for name, buffer in model.named_buffers() if buffer.is_floating_point()]
    states = {
        key: {prefix + name: checkpoint[key][prefix + name] for name in names if prefix + name in checkpoint[key]}
        for key, prefix in _STATES.items()
        if key in checkpoint
    }
    own = {key: checkpoint[key] for key in _OWN if key in checkpoint} | states
    parts: list[Any] | None = [None] * dist.get_world_size() if is_main_process() else None
    dist.gather_object(_on_processor(own), parts, group=_group())
    if parts is not None:
        checkpoint[PARTS] = parts
        for key, state in states.items():
            checkpoint[key] |= {name: torch.stack([part[key][name] for part in parts]).mean(0) for name in state}


def take_part(checkpoint: dict[str, Any]) -> dict[str, Any]:
    """A checkpoint as this process wrote it: what it kept for itself in place of the first one's.

    Raises:
        UserError: It was written by another number of processes, and not at the end of an epoch.
    """
    parts = checkpoint.pop(PARTS, None)
    rank, count = get_dist_info()
    meta = checkpoint.get('meta', {})
    if parts is None:
        return checkpoint
    if len(parts) == count:
        states = {key: {**checkpoint[key], **parts[rank].pop(key)} for key in _STATES if key in checkpoint}
        return {**checkpoint, **states, **parts[rank]}
    if meta['iter'] % meta['epoch_length'] or 'gradients' in checkpoint:
        raise UserError(
            f'The run was stopped within an epoch of {len(parts)} processes and would go on with {count}: resume it '
            'with as many, or start another with --load-from.'
        )
    return checkpoint


def _on_processor(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.detach().cpu()
    return {key: _on_processor(inner) for key, inner in value.items()} if isinstance(value, dict) else value
