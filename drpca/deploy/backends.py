"""Runtimes for exported networks: each takes (B, 1, H, W) float32 images and gives (B, 1, H, W) logits.

========== =============================== ============================
backend    file                            package
========== =============================== ============================
onnx       ``model.onnx``                  onnxruntime
openvino   ``model.onnx``, ``model.xml``   openvino
tensorrt   ``model.onnx``                  onnxruntime-gpu with TensorRT
torch      ``model.pt2``                   torch (``torch.export``)
========== =============================== ============================

ONNX and OpenVINO files are data. A ``.pt2`` file is a program: ``torch.export.load`` unpickles objects in it and
evaluates its shape expressions and guards as Python, so it is opened only if the caller says that it is trusted.
"""

from __future__ import annotations

import json
import logging
import os
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch

from drpca.deploy.optimise import limit_threads
from drpca.errors import UserError, unknown_name
from drpca.options import called

RULES_KEY = 'drpca'
PADDING = -1.0
"""Value of pixels that the network sees as zeros behind its normalisation."""
SUFFIXES = ('.onnx', '.xml', '.pt2')


@dataclass(frozen=True)
class InputRules:
    """What an exported network needs of its input; stored in the file.

    Attributes:
        network: Registered name.
        multiple: H and W must be multiples of this.
        min_size: Smallest H and W.
        pad_value: Of the padding at the bottom and the right; ``PADDING`` where the network normalises.
        pad_mode: ``'constant'``, ``'edge'`` or ``'reflect'``, without the border pixel.
        inference_size: Size of the recipe the weights were trained with, None: any.
        fixed_size: The file takes images of this height and width alone, None: of any.
        radius: Pixels around one on which its logit depends, None: all of the image, or unknown.
        frames: The file takes windows of so many frames as channels, oldest first.
        reported: Frames of a window that its maps are of.
    """

    network: str
    multiple: int = 1
    min_size: int = 8
    pad_value: float = 0.0
    pad_mode: str = 'constant'
    inference_size: int | None = None
    fixed_size: int | None = None
    radius: int | None = None
    frames: int = 1
    reported: Sequence[int] = (0,)

    def as_text(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_text(cls, text: str | None, path: Path) -> InputRules:
        """Raises :class:`drpca.errors.UserError` for a file that was not exported here."""
        try:
            return cls(**json.loads(text or ''))
        except (ValueError, TypeError):
            raise UserError(f'{path} does not say what its network needs: export it with {called("export")}.') from None

    def pad(self, images: np.ndarray) -> np.ndarray:
        """(B, 1, H, W) padded at the bottom and the right.

        Raises:
            UserError: The file takes another size alone.
        """
        if self.fixed_size and images.shape[-2:] != (self.fixed_size, self.fixed_size):
            raise UserError(
                f'This {self.network} was exported for images of {self.fixed_size} x {self.fixed_size} and got '
                f'{images.shape[-2]} x {images.shape[-1]}: resize them, with size={self.fixed_size} or --size '
                f'{self.fixed_size}.'
            )
        sides = [max(side, self.min_size) for side in images.shape[-2:]]
        add = [side + -side % self.multiple - old for side, old in zip(sides, images.shape[-2:])]
        if not any(add):
            return images
        pad = [(0, 0), (0, 0), (0, add[0]), (0, add[1])]
        if self.pad_mode == 'constant':
            return np.pad(images, pad, constant_values=self.pad_value)
        return np.pad(images, pad, mode=self.pad_mode)  # type: ignore[call-overload]


class Backend(ABC):
    """A loaded file. Any number of threads may use it; a copy, also one in another process, reads the file again.

    Args:
        path: The file.
        settings: What else it was opened with.
    """

    rules: InputRules

    def __init__(self, path: Path, *settings: Any) -> None:
        self.opened_with = path.absolute(), *settings

    def __reduce__(self) -> tuple[Callable[..., Backend], tuple[Any, ...]]:
        return open_file, (type(self), *self.opened_with)

    @abstractmethod
    def run(self, images: np.ndarray) -> np.ndarray:
        """Padded (B, 1, H, W) float32 → logits of that shape, which later calls leave alone."""

    def logits(self, images: np.ndarray) -> np.ndarray:
        """(B, 1, H, W) float32 in [0, 1] → target logits (B, 1, H, W) float32; of windows (B, n, H, W) → (B, m, H, W).

        Raises:
            UserError: The file does not take such images, or gives something else.
        """
        if images.shape[1] == 1 < self.rules.frames:  # stands for equal frames, as in PyTorch
            images = np.repeat(images, self.rules.frames, axis=1)
        padded = self.rules.pad(images)
        try:
            logits = self.run(padded)
        except Exception as error:  # each runtime raises its own types
            reason = (str(error).splitlines() or [''])[0][:200]
            raise UserError(f'The exported model does not run: {reason}; export it again.') from error
        expected = (len(padded), len(self.rules.reported), *padded.shape[2:])
        if logits.shape != expected:
            raise UserError(
                f'The exported model gives {logits.shape} for images {padded.shape}: expected {expected}; export again.'
            )
        return logits[..., : images.shape[-2], : images.shape[-1]]


class OnnxBackend(Backend):
    """ONNX Runtime, on the GPU where its build and the machine have one."""

    providers: tuple[str, ...] = ('CUDAExecutionProvider', 'CPUExecutionProvider')

    def __init__(self, path: Path, threads: int | None = None) -> None:
        import onnxruntime

        super().__init__(path, threads)
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = threads or torch.get_num_threads()
        spins = os.environ.get('OMP_WAIT_POLICY', '').lower() == 'active'  # as PyTorch's threads; see drpca/__init__.py
        options.add_session_config_entry('session.intra_op.allow_spinning', str(int(spins)))
        wanted = [name for name in self.providers if name in onnxruntime.get_available_providers()]
        self.session = onnxruntime.InferenceSession(str(path), options, providers=wanted)
        self.input = self.session.get_inputs()[0].name
        self.rules = InputRules.from_text(self.session.get_modelmeta().custom_metadata_map.get(RULES_KEY), path)

    def run(self, images: np.ndarray) -> np.ndarray:
        return self.session.run(None, {self.input: images})[0]


class TensorRTBackend(OnnxBackend):
    """ONNX Runtime's TensorRT engine; the first call builds it."""

    providers = ('TensorrtExecutionProvider', *OnnxBackend.providers)


class OpenVinoBackend(Backend):
    """OpenVINO on the CPU, in float32 like PyTorch (its own default may be bfloat16)."""

    def __init__(self, path: Path, threads: int | None = None, precision: str = 'f32') -> None:
        import openvino

        super().__init__(path, threads, precision)
        core = openvino.Core()
        model = core.read_model(path)
        if path.suffix == '.onnx':
            self.rules = _onnx_rules(path)
        else:
            stored = model.get_rt_info(RULES_KEY).value if model.has_rt_info(RULES_KEY) else None
            self.rules = InputRules.from_text(stored, path)
        settings = {'INFERENCE_PRECISION_HINT': precision, 'INFERENCE_NUM_THREADS': threads or torch.get_num_threads()}
        self.model = core.compile_model(model, 'CPU', settings)
        self._requests = threading.local()

    def run(self, images: np.ndarray) -> np.ndarray:
        # Calling the model itself would use one request, and one result, for all threads.
        if not hasattr(self._requests, 'own'):
            self._requests.own = self.model.create_infer_request()
        return self._requests.own.infer(images, share_inputs=True)[0]


def _onnx_rules(path: Path) -> InputRules:
    """Input rules of an ONNX file."""
    if find_spec('onnx') is None:
        raise UserError('OpenVINO runs ONNX files with the package onnx: pip install onnx.')
    import onnx

    stored = {entry.key: entry.value for entry in onnx.load(path, load_external_data=False).metadata_props}
    return InputRules.from_text(stored.get(RULES_KEY), path)


class TorchExportBackend(Backend):
    """A ``torch.export`` program."""

    def __init__(self, path: Path, threads: int | None = None) -> None:
        super().__init__(path, threads)
        extra = {RULES_KEY: ''}
        logger = logging.getLogger('torch')
        level = logger.level
        logger.setLevel(logging.CRITICAL + 1)  # it logs the traceback of what is damaged before it raises it
        try:
            program = torch.export.load(path, extra_files=extra)
        finally:
            logger.setLevel(level)
        self.rules = InputRules.from_text(extra[RULES_KEY], path)
        self.module = program.module()

    @torch.inference_mode()
    def run(self, images: np.ndarray) -> np.ndarray:
        return self.module(torch.from_numpy(images)).numpy()


BACKENDS: dict[str, tuple[Callable[..., Backend], tuple[str, ...], tuple[str, ...]]] = {
    'onnx': (OnnxBackend, ('.onnx',), ('onnxruntime',)),
    'openvino': (OpenVinoBackend, ('.onnx', '.xml'), ('openvino',)),
    'tensorrt': (TensorRTBackend, ('.onnx',), ('onnxruntime', 'tensorrt')),
    'torch': (TorchExportBackend, ('.pt2',), ()),
}
"""Name → class, the files it reads, the packages it needs."""


def is_installed(name: str) -> bool:
    """Whether a backend's packages are there."""
    return all(find_spec(package) is not None for package in BACKENDS[name][2])


def open_backend(
    path: str | os.PathLike[str], name: str = 'auto', threads: int | None = None, trust: bool = False
) -> Backend:
    """Load an exported file.

    Args:
        path: ``.onnx``, ``.xml`` or ``.pt2``.
        name: One of ``BACKENDS``, or ``'auto'``: of those that are installed and read the file, the one that is
            fastest here on a 256² image.
        threads: Threads of the CPU; None: as many as PyTorch uses.
        trust: Open a ``.pt2`` file, which can run any code. For files of one's own.

    Raises:
        UserError: No such file, a ``.pt2`` file without ``trust``, nothing installed that reads it, or not a file of
            ours.
    """
    limit_threads()
    path = Path(path)
    if not path.is_file():
        raise UserError(f'No exported model at {path}: write one with {called("export")}.')
    if name != 'auto' and name not in BACKENDS:
        raise unknown_name('backend', name, [*BACKENDS, 'auto'])
    able = [key for key, (_, suffixes, _) in BACKENDS.items() if path.suffix in suffixes]
    if name != 'auto' and name not in able:
        raise UserError(f'{name} does not read {path.suffix} files: {path}. It reads {BACKENDS[name][1]}.')
    if path.suffix == '.pt2' and not trust:
        raise UserError(
            f'{path}: a .pt2 file can run any code when it is opened. If it is your own, say --trust (trust=True); '
            'otherwise ask for an .onnx file, which is data.'
        )
    usable = [key for key in (able if name == 'auto' else [name]) if is_installed(key)]
    if not usable:
        needed = sorted({package for key in able for package in BACKENDS[key][2]})
        raise UserError(f'{path} needs one of {", ".join(needed)}: pip install {needed[0]}.')
    backends = [open_file(BACKENDS[key][0], path, threads) for key in usable]
    return backends[0] if len(backends) == 1 else min(backends, key=_seconds)


def open_file(kind: Callable[..., Backend], path: Path, *settings: Any) -> Backend:
    """One of ``BACKENDS`` with a file and the rest of its arguments.

    Raises:
        UserError: The file is missing, damaged, or not one of ours.
    """
    try:
        return kind(path, *settings)
    except UserError:
        raise
    except Exception as error:  # each runtime raises its own types for a damaged file
        reason = (str(error).splitlines() or [''])[0][:200]
        raise UserError(f'Cannot load {path} with {kind.__name__}: {reason}') from None


def _seconds(backend: Backend) -> float:
    side = backend.rules.fixed_size or 256
    image = np.zeros((1, backend.rules.frames, side, side), np.float32)
    backend.logits(image)
    times = []
    for _ in range(3):
        started = time.perf_counter()
        backend.logits(image)
        times.append(time.perf_counter() - started)
    return min(times)
