"""Reading and writing of weight files: always ``weights_only``, strict, atomic."""

from __future__ import annotations

import errno
import hashlib
import os
import pickle
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from mmengine.runner.checkpoint import CheckpointLoader
from torch import Tensor, nn

from drpca.errors import UserError
from drpca.registry import MODELS, network_names

# Names under which other programs store the network inside a file or a module.
WRAPPERS = ('module.', '_orig_mod.', 'network.', 'model.', 'net.')
CONTAINERS = ('state_dict', 'model_state_dict', 'model', 'net')


def read_checkpoint(path: str | Path, map_location: Any = 'cpu') -> dict[str, Any]:
    """Read a checkpoint file without running any code in it.

    Raises:
        UserError: No such file, not a checkpoint, truncated, or it holds more than plain data.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(
            f'No checkpoint at {path}: expected a weight file (.pth, .pkl, .tar); check the path.'
        )
    try:
        content = torch.load(path, map_location=map_location, weights_only=True)
    except pickle.UnpicklingError as error:
        raise UserError(
            f'Cannot read checkpoint {path}: expected plain weights, found other objects or damage, which are '
            f'not loaded because they could run code. Save a state dict instead. ({_first_line(error)})'
        ) from None
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, AttributeError, IndexError) as error:
        raise UserError(
            f'Cannot read checkpoint {path}: not a weight file, or truncated ({_first_line(error)}).'
        ) from None
    if not isinstance(content, Mapping):
        raise UserError(f'Checkpoint {path} holds a {type(content).__name__}; expected a state dict.')
    return dict(content)


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:160] if lines else type(error).__name__


def network_state(checkpoint: Mapping[str, Any], expected: set[str]) -> dict[str, Tensor]:
    """The bare state dict inside a checkpoint.

    Takes it out of its container (``state_dict``, …) and strips wrapper prefixes (``module.``,
    ``network.``, ``_orig_mod.``, …) until the names could be the expected ones.
    """
    for key in CONTAINERS:
        if isinstance(checkpoint.get(key), Mapping):
            checkpoint = checkpoint[key]
            break
    state = {name: value for name, value in checkpoint.items() if isinstance(value, Tensor)}
    while not expected & set(state):
        prefix = next((p for p in WRAPPERS if any(name.startswith(p) for name in state)), None)
        if prefix is None:
            break
        state = {name[len(prefix) :]: value for name, value in state.items() if name.startswith(prefix)}
    return state


def load_weights(network: nn.Module, path: str | Path) -> nn.Module:
    """Load a weight file into a network, strictly.

    Takes files as the authors published them (``.pkl``, ``.pth.tar``), our checkpoints, and files whose
    names carry wrapper prefixes.

    Args:
        network: From ``MODELS.build(dict(type=…))``; changed in place.
        path: The file. Read with ``weights_only=True``: no code in it can run.

    Returns:
        The same network.

    Raises:
        UserError: The file cannot be read, or its parameters are not the network's. The message names
            missing and unexpected parameters and, where one is known, the configuration that would fit.
    """
    expected = network.state_dict()
    state = network_state(read_checkpoint(path), set(expected))
    missing = sorted(set(expected) - set(state))
    unexpected = sorted(set(state) - set(expected))
    misshapen = sorted(n for n in set(expected) & set(state) if expected[n].shape != state[n].shape)
    if missing or unexpected or misshapen:
        problems = [
            f'{len(names)} {what} ({", ".join(names[:3])}{", …" if len(names) > 3 else ""})'
            for what, names in (
                ('missing', missing),
                ('unexpected', unexpected),
                ('of another shape', misshapen),
            )
            if names
        ]
        fitting = fitting_config(state)
        advice = f'It fits {fitting}.' if fitting else 'It fits no network known here.'
        raise UserError(
            f'{path} does not hold the weights of this {type(network).__name__}: {"; ".join(problems)}. {advice}'
        )
    network.load_state_dict(state)
    return network


def _candidates(state: Mapping[str, Tensor]) -> Iterator[dict[str, Any]]:
    names = network_names()
    stages = {
        int(name.split('.')[1])
        for name in state
        if name.startswith('decos.') and name.split('.')[1].isdigit()
    }
    for name in names:
        yield {'type': name}
    for name in names if stages else []:
        yield {'type': name, 'num_stages': len(stages)}
    for name in names:
        for options in getattr(MODELS.get(name), 'published_options', ()):
            for extra in ({}, {'num_stages': len(stages)} if stages else {}):
                yield {'type': name, **options, **extra}
    for name in names:
        yield {'type': name, 'in_channels': 3}


def fitting_config(state: Mapping[str, Tensor]) -> str | None:
    """The model configuration whose parameters have exactly these names and shapes, or None."""
    shapes = {name: tuple(value.shape) for name, value in state.items()}
    for config in _candidates(state):
        try:
            with torch.device('meta'):
                network = MODELS.build(dict(config))
        except (TypeError, ValueError, NotImplementedError, RuntimeError, UserError):
            continue
        if {name: tuple(value.shape) for name, value in network.state_dict().items()} == shapes:
            return f'dict({", ".join(f"{key}={value!r}" for key, value in config.items())})'
    return None


def save_atomically(content: Mapping[str, Any], path: str | Path) -> None:
    """Write a checkpoint so that a reader finds the old file or the new one, never a part of one.

    Raises:
        UserError: The disk is full or not writable; the file that was there before is left as it was.
    """
    path = Path(path)
    partial = path.with_name(f'{path.name}.partial')
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(partial, 'wb') as file:
            torch.save(dict(content), file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except (OSError, RuntimeError) as error:
        partial.unlink(missing_ok=True)
        full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
        reason = 'the disk is full' if full or 'write' in str(error) else _first_line(error)
        raise UserError(
            f'Cannot save {path}: {reason}. What was saved before is intact; free some space and go on with --resume.'
        ) from None


def file_hash(path: str | Path) -> str:
    """SHA-256 of a file, as hexadecimal digits."""
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


@CheckpointLoader.register_scheme(prefixes='', force=True)
def _load_for_mmengine(filename: str, map_location: Any = None) -> dict[str, Any]:
    """MMEngine's own reader of local files, made to refuse code in old versions of torch too."""
    return read_checkpoint(filename, map_location)
