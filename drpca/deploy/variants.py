"""The forms of a network that ``tools/benchmark.py`` measures."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from drpca.deploy.backends import BACKENDS, Backend, is_installed, open_file
from drpca.deploy.export_model import input_rules, write_model
from drpca.deploy.kernels import library
from drpca.deploy.optimise import optimise_model
from drpca.errors import UserError, unknown_name
from drpca.models.detector import DetectionModel
from drpca.models.layers import arrange
from drpca.options import BASELINE, EXPORT_FORMATS

VARIANTS: dict[str, dict[str, Any]] = {
    BASELINE: {},
    'channels_last': {'channels_last': True},
    'plain': {'optimise': False},
    'optimised': {'optimise': True},
    'winograd': {'optimise': True, 'winograd': True},
    'optimised-bf16': {'optimise': True, 'precision': 'bf16'},
    'optimised-fp16': {'optimise': True, 'precision': 'fp16'},
    'compile': {'optimise': True, 'compile': True},
    'compile-bf16': {'optimise': True, 'compile': True, 'precision': 'bf16'},
    'cuda-graph': {'optimise': True, 'cuda_graph': True},
    'cuda-graph-bf16': {'optimise': True, 'cuda_graph': True, 'precision': 'bf16'},
    'cuda-graph-fp16': {'optimise': True, 'cuda_graph': True, 'precision': 'fp16'},
    'onnxruntime': {'backend': 'onnx'},
    'onnxruntime-int8': {'backend': 'onnx', 'int8': True},
    'openvino': {'backend': 'openvino'},
    'openvino-bf16': {'backend': 'openvino', 'precision': 'bf16'},
    'openvino-int8': {'backend': 'openvino', 'int8': True},
    'tensorrt': {'backend': 'tensorrt'},
    'torch-export': {'backend': 'torch'},
}
CALIBRATION = 4
FORMS = (
    BASELINE, 'optimised', 'winograd', 'optimised-bf16', 'onnxruntime', 'onnxruntime-int8', 'openvino', 'openvino-bf16',
    'openvino-int8', 'torch-export',
)  # fmt: skip
"""Every runtime and precision of a CPU once."""


def default_variants(device: str) -> list[str]:
    """The optimised forms, CUDA graphs on a GPU, and what is installed of the exported ones."""
    on_gpu = device.startswith('cuda')
    torch_forms = ['optimised', 'optimised-bf16'] + (['cuda-graph', 'cuda-graph-bf16'] if on_gpu else [])
    exported = ['onnxruntime', 'tensorrt'] if on_gpu else ['onnxruntime', 'openvino', 'openvino-bf16']
    writable = find_spec('onnx') is not None
    return torch_forms + [name for name in exported if writable and is_installed(VARIANTS[name]['backend'])]


def check_variant(name: str, device: torch.device) -> None:
    """Raises :class:`drpca.errors.UserError` for an unknown name, or a variant that does not run here."""
    if name not in VARIANTS:
        raise unknown_name('variant', name, list(VARIANTS))
    backend = VARIANTS[name].get('backend')
    if backend and not is_installed(backend):
        needed = BACKENDS[backend][2]
        raise UserError(f'Variant {name} needs {", ".join(needed)}: pip install {" ".join(needed)}.')
    if VARIANTS[name].get('cuda_graph') and device.type != 'cuda':
        raise UserError(f'Variant {name} needs an NVIDIA GPU: give --device cuda.')
    if VARIANTS[name].get('winograd'):
        if device.type != 'cpu':
            raise UserError(f'Variant {name} runs on a CPU: give --device cpu.')
        library()


def variant_file(folder: Path, variant: str) -> Path:
    """Where a variant's exported network lies."""
    options = VARIANTS[variant]
    suffix = EXPORT_FORMATS['torch' if options['backend'] == 'torch' else 'onnx']
    return folder / f'{"int8" if options.get("int8") else "float32"}{suffix}'


def export_variant(
    model: DetectionModel, variant: str, size: int, folder: Path, calibration: Sequence[np.ndarray] | None = None
) -> None:
    """Write the file that a variant runs, unless an earlier one has.

    Args:
        model: With weights.
        variant: An exported one.
        size: Side of the random images that INT8 is calibrated on, where there are no others.
        folder: For the file.
        calibration: (H, W) float32 in [0, 1], or windows (n, H, W).

    Raises:
        UserError: As :func:`drpca.deploy.export_model.write_model`.
    """
    path = variant_file(folder, variant)
    if path.exists():
        return
    calibration = calibration or [image.numpy() for image in torch.rand(CALIBRATION, model.network.frames, size, size)]
    int8 = VARIANTS[variant].get('int8', False)
    format = 'torch' if path.suffix == EXPORT_FORMATS['torch'] else 'onnx'
    write_model(model, path, format, input_rules(model), calibration=calibration if int8 else None)


def open_variant(variant: str, folder: Path) -> Backend:
    """The runtime of an exported variant.

    Raises:
        UserError: Its file is missing or damaged.
    """
    options = VARIANTS[variant]
    extra = [options['precision']] if 'precision' in options else []
    return open_file(BACKENDS[options['backend']][0], variant_file(folder, variant), torch.get_num_threads(), *extra)


def variant_function(
    model: DetectionModel, variant: str, device: torch.device, folder: Path
) -> Callable[[Tensor], Tensor]:
    """Image → target logits, in the form that a variant names."""
    options = dict(VARIANTS[variant])
    if 'backend' in options:
        backend = open_variant(variant, folder)
        return lambda image: torch.from_numpy(backend.logits(image.cpu().numpy()))
    if options.pop('channels_last', False):
        plain = optimise_model(model, device, optimise=False)
        plain.memory_format = torch.channels_last
        arrange(plain.network, torch.channels_last)
        return plain.detect
    if options:
        return optimise_model(model, device, **options).detect
    plain = copy.deepcopy(model).eval().to(device)
    return lambda image: plain.outputs(image)['target']
