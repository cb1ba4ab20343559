"""Exporting a network to ONNX, OpenVINO or a ``torch.export`` program, checked against PyTorch before it is kept.

The exported function takes (B, 1, H, W) float32 images in [0, 1] of any batch, height and width that the network
takes, and gives the target logits. Normalisation and BatchNorm are inside, padding to the network's multiples is
done by whoever runs it (:class:`drpca.inference.backends.InputRules`, stored in the file).
"""

from __future__ import annotations

import copy
import math
import os
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from drpca.errors import UserError, unknown_name
from drpca.inference.backends import RULES_KEY, InputRules, open_backend
from drpca.inference.optimise import fold_batch_norm
from drpca.models.comparator_layers import unused_parameter_names
from drpca.models.detector import DetectionModel
from drpca.models.lrrnet import LRRNet

FORMATS = {'onnx': '.onnx', 'openvino': '.xml', 'torch': '.pt2'}
PACKAGES = {
    'onnx': ('onnx', 'onnxscript', 'onnxruntime'),
    'openvino': ('onnx', 'onnxscript', 'openvino'),
    'torch': (),
}
OPSET = 18


@dataclass(frozen=True)
class Agreement:
    """How an exported file compares with PyTorch on some images.

    Attributes:
        images: Number of images.
        max_error: Largest difference of the logits.
        max_logit: Largest magnitude of PyTorch's logits.
        iou: Pooled IoU of the two masks at 0.5; 1 if both are empty.
        iou_change: Pooled IoU with the labels, exported minus PyTorch, or None without labels.
    """

    images: int
    max_error: float
    max_logit: float
    iou: float
    iou_change: float | None


class TargetLogits(nn.Module):
    """A model as the function that is exported: padded image → target logits."""

    def __init__(self, model: DetectionModel) -> None:
        super().__init__()
        self.network: Any = model.network
        self.channels = model.in_channels
        self.normalises = model.normalises
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer('mean', model.mean.detach().clone())
        self.register_buffer('std', model.std.detach().clone())

    def forward(self, image: Tensor) -> Tensor:
        if self.normalises:
            image = (image - self.mean) / self.std
        if image.shape[1] != self.channels:
            image = image.expand(-1, self.channels, -1, -1)
        if hasattr(self.network, 'detect'):
            return self.network.detect(image)
        return self.network(image)[self.network.outputs.index('target')]


def exportable(model: DetectionModel, trim: bool = False) -> TargetLogits:
    """A copy of a model with BatchNorm folded in.

    Args:
        model: With weights.
        trim: Drop parameters that the network never uses.
    """
    function = TargetLogits(copy.deepcopy(model).cpu().float().eval()).eval().requires_grad_(False)
    function.network.to(memory_format=torch.contiguous_format)
    if trim:
        for name in unused_parameter_names(function.network):
            owner, _, leaf = name.rpartition('.')
            module = function.network.get_submodule(owner)
            store = module._parameters if leaf in module._parameters else module._buffers
            store[leaf] = None
    fold_batch_norm(function.network)
    return function


def input_rules(model: DetectionModel, inference_size: int | None = None) -> InputRules:
    """What the exported file will say about its input."""
    if model.scale_to_max:
        raise UserError('A model with scale_to_max cannot be exported: scale the images beforehand.')
    reflects = isinstance(
        model.network, LRRNet
    )  # it pads by reflection itself, which an export cannot leave open
    multiple = model.network.stride if reflects else math.lcm(model.network.size_multiple, model.pad_multiple)
    return InputRules(
        network=type(model.network).__name__,
        multiple=multiple,
        min_size=-(-max(model.network.min_size, multiple) // multiple) * multiple,
        pad_value=float(model.mean.mean()),
        pad_mode='reflect' if reflects else 'constant',
        inference_size=inference_size,
    )


def export_model(
    model: DetectionModel,
    path: str | Path,
    format: str = 'onnx',
    *,
    images: Sequence[np.ndarray],
    labels: Sequence[np.ndarray] | None = None,
    inference_size: int | None = None,
    trim: bool = False,
    tolerance: float = 1e-3,
    overwrite: bool = False,
) -> Agreement:
    """Export a model, compare the file with PyTorch on images, and keep it only if they agree.

    Args:
        model: With weights.
        path: File to write; OpenVINO also writes a ``.bin`` beside it.
        format: One of ``FORMATS``.
        images: (H, W) float32 in [0, 1], of different sizes to exercise what is dynamic.
        labels: Their masks, (H, W) bool, for the IoU.
        inference_size: Stored for whoever runs the file.
        trim: Drop parameters that the network never uses.
        tolerance: Largest difference of the logits, relative to the largest logit or 1.
        overwrite: Replace a file.

    Raises:
        UserError: Unknown format, missing packages, the file exists, no images, or it does not agree.
    """
    path = Path(path)
    if format not in FORMATS:
        raise unknown_name('format', format, list(FORMATS))
    if path.suffix != FORMATS[format]:
        raise UserError(f'{path}: expected a name that ends in {FORMATS[format]} for format {format}.')
    missing = [package for package in PACKAGES[format] if find_spec(package) is None]
    if missing:
        raise UserError(f"Format {format} needs {', '.join(missing)}: pip install 'drpca[export]'.")
    if path.exists() and not overwrite:
        raise UserError(f'{path} exists: choose another name or replace it with --overwrite.')
    if not images:
        raise UserError('No images to check the exported file with.')
    rules = input_rules(model, inference_size)
    function = exportable(model, trim)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        draft = Path(folder) / path.name
        _WRITERS[format](function, draft, rules)
        agreement = compare(model, draft, images, labels, format)
        if not agreement.max_error <= tolerance * max(1, agreement.max_logit):
            raise UserError(
                f'{path} was not written: its logits differ from PyTorch by up to {agreement.max_error:.2g} '
                f'(allowed: {tolerance:g} of {max(1, agreement.max_logit):.3g}).'
            )
        for file in Path(folder).iterdir():
            if file.stem == path.stem:
                os.replace(file, path.parent / file.name)
    return agreement


def _program(function: TargetLogits, rules: InputRules) -> Any:
    """The function traced by ``torch.export`` with free batch, height and width."""
    side = -(-max(64, rules.min_size) // rules.multiple) * rules.multiple
    example = torch.rand(2, 1, side, side + rules.multiple * 8)
    free = {
        0: torch.export.Dim('batch', min=1, max=4096),
        2: rules.multiple * torch.export.Dim('rows', min=1, max=16384 // rules.multiple),
        3: rules.multiple * torch.export.Dim('columns', min=1, max=16384 // rules.multiple),
    }
    if rules.multiple == 1:
        free[2] = torch.export.Dim('rows', min=rules.min_size, max=16384)
        free[3] = torch.export.Dim('columns', min=rules.min_size, max=16384)
    with torch.no_grad():
        return torch.export.export(function, (example,), dynamic_shapes=({**free},))


def _write_onnx(function: TargetLogits, path: Path, rules: InputRules) -> None:
    import onnx

    side = -(-max(64, rules.min_size) // rules.multiple) * rules.multiple
    example = torch.rand(2, 1, side, side + 8 * rules.multiple)
    axes = {0: 'batch', 2: 'height', 3: 'width'}
    with torch.no_grad():
        torch.onnx.export(
            function,
            (example,),
            str(path),
            input_names=['image'],
            output_names=['logits'],
            opset_version=OPSET,
            dynamic_axes={'image': axes, 'logits': axes},
            dynamo=False,
        )
    model = onnx.load(path)
    entry = model.metadata_props.add()
    entry.key, entry.value = RULES_KEY, rules.as_text()
    onnx.checker.check_model(model)
    onnx.save(model, path)


def _write_openvino(function: TargetLogits, path: Path, rules: InputRules) -> None:
    import openvino

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / 'model.onnx'
        _write_onnx(function, file, rules)
        model = openvino.convert_model(file)
        model.set_rt_info(rules.as_text(), RULES_KEY)
        openvino.save_model(model, path, compress_to_fp16=False)


def _write_program(function: TargetLogits, path: Path, rules: InputRules) -> None:
    torch.export.save(_program(function, rules), path, extra_files={RULES_KEY: rules.as_text()})


_WRITERS: dict[str, Callable[[TargetLogits, Path, InputRules], None]] = {
    'onnx': _write_onnx,
    'openvino': _write_openvino,
    'torch': _write_program,
}


@torch.inference_mode()
def compare(
    model: DetectionModel,
    path: Path,
    images: Iterable[np.ndarray],
    labels: Sequence[np.ndarray] | None = None,
    backend: str = 'auto',
) -> Agreement:
    """Run a file and PyTorch on the same images.

    Args:
        model: With weights, as trained.
        path: Exported file.
        images: (H, W) float32 in [0, 1].
        labels: Their masks, or None.
        backend: See :func:`drpca.inference.backends.open_backend`.
    """
    session = open_backend(path, backend)
    model = copy.deepcopy(model).eval().cpu()
    count, errors, largest = 0, 0.0, 0.0
    both = either = 0
    with_label = np.zeros((2, 2), np.int64)  # (PyTorch, file) × (intersection, union)
    for index, image in enumerate(images):
        batch = np.ascontiguousarray(image, np.float32)[None, None]
        expected = model.detect(torch.from_numpy(batch)).numpy()
        got = session.logits(batch)
        difference = np.abs(got - expected)
        errors = max(errors, float(difference.max())) if np.isfinite(difference).all() else float('inf')
        largest = max(largest, float(np.abs(expected).max()))
        masks = expected[0, 0] > 0, got[0, 0] > 0
        both += int((masks[0] & masks[1]).sum())
        either += int((masks[0] | masks[1]).sum())
        if labels is not None:
            for row, mask in zip(with_label, masks):
                row += (mask & labels[index]).sum(), (mask | labels[index]).sum()
        count += 1
    change = None
    if labels is not None:
        before, after = with_label[:, 0] / np.maximum(with_label[:, 1], 1)
        change = float(after - before)
    return Agreement(count, errors, largest, both / either if either else 1.0, change)
