"""The fastest form of a network on this machine: exported once, compared with PyTorch, timed, remembered.

``$DRPCA_HOME/runtimes/NETWORK-DIGEST/`` holds what was exported of one network with its weights, and a choice for each
way it is used (size, batch, precision, threads) on each processor. The digest is of structure, weights and versions.
All of it can be removed at any time: what is missing, damaged or does not agree with PyTorch is made again.
"""

from __future__ import annotations

import hashlib
import json
import shlex
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from functools import cache, partial
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from drpca.deploy.backends import Backend
from drpca.deploy.export_model import agreement, fault, plain_logits
from drpca.deploy.kernels import compiler
from drpca.deploy.optimise import can_fuse
from drpca.deploy.processor import instructions, processor_name
from drpca.deploy.variants import VARIANTS, check_variant, export_variant, open_variant, variant_file, variant_function
from drpca.errors import DiskFull, UserError, unknown_name, warn
from drpca.fetch import cache_folder
from drpca.files import cannot_write, in_use, put_in_place, save_text
from drpca.json_file import read_json
from drpca.models.detector import DetectionModel
from drpca.options import AUTO
from drpca.version import __version__

IN_PYTORCH = 'optimised'
"""The form that a detector has unless told otherwise."""
CANDIDATES = {
    'fp32': ('optimised', 'winograd', 'plain', 'onnxruntime', 'openvino'), 'bf16': ('optimised-bf16', 'openvino-bf16'),
}  # fmt: skip
"""Forms of each precision. With bf16 those of fp32 stand by, for processors and networks that it does not suit."""
RUNTIMES = {'torch': 'PyTorch', 'onnx': 'ONNX Runtime', 'openvino': 'OpenVINO'}
"""What a network may run on: the name of the option, and its own."""
TOLERANCE = 1e-3
"""Largest difference of a float32 form's logits from PyTorch's, relative to the largest logit or 1."""
MAX_IOU_LOSS = 0.01
"""Most of the IoU with the labels of the check frames that a bf16 form may lose."""
LOOSE = 0.1
"""Likewise of a bf16 form that was compared before: enough to find a file of other weights."""
GAIN = 1.05
"""How many times as fast as PyTorch another float32 form has to be to take its place."""
ROUNDS = 3
_SIDE = 256
_CPU = torch.device('cpu')


@dataclass(frozen=True)
class Choice:
    """What was found out about a network.

    Attributes:
        variant: The form that runs, a name of ``drpca.options.VARIANTS``.
        milliseconds: Median time of an image of each form that was timed.
        refused: Why each of the others cannot be taken.
    """

    variant: str
    milliseconds: dict[str, float] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)

    @property
    def changes_maps(self) -> bool:
        """Whether maps differ, by rounding at least, from those of the form that runs where nothing is chosen."""
        return self.variant != IN_PYTORCH

    def __str__(self) -> str:
        times = ', '.join(
            f'{described(name)} {value:.0f} ms' for name, value in sorted(self.milliseconds.items(), key=lambda x: x[1])
        )
        refused = '; '.join(f'not {described(name)}: {why}' for name, why in self.refused.items())
        details = '; '.join(filter(None, (times, refused)))
        return f'runs on {described(self.variant)}{f" ({details})" * bool(details)}'


def described(variant: str) -> str:
    """``'OpenVINO bf16'``."""
    options = VARIANTS[variant]
    name = RUNTIMES[options.get('backend', 'torch')]
    name += ' with Winograd convolutions' * options.get('winograd', False)
    return f'{name}{" bf16" * (options.get("precision") == "bf16")}{" without its faster form" * (variant == "plain")}'


def candidates(backend: str, precision: str) -> list[str]:
    """Forms of a network that a runtime and a precision leave to choose from.

    Raises:
        UserError: An unknown runtime, or a precision that only a GPU has.
    """
    if backend not in (AUTO, *RUNTIMES):
        raise unknown_name('backend of a network', backend, [AUTO, *RUNTIMES])
    if precision not in CANDIDATES:
        raise UserError(f'Expected precision fp32 or bf16 with a backend, got {precision}: leave out the backend.')
    names = [*(CANDIDATES['bf16'] if precision == 'bf16' else ()), *CANDIDATES['fp32']]
    return [name for name in names if backend in (AUTO, VARIANTS[name].get('backend', 'torch'))]


class Fastest(NamedTuple):
    """The choice, and the opened file of an exported form, None for one of PyTorch's."""

    choice: Choice
    backend: Backend | None


CheckFrames = tuple[Sequence[np.ndarray], Sequence[np.ndarray]]
"""(H, W) float32 in [0, 1], and their masks, (H, W) bool."""


def fastest(
    model: DetectionModel,
    frames: CheckFrames,
    *,
    backend: str = AUTO,
    precision: str = 'fp32',
    side: int | None = None,
    batch: int = 1,
) -> Fastest:
    """Chooses the form in which a network runs fastest on this machine's CPU, and makes what that takes.

    Args:
        model: With weights; left as it is.
        frames: What every form is compared with PyTorch on.
        backend: ``'auto'``, or a name of ``RUNTIMES``: of its forms alone.
        precision: ``'fp32'``, or ``'bf16'``: also forms in bfloat16, where the processor has it and the IoU holds.
        side: Of the square images that it will get, None: of any size; 256 pixels are timed.
        batch: Images at once.

    Raises:
        UserError: As :func:`candidates`; a runtime was named that is not installed or cannot run this network, or
            nothing can be kept for it.
    """
    names = candidates(backend, precision)
    side = side or _SIDE
    folder = cache_folder() / 'runtimes' / f'{type(model.network).__name__}-{_digest_of(model)[:16]}'
    setting = {
        'candidates': names, 'side': side, 'batch': batch, 'threads': torch.get_num_threads(),
        'processor': processor_name(), 'instructions': instructions(), 'compiler': shlex.join(compiler()),
        'versions': _installed(),
    }  # fmt: skip
    path = folder / f'{hashlib.sha256(json.dumps(setting).encode()).hexdigest()[:16]}.json'
    try:
        found = _remembered(model, path, frames)
        if found is None:
            with in_use(folder, wait=True):
                found = _remembered(model, path, frames) or _choose(model, names, folder, frames, side, batch)
                save_text(path, json.dumps({**asdict(found.choice), 'setting': setting}, indent=1), overwrite=True)
    except UserError as error:
        if backend != AUTO:
            raise
        warn(f'No form of the network can be kept, so it runs in PyTorch: {error} DRPCA_HOME names the folder.')
        found = Fastest(Choice(IN_PYTORCH), None)
    return found


def _remembered(model: DetectionModel, path: Path, frames: CheckFrames) -> Fastest | None:
    """An earlier choice, if its file is whole and still computes what PyTorch does."""
    if not path.is_file():
        return None
    with suppress(UserError):  # also of a form of another version
        choice = read_json(path, Choice)
        check_variant(choice.variant, _CPU)
        if 'backend' not in VARIANTS[choice.variant]:
            return Fastest(choice, None)
        backend = open_variant(choice.variant, path.parent)
        tolerance = LOOSE if _is_bf16(choice.variant) else TOLERANCE
        if not _Check(model, (frames[0][:1], frames[1][:1])).fault(backend.logits, tolerance):
            return Fastest(choice, backend)
    return None


def _choose(
    model: DetectionModel, names: Sequence[str], folder: Path, frames: CheckFrames, side: int, batch: int
) -> Fastest:
    check = _Check(model, frames)
    opened: dict[str, Backend] = {}
    functions: dict[str, Callable[[Tensor], Tensor]] = {}
    refused: dict[str, str] = {}
    for name in names:
        try:
            check_variant(name, _CPU)
            if _is_bf16(name) and not can_fuse(torch.bfloat16):
                raise UserError('this processor has no bfloat16 instructions')
            if 'backend' in VARIANTS[name]:
                opened[name] = _export(model, name, folder, check, side)
            functions[name] = _function(model, name, opened.get(name))
            if reason := check.fault(_on_arrays(functions[name]), None if _is_bf16(name) else TOLERANCE):
                raise UserError(reason)
        except DiskFull:
            raise
        except UserError as error:
            refused[name] = str(error).rstrip('.')
            functions.pop(name, None)
    if not functions:
        raise UserError('; '.join(f'{described(name)}: {why}' for name, why in refused.items()))
    image = torch.from_numpy(np.random.default_rng(0).random((batch, 1, side, side), np.float32))
    with torch.inference_mode():
        calls = {name: partial(function, image) for name, function in functions.items()}
        times = milliseconds(calls, ROUNDS) if len(calls) > 1 else {}
    best = min(times, key=times.__getitem__) if times else next(iter(functions))
    if times.get(IN_PYTORCH, float('inf')) <= GAIN * times.get(best, 0):
        best = IN_PYTORCH
    return Fastest(Choice(best, times, refused), opened.get(best))


def _function(model: DetectionModel, name: str, backend: Backend | None) -> Callable[[Tensor], Tensor]:
    if backend is not None:
        return lambda image: torch.from_numpy(backend.logits(image.numpy()))
    return variant_function(model, name, _CPU, Path())


def _on_arrays(function: Callable[[Tensor], Tensor]) -> Callable[[np.ndarray], np.ndarray]:
    return lambda images: function(torch.from_numpy(images)).numpy()


def _is_bf16(variant: str) -> bool:
    return VARIANTS[variant].get('precision') == 'bf16'


class _Check:
    """What PyTorch's plain form makes of the check frames, to compare others with."""

    def __init__(self, model: DetectionModel, frames: CheckFrames) -> None:
        plain = plain_logits(model)
        self.images, self.labels = frames
        self._expected = [plain(image[None, None]) for image in self.images]

    def fault(self, function: Callable[[np.ndarray], np.ndarray], tolerance: float | None) -> str:
        """Why a form's logits are not good enough, '' if they are; None: the IoU decides."""
        expected = iter(self._expected)
        found = agreement(lambda _: next(expected), function, self.images, self.labels)
        return fault(found, tolerance, MAX_IOU_LOSS)


def _export(model: DetectionModel, name: str, folder: Path, check: _Check, side: int) -> Backend:
    """The runtime of a form, with the file that is there if it opens and computes what PyTorch does, else a new one.

    Raises:
        UserError: The network does not export, or the file does not open.
    """
    path = variant_file(folder, name)
    if path.is_file():
        with suppress(UserError):
            backend = open_variant(name, folder)
            if not check.fault(backend.logits, LOOSE if _is_bf16(name) else TOLERANCE):
                return backend
    with tempfile.TemporaryDirectory(dir=folder) as draft, torch.random.fork_rng(devices=[]):
        export_variant(model, name, side, Path(draft))
        try:
            put_in_place(variant_file(Path(draft), name), path)
        except OSError as error:
            raise cannot_write(path, error) from None
    return open_variant(name, folder)


def milliseconds(functions: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Median time of a call of each function, in turn, so that whatever else the machine does slows all of them.

    One that took twice as long as the fastest is left out of further rounds.

    Args:
        functions: By name; each is called once before the first round.
        rounds: At least 1.
    """
    times: dict[str, list[float]] = {name: [] for name in functions}
    for function in functions.values():
        function()
    for _ in range(rounds):
        best = min((min(values) for values in times.values() if values), default=float('inf'))
        for name, function in functions.items():
            if times[name] and min(times[name]) > 2 * best:
                continue
            started = time.perf_counter()
            function()
            times[name].append(time.perf_counter() - started)
    return {name: 1e3 * statistics.median(values) for name, values in times.items()}


def _digest_of(model: DetectionModel) -> str:
    """Of all that decides what a model computes, as far as its state tells."""
    normalisation = [model.mean.tolist(), model.std.tolist()]
    settings = [model.in_channels, model.scale_to_max, model.pad_multiple, normalisation, _installed()]
    digest = hashlib.sha256(f'{model.network!r} {settings}'.encode())
    for name, value in sorted(model.network.state_dict().items()):
        digest.update(f'{name} {value.dtype} {tuple(value.shape)}'.encode())
        digest.update(value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


@cache
def _installed() -> str:
    """Versions of what makes and runs a form."""
    found = [f'drpca {__version__}']
    for package in ('torch', 'onnx', 'onnxruntime', 'openvino'):
        with suppress(metadata.PackageNotFoundError):
            found.append(f'{package} {metadata.version(package)}')
    return ', '.join(found)
