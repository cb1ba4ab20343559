"""What can go wrong while a run trains, as one line that says what happened and what to do."""

from __future__ import annotations

import gc
import re
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.utils.data import default_collate

from drpca.errors import UserError, is_full
from drpca.models.detector import bare_model

DIVERGED_ADVICE = (
    'The last checkpoint is from before. Go on from it with --resume and clipped gradients (--clip-grad 1) or a lower '
    'learning rate (--cfg-options optim_wrapper.optimizer.lr=…).'
)


class TrainingFailed(Exception):
    """A run could not go on; what it saved before is intact."""


class TrainingDiverged(TrainingFailed):
    """The loss became NaN or infinite."""


def describe(error: Exception) -> str | None:
    """The cause and the remedy of a fault of data, disk or loader processes; None for any other error."""
    text = ' '.join(str(error).split())
    if isinstance(error, UserError):
        # A loader process sends its error with the whole traceback.
        return text.rpartition('UserError: ')[2] if 'in DataLoader worker' in text else text
    if isinstance(error, OSError) and is_full(error):
        return f'The disk is full ({error.filename or "no file named"}): free some space.'
    died = re.search(r'DataLoader worker \(pid\S* [\d, ]+\) (exited unexpectedly|is killed by signal: [\w ]+)', text)
    if died:
        memory = ' (often for want of shared memory: raise the limit of /dev/shm)' if 'Bus' in text else ''
        return (
            f'A loader process died: it {died[1].strip()}{memory}. Usually the memory was full: use fewer processes '
            'with --workers N, or none with --workers 0.'
        )
    if re.search('Connection (closed|reset) by peer', text):
        return 'Another process of this training has ended; it says why.'
    return None


def explain_out_of_memory(runner: Any) -> str:
    """What does not fit, and what does: found by trying one step with less, without changing the model.

    Call it outside the ``except`` block: the exception holds on to the tensors of the step that failed.
    """
    model = bare_model(runner.model)
    device = next(model.parameters()).device
    where = torch.cuda.get_device_name(device) if device.type == 'cuda' else device.type
    if not model.training:
        return (
            f'A batch of validation or test images does not fit in the memory of {where}: '
            '--cfg-options val_dataloader.batch_size=1 test_dataloader.batch_size=1.'
        )
    batch = runner.train_dataloader.batch_size
    height, width = runner.train_dataloader.dataset[0]['image'].shape[-2:]
    text = f'Batch {batch} of {height} × {width} does not fit in the memory of {where}'

    def fits(size: int) -> bool:
        return step_fits(runner, model, size)

    network = model.network
    least = getattr(network, 'min_train_batch', 1)
    smaller = _largest(fits, batch // 2, least)
    if smaller is None:
        text += ', and no smaller one does: choose a smaller size'
    else:
        accumulate = -(-batch // smaller) * runner.optim_wrapper._accumulative_counts
        norms = any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in model.modules())
        same = f'the same gradient, but BatchNorm sees {smaller} images' if norms else 'the same gradient'
        text += f'; {smaller} fits: --batch-size {smaller} --accumulate {accumulate} ({same})'
    if not can_checkpoint(network) or network.checkpoint_stages:
        return f'{text}.'
    network.checkpoint_stages = True
    possible = _largest(fits, batch, least)
    network.checkpoint_stages = False
    if possible is None:
        return f'{text}.'
    return (
        f'{text}. With --checkpoint-stages, {possible} fits'
        f'{"" if possible == batch else f" (--batch-size {possible})"}: far less memory, a third more time.'
    )


def can_checkpoint(network: nn.Module) -> bool:
    """Whether the stages of a network can be run again in the backward pass instead of being kept.

    A compiled network plans its memory itself.
    """
    return getattr(network, 'can_checkpoint_stages', False) and network._compiled_call_impl is None


def _largest(fits: Callable[[int], bool], batch: int, least: int) -> int | None:
    """The first of batch, batch/2, batch/4, …, not below the least that a network trains on, that fits."""
    while batch >= max(least, 1):
        if fits(batch):
            return batch
        batch //= 2
    return None


def step_fits(runner: Any, model: Any, size: int) -> bool:
    """Whether forward and backward of so many images fit; gradients are dropped and statistics put back."""
    _release(model)
    dataset = runner.train_dataloader.dataset
    buffers = [(buffer, buffer.clone()) for buffer in model.buffers()]
    try:
        data = model.data_preprocessor(default_collate([dataset[i % len(dataset)] for i in range(size)]), True)
        with runner.optim_wrapper.optim_context(model):
            loss, _ = model.parse_losses(model(**data, mode='loss'))
        loss.backward()
        return True
    except torch.cuda.OutOfMemoryError:
        return False
    finally:
        for buffer, value in buffers:
            buffer.copy_(value)
        _release(model)


def _release(model: nn.Module) -> None:
    model.zero_grad(set_to_none=True)
    if torch.cuda.is_available():
        gc.collect()
        torch.cuda.empty_cache()
