"""Reading and writing of weight files: always ``weights_only``, strict, atomic."""

from __future__ import annotations

import hashlib
import pickle
import re
import warnings
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import torch
from mmengine.runner.checkpoint import CheckpointLoader
from torch import Tensor, nn

from drpca.errors import UserError
from drpca.files import save
from drpca.registry import MODELS, network_names

# Names under which other programs store the network inside a file or a module.
WRAPPERS = ('module.', '_orig_mod.', 'network.', 'model.', 'net.')
TENSORS = '.safetensors'
CONTAINERS = ('state_dict', 'model_state_dict', 'model', 'net')


def read_checkpoint(path: str | Path, map_location: Any = 'cpu') -> dict[str, Any]:
    """Read a checkpoint file without running any code in it; what ``.safetensors`` say of themselves is ``meta``.

    Raises:
        UserError: No such file, not a checkpoint, truncated, or it holds more than plain data.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(
            f'No checkpoint at {path}: expected a weight file (.pth, .pkl, .tar, .safetensors); check the path.'
        )
    if path.suffix == TENSORS:
        return _read_tensors(path, map_location)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')  # of TorchScript archives and the like, which are refused
            content = torch.load(path, map_location=map_location, weights_only=True)
    except pickle.UnpicklingError as error:
        raise UserError(
            f'Cannot read checkpoint {path}: expected plain weights, found other objects or damage, which are '
            f'not loaded because they could run code. Save a state dict instead. ({_first_line(error)})'
        ) from None
    except Exception as error:  # the reader states no set of exceptions for damaged files
        raise UserError(
            f'Cannot read checkpoint {path}: not a weight file, or truncated ({_first_line(error)}).'
        ) from None
    if not isinstance(content, Mapping):
        raise UserError(f'Checkpoint {path} holds a {type(content).__name__}; expected a state dict.')
    return dict(content)


def _read_tensors(path: Path, device: Any) -> dict[str, Any]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework='pt', device=str(device)) as file:
            return {
                'state_dict': {name: file.get_tensor(name) for name in file.keys()},  # noqa: SIM118
                'meta': file.metadata() or {},
            }
    except (SafetensorError, OSError, ValueError, RuntimeError) as error:
        raise UserError(
            f'Cannot read checkpoint {path}: not a .safetensors file, or truncated ({_first_line(error)}).'
        ) from None


def tensor_bytes(state: Mapping[str, Tensor], described: Mapping[str, str]) -> bytes:
    """Weights as the content of a ``.safetensors`` file, with a text for each thing that is said about them."""
    from safetensors.torch import save

    return save({name: value.contiguous() for name, value in state.items()}, dict(described))


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
    state = {
        name: value
        for name, value in checkpoint.items()
        if isinstance(name, str) and isinstance(value, Tensor) and not value.is_nested
    }
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
        UserError: The file cannot be read; its parameters are not the network's (the message names missing and
            unexpected ones and, where one is known, the configuration that would fit); or they are no finite
            numbers of the network's kind.
    """
    expected = network.state_dict()
    state = network_state(read_checkpoint(path), set(expected))
    for name in expected.keys() & state.keys():
        fault = _fault(state[name], expected[name])
        if fault:
            raise UserError(f'{path} cannot be used: {name} {fault}; save the weights again as dense finite numbers.')
    missing = sorted(set(expected) - set(state))
    unexpected = sorted(set(state) - set(expected))
    misshapen = sorted(n for n in set(expected) & set(state) if expected[n].shape != state[n].shape)
    if missing or unexpected or misshapen:
        problems = [
            f'{len(names)} {what} ({", ".join(names[:3])}{", …" if len(names) > 3 else ""})'
            for what, names in (('missing', missing), ('unexpected', unexpected), ('of another shape', misshapen))
            if names
        ]
        fitting = fitting_config(state)
        advice = f'It fits {fitting}.' if fitting else 'It fits no network known here.'
        raise UserError(
            f'{path} does not hold the weights of this {type(network).__name__}: {"; ".join(problems)}. {advice}'
        )
    network.load_state_dict(state)
    return network


def _fault(value: Tensor, expected: Tensor) -> str:
    """Why a tensor out of a file cannot take the place of one of a network, '' if it can."""
    if value.is_quantized or value.is_meta or value.layout != torch.strided:
        return 'is no dense tensor'
    kinds = [
        'float' if tensor.is_floating_point() else 'complex' if tensor.is_complex() else
        'bool' if tensor.dtype == torch.bool else 'int'
        for tensor in (value, expected)
    ]  # fmt: skip
    if kinds[0] != kinds[1]:
        return f'is {value.dtype}, expected {expected.dtype}'
    return '' if kinds[0] != 'float' or value.float().isfinite().all() else 'holds NaN or infinity'


def read_training_state(path: str | Path) -> dict[str, Any]:
    """Read a checkpoint from which a training can go on exactly.

    Raises:
        UserError: As :func:`read_checkpoint`; or it lacks a part.
    """
    content = read_checkpoint(path)
    meta = content.get('meta')
    kinds = {'state_dict': Mapping, 'optimizer': Mapping, 'param_schedulers': list, 'random_state': Mapping}
    missing = [name for name, kind in kinds.items() if not isinstance(content.get(name), kind)]
    missing += [name for name in ('cfg', 'epoch', 'iter') if not isinstance(meta, Mapping) or name not in meta]
    if missing:
        raise UserError(
            f'{path} holds less than a training needs to go on (no {", ".join(missing)}): put back the last.pth of '
            'that run, or begin another from these weights with --load-from and another --work-dir.'
        )
    return content


def _could_be(name: str, parts: set[str]) -> bool:
    """Whether a registered network may have parts of these names, as far as its source tells."""
    module = MODELS.files.get(name)
    if module is None:  # of a user, registered and so imported
        return True
    words, stems = _part_names(module)
    return all(part in words or part.startswith(stems) for part in parts)


@cache
def _part_names(module: str) -> tuple[frozenset[str], tuple[str, ...]]:
    """What a file, with those that it imports, may call the parts of a network: names, and beginnings of names."""
    file = Path(__file__).parents[1].joinpath(*module.split('.')).with_suffix('.py')
    text = file.read_text(encoding='utf-8')
    words = {*re.findall(r'self\.(\w+)', text), *re.findall(r"""['"](\w+)['"]""", text)}
    stems = {*re.findall(r"""['"](\w+)\{""", text)}
    for other in re.findall(r'^from \.(\w+) import', text, re.MULTILINE):
        more = _part_names(f'{module.rpartition(".")[0]}.{other}')
        words |= more[0]
        stems |= {*more[1]}
    return frozenset(words), tuple(stems)


def _variants(name: str, stages: int) -> Iterator[dict[str, Any]]:
    """Options of a network that its published weights, or runs of ours, may have been made with."""
    yield {}
    counts = [{}, {'num_stages': stages}] if stages else [{}]
    for options in ({}, *getattr(MODELS.get(name), 'published_options', ())):
        yield from ({**options, **count} for count in counts if options or count)
    yield {'in_channels': 3}


def fitting_config(state: Mapping[str, Tensor]) -> str | None:
    """The model configuration whose parameters have exactly these names and shapes, or None."""
    shapes = {name: tuple(value.shape) for name, value in state.items()}
    parts = {part for name in state for part in name.split('.')[:-1] if not part.isdigit()}
    stages = len({name.split('.')[1] for name in state if name.startswith('decos.')})
    for name in network_names(lambda name: _could_be(name, parts)):
        for options in _variants(name, stages):
            config = {'type': name, **options}
            try:
                with torch.device('meta'):
                    built = MODELS.build(dict(config)).state_dict()
            except (TypeError, ValueError, NotImplementedError, RuntimeError, UserError):
                continue
            if {key: tuple(value.shape) for key, value in built.items()} == shapes:
                return f'dict({", ".join(f"{key}={value!r}" for key, value in config.items())})'
            if {re.sub(r'\d+', '', key) for key in built} != {re.sub(r'\d+', '', key) for key in shapes}:
                break  # options change numbers and shapes
    return None


def save_checkpoint(content: Mapping[str, Any], path: str | Path) -> None:
    """Writes a checkpoint, in place of one that is there, as :func:`drpca.files.save` does.

    Raises:
        UserError: The disk is full or not writable; the file that was there before is left as it was.
    """

    def write(draft: Path) -> None:
        with open(draft, 'wb') as file:
            try:
                torch.save(dict(content), file)
            except RuntimeError as error:  # what torch makes of a file that cannot be written to its end
                raise error.__context__ if isinstance(error.__context__, OSError) else error from None

    save(path, write, overwrite=True)


def file_hash(path: str | Path) -> str:
    """SHA-256 of a file, as hexadecimal digits."""
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


@CheckpointLoader.register_scheme(prefixes='', force=True)
def _load_for_mmengine(filename: str, map_location: Any = None) -> dict[str, Any]:
    """MMEngine's own reader of local files, made to refuse code in old versions of torch too."""
    return read_checkpoint(filename, map_location)
