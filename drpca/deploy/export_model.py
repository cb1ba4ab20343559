"""Exporting a network to ONNX, OpenVINO or a ``torch.export`` program, checked against PyTorch before it is kept.

The exported function takes (B, 1, H, W) float32 images in [0, 1] of any batch, height and width that the network
takes, or of one size if asked for, and gives the target logits. Normalisation and BatchNorm are inside, padding to
the network's multiples is done by whoever runs it (:class:`drpca.deploy.backends.InputRules`, stored in the file).
"""

from __future__ import annotations

import contextlib
import copy
import errno
import inspect
import math
import os
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch

from drpca.deploy.backends import PADDING, RULES_KEY, InputRules, open_backend
from drpca.deploy.exportable import TargetLogits, exportable, plain_attention
from drpca.deploy.file_notes import INPUT, OUTPUT, needs_padding, notes, sides
from drpca.deploy.quantise import quantise_onnx
from drpca.errors import UserError, counted, unknown_name
from drpca.files import cannot_write, is_full, make_folder, put_in_place, refuse_present
from drpca.models.detector import DetectionModel, receptive_radius
from drpca.options import EXPORT_FORMATS

PACKAGES = {'onnx': ('onnx', 'onnxruntime'), 'openvino': ('onnx', 'openvino'), 'torch': ()}
OPSET = 20
INT8_FORMATS = ('onnx', 'openvino')
ROUNDINGS = 3
"""Times that an input is rounded otherwise, to see what that does."""


@dataclass(frozen=True)
class Agreement:
    """How an exported file compares with PyTorch on some images.

    Attributes:
        images: Number of images.
        max_error: Largest difference of the logits.
        max_logit: Largest magnitude of PyTorch's logits.
        iou: Pooled IoU of the two masks at 0.5; 1 if both are empty.
        iou_pytorch: Pooled IoU of PyTorch's masks with the labels, None without labels.
        iou_file: Likewise of the file's.
        rounding: What rounding alone changes of PyTorch's logits (:func:`beyond_rounding`), where the tolerance was
            exceeded.
    """

    images: int
    max_error: float
    max_logit: float
    iou: float
    iou_pytorch: float | None = None
    iou_file: float | None = None
    rounding: float | None = None

    @property
    def iou_loss(self) -> float:
        """IoU with the labels that the file loses; without labels 1 − IoU of the two masks, which is no less."""
        if self.iou_pytorch is None or self.iou_file is None:
            return 1 - self.iou
        return self.iou_pytorch - self.iou_file


def input_rules(model: DetectionModel, inference_size: int | None = None, fixed_size: int | None = None) -> InputRules:
    """What the exported file will say about its input.

    Raises:
        UserError: The network does not take the fixed size.
    """
    network = model.network
    reflects = network.reflect_multiple > 1  # inside the network, which an export cannot leave open
    multiple = network.reflect_multiple if reflects else math.lcm(network.size_multiple, model.pad_multiple)
    min_size = -(-max(network.min_size, multiple) // multiple) * multiple
    if fixed_size and (fixed_size < min_size or fixed_size % multiple):
        raise UserError(
            f'{type(network).__name__} takes sizes from {min_size} that are multiples of {multiple}, got {fixed_size}.'
        )
    return InputRules(
        network=type(network).__name__,
        multiple=multiple,
        min_size=min_size,
        pad_value=PADDING if model.normalises else 0.0,
        pad_mode='reflect' if reflects else 'edge' if network.pad_mode == 'replicate' else 'constant',
        inference_size=inference_size,
        fixed_size=fixed_size,
        radius=receptive_radius(model),
        frames=network.frames,
        reported=tuple(network.reported),
    )


def export_model(
    model: DetectionModel,
    path: str | Path,
    format: str = 'onnx',
    *,
    images: Sequence[np.ndarray],
    labels: Sequence[np.ndarray] | None = None,
    inference_size: int | None = None,
    fixed_size: int | None = None,
    trim: bool = False,
    tolerance: float = 1e-3,
    calibration: Sequence[np.ndarray] | None = None,
    max_iou_loss: float = 0.01,
    overwrite: bool = False,
    made_from: Mapping[str, str] | None = None,
) -> Agreement:
    """Export a model, compare the file with PyTorch on images, and keep it only if they agree.

    Args:
        model: With weights.
        path: File to write; OpenVINO also writes a ``.bin`` beside it.
        format: One of ``EXPORT_FORMATS``.
        images: (H, W) float32 in [0, 1], or windows (n, H, W), of different sizes to exercise what is dynamic.
        labels: Their masks, (H, W) bool, for the IoU.
        inference_size: Stored for whoever runs the file.
        fixed_size: Height and width of the only images that the file will take; None leaves them open.
        trim: Drop parameters that the network never uses.
        tolerance: Largest difference of the logits, relative to the largest logit or 1; where rounding alone does more,
            twice that (:func:`beyond_rounding`).
        calibration: Images like those that the file will see, to write INT8 (:mod:`drpca.deploy.quantise`).
        max_iou_loss: What decides about an INT8 file instead of the tolerance: see :attr:`Agreement.iou_loss`.
        overwrite: Replace a file.
        made_from: What the file says of its origin; see :func:`drpca.deploy.file_notes.notes`.

    Raises:
        UserError: Unknown format, missing packages, the file exists, no images, a format or size that the network
            does not export to, or a file that does not agree.
    """
    path = Path(path)
    refuse_present([path], overwrite)
    if not images:
        raise UserError('No images to check the exported file with.')
    rules = input_rules(model, inference_size, fixed_size)
    make_folder(path.parent)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        draft = Path(folder) / path.name
        write_model(model, draft, format, rules, trim, calibration, made_from)
        expected, got = plain_logits(model), open_backend(draft, format, trust=True).logits  # written just now
        found = agreement(expected, got, images, labels)
        reason = fault(found, None if calibration is not None else tolerance, max_iou_loss)
        if reason and calibration is None and math.isfinite(found.max_error):
            rounding, reason = beyond_rounding(expected, got, images, tolerance * max(1, found.max_logit))
            found = replace(found, rounding=rounding)
        if reason:
            in_int8 = 'in INT8 ' * (calibration is not None)
            advice = '; more calibration images may help, or keep float32' if in_int8 else ''
            raise UserError(f'{path} was not written: {in_int8}{reason}{advice}.')
        for file in Path(folder).iterdir():
            if file.stem == path.stem:
                put_in_place(file, path.parent / file.name)
    return found


def fault(found: Agreement, tolerance: float | None, max_iou_loss: float) -> str:
    """Why another form of a network is not good enough, '' if it is.

    Args:
        found: How it compares with PyTorch.
        tolerance: Largest difference of the logits, relative to the largest logit or 1; None: the IoU decides.
        max_iou_loss: Largest :attr:`Agreement.iou_loss`.
    """
    if tolerance is None:
        if found.max_error < float('inf') and found.iou_loss <= max_iou_loss:
            return ''
        return f'it loses {100 * found.iou_loss:.2f} points of IoU (allowed: {100 * max_iou_loss:g})'
    allowed = tolerance * max(1, found.max_logit)
    if found.max_error <= allowed:
        return ''
    return f'its logits differ from PyTorch by up to {found.max_error:.2g} (allowed: {allowed:.2g})'


def write_model(
    model: DetectionModel,
    path: Path,
    format: str,
    rules: InputRules,
    trim: bool = False,
    calibration: Sequence[np.ndarray] | None = None,
    made_from: Mapping[str, str] | None = None,
) -> None:
    """Write a file without any check of what it computes; see :func:`export_model`.

    Raises:
        UserError: Unknown format, missing packages, or a network that the format cannot express.
    """
    if format not in EXPORT_FORMATS:
        raise unknown_name('format', format, list(EXPORT_FORMATS))
    if path.suffix != EXPORT_FORMATS[format]:
        raise UserError(f'{path.name}: expected a name that ends in {EXPORT_FORMATS[format]} for format {format}.')
    missing = [package for package in PACKAGES[format] if find_spec(package) is None]
    if missing:
        raise UserError(f'Format {format} needs {", ".join(missing)}: pip install {" ".join(missing)}.')
    if calibration is not None and format not in INT8_FORMATS:
        raise UserError(f'INT8 is written as {" or ".join(INT8_FORMATS)}, not as {format}.')
    try:
        # What the exporters print of tracing is for their authors; the file is checked by what it computes.
        with warnings.catch_warnings(), _silent(), torch.no_grad():
            warnings.simplefilter('ignore')
            _WRITERS[format](exportable(model, trim), path, rules, calibration, notes(rules, made_from or {}))
    except Exception as error:  # each exporter raises its own types
        if is_full(error):
            raise cannot_write(Path(path.name), error) from None
        reason = str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
        advice = '' if rules.fixed_size else '; with one fixed size, --size N, it may work'
        raise UserError(f'{rules.network} does not export as {format}{advice}: {reason}') from error


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """Nothing on the standard output, from compiled code either: PyTorch prints the whole graph when it fails."""
    sys.stdout.flush()
    kept = os.dup(1)
    with open(os.devnull, 'w') as nowhere:
        os.dup2(nowhere.fileno(), 1)
    try:
        yield
    finally:
        sys.stdout.flush()
        os.dup2(kept, 1)
        os.close(kept)


def _example(rules: InputRules) -> torch.Tensor:
    """An image to trace with, of unequal sides where the sizes stay open."""
    if rules.fixed_size:
        return torch.rand(2, rules.frames, rules.fixed_size, rules.fixed_size)
    side = -(-max(64, rules.min_size) // rules.multiple) * rules.multiple
    return torch.rand(2, rules.frames, side, side + 8 * rules.multiple)


def _batch_of(image: np.ndarray, frames: int = 1) -> np.ndarray:
    """(H, W), of which so many frames are made, or a window (n, H, W) → (1, n, H, W) float32."""
    window = np.asarray(image, np.float32).reshape(-1, *image.shape[-2:])
    return np.broadcast_to(window, (max(frames, len(window)), *window.shape[1:]))[None].copy()


def _write_onnx(
    function: TargetLogits,
    path: Path,
    rules: InputRules,
    calibration: Sequence[np.ndarray] | None,
    about: Mapping[str, str],
) -> None:
    import onnx

    axes = {0: 'batch'} if rules.fixed_size else {0: 'batch', 2: 'height', 3: 'width'}
    by_tracing: dict[str, Any] = (
        {'dynamo': False} if 'dynamo' in inspect.signature(torch.onnx.export).parameters else {}
    )
    with plain_attention():
        torch.onnx.export(
            function,
            (_example(rules),),
            str(path),
            input_names=[INPUT],
            output_names=[OUTPUT],
            opset_version=OPSET,
            dynamic_axes={INPUT: axes, OUTPUT: axes},
            **by_tracing,  # torch 2.4 knows nothing else
        )
    if calibration is not None:
        quantise_onnx(path, (rules.pad(_batch_of(image, rules.frames)) for image in calibration))
    model = onnx.load(path)
    if needs_padding(rules) and not rules.fixed_size:
        _check_sides(model.graph, rules)
    onnx.helper.set_model_props(model, {RULES_KEY: rules.as_text(), **about})
    model.doc_string = _as_lines(about)
    onnx.checker.check_model(model)
    onnx.save(model, path)


def _check_sides(graph: Any, rules: InputRules) -> None:
    """Put nodes before all others that fail for sides which the network does not take.

    ONNX has no assertions, but a runtime names the node that fails, and the name says what is wrong: it looks up, in
    a list of one 1, what a side is too long or too short by. The image is reshaped to its own shape times the 1s.
    """
    from onnx import helper, numpy_helper

    image = f'{INPUT} of {sides(rules)}'
    for node in graph.node:
        node.input[:] = [image if name == INPUT else name for name in node.input]
    constants = {
        'axes': [2, 3], 'multiple': [rules.multiple], 'smallest': [rules.min_size], 'zero': [0], 'one': [1],
        'ones': [1, 1],
    }  # fmt: skip
    for constant, values in constants.items():
        graph.initializer.append(numpy_helper.from_array(np.array(values, np.int64), f'check/{constant}'))
    message = f'{rules.network} takes {sides(rules)}: pad the image as "padding" in the metadata says'
    steps: list[tuple[str, list[str], str, str]] = [
        ('Shape', [INPUT], 'check/shape', ''),
        ('Gather', ['check/shape', 'check/axes'], 'check/sides', ''),
        ('Mod', ['check/sides', 'check/multiple'], 'check/rest', ''),
        ('Sub', ['check/smallest', 'check/sides'], 'check/missing', ''),
        ('Max', ['check/missing', 'check/zero'], 'check/short', ''),
        ('Add', ['check/rest', 'check/short'], 'check/wrong', ''),
        ('Gather', ['check/one', 'check/wrong'], 'check/right', message),
    ]
    nodes = [helper.make_node(kind, inputs, [output], name=name) for kind, inputs, output, name in steps]
    nodes.append(helper.make_node('Concat', ['check/ones', 'check/right'], ['check/factors'], axis=0))
    nodes.append(helper.make_node('Mul', ['check/shape', 'check/factors'], ['check/same']))
    nodes.append(helper.make_node('Reshape', [INPUT, 'check/same'], [image]))
    for place, node in enumerate(nodes):
        graph.node.insert(place, node)


def _as_lines(about: Mapping[str, str]) -> str:
    return '\n'.join(f'{name}: {text}' for name, text in about.items())


def _write_openvino(
    function: TargetLogits,
    path: Path,
    rules: InputRules,
    calibration: Sequence[np.ndarray] | None,
    about: Mapping[str, str],
) -> None:
    import openvino

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / 'model.onnx'
        _write_onnx(function, file, rules, calibration, about)
        model = openvino.Core().read_model(file)
        model.set_rt_info(rules.as_text(), RULES_KEY)
        for name, text in about.items():
            model.set_rt_info(text, ['about', name])
        try:
            openvino.save_model(model, path, compress_to_fp16=False)
        except RuntimeError as error:
            if 'iostream' in str(error):  # all that it says of a full disk
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) from None
            raise


def _write_program(
    function: TargetLogits,
    path: Path,
    rules: InputRules,
    calibration: Sequence[np.ndarray] | None,
    about: Mapping[str, str],
) -> None:
    free: dict[int, Any] = {0: torch.export.Dim('batch', min=1, max=4096)}
    if not rules.fixed_size:
        # torch.export leaves no size open down to 1: neither that of the deepest features, nor what a network says.
        least = (rules.min_size, 2 * rules.multiple, getattr(function.network, 'program_min_size', 1))
        rules = replace(rules, min_size=max(least))
        for axis, name in ((2, 'rows'), (3, 'columns')):
            if rules.multiple == 1:
                free[axis] = torch.export.Dim(name, min=rules.min_size, max=16384)
            else:
                free[axis] = rules.multiple * torch.export.Dim(name, min=1, max=16384 // rules.multiple)
    program = torch.export.export(function, (_example(rules),), dynamic_shapes=({**free},))
    content = BytesIO()  # since torch's own writer of files ends the process when the disk is full
    torch.export.save(program, content, extra_files={RULES_KEY: rules.as_text(), 'about': _as_lines(about)})
    path.write_bytes(content.getbuffer())


_WRITERS: dict[str, Callable[..., None]] = {'onnx': _write_onnx, 'openvino': _write_openvino, 'torch': _write_program}


def plain_logits(model: DetectionModel) -> Callable[[np.ndarray], np.ndarray]:
    """(B, 1, H, W) float32 → logits of that shape, as the model computes them on the CPU in float32."""
    model = copy.deepcopy(model).eval().cpu()
    model.precision = torch.float32  # as a file, whatever it was trained in

    @torch.inference_mode()
    def logits(batch: np.ndarray) -> np.ndarray:
        return model.detect(torch.from_numpy(batch)).numpy()

    return logits


@torch.inference_mode()
def agreement(
    expected: Callable[[np.ndarray], np.ndarray],
    got: Callable[[np.ndarray], np.ndarray],
    images: Iterable[np.ndarray],
    labels: Sequence[np.ndarray] | None = None,
) -> Agreement:
    """How the logits of two forms of a network compare; each takes and gives (1, 1, H, W) float32.

    Args:
        expected: What PyTorch computes.
        got: The other form.
        images: (H, W) float32 in [0, 1], or windows (n, H, W).
        labels: Their masks, or None.
    """
    count, errors, largest = 0, 0.0, 0.0
    both = either = 0
    with_label = np.zeros((2, 2), np.int64)  # (PyTorch, file) × (intersection, union)
    for index, image in enumerate(images):
        batch = _batch_of(image)
        logits, others = expected(batch), got(batch)
        difference = np.abs(others - logits)
        errors = max(errors, float(difference.max())) if np.isfinite(difference).all() else float('inf')
        largest = max(largest, float(np.abs(logits).max()))
        masks = logits[0, -1] > 0, others[0, -1] > 0
        both += int((masks[0] & masks[1]).sum())
        either += int((masks[0] | masks[1]).sum())
        if labels is not None:
            for row, mask in zip(with_label, masks):
                row += (mask & labels[index]).sum(), (mask | labels[index]).sum()
        count += 1
    found = Agreement(count, errors, largest, both / either if either else 1.0)
    if labels is None:
        return found
    before, after = with_label[:, 0] / np.maximum(with_label[:, 1], 1)
    return replace(found, iou_pytorch=float(before), iou_file=float(after))


@torch.inference_mode()
def beyond_rounding(
    expected: Callable[[np.ndarray], np.ndarray],
    got: Callable[[np.ndarray], np.ndarray],
    images: Iterable[np.ndarray],
    allowed: float,
) -> tuple[float, str]:
    """Whether two forms of a network differ by more than rounding to float32 does to one of them, or at more pixels.

    A network that uses places of maxima jumps where two pixels tie, and every order of sums breaks a tie its own way.
    So each input is rounded otherwise, every pixel up or down by half the distance of float32 numbers at 1, and each
    logit's largest change counts. Sorted over the pixels of all images, the differences of the two forms have to be at
    most twice as large and twice as many as these changes at every rank; and a pixel that goes to the other side of 0
    is refused, unless it is as near as is allowed or rounding takes it there, too.

    Args:
        expected: What PyTorch computes, (1, 1, H, W) float32 → logits.
        got: The other form.
        images: (H, W) float32 in [0, 1], or windows (n, H, W).
        allowed: Difference of the logits that needs no excuse; a hundredth of it is not counted at all.

    Returns:
        The largest change of a logit, and why the other form is not good enough, '' if it is.
    """
    generator = np.random.default_rng(0)
    step = np.finfo(np.float32).eps / 2
    all_changes, all_differences, crossing = [], [], 0
    for image in images:
        batch = _batch_of(image)
        logits, others = expected(batch), got(batch)
        change, near = np.zeros_like(logits), np.abs(logits) <= allowed
        for _ in range(ROUNDINGS):
            moved = expected(batch + generator.choice(np.array([-step, step], np.float32), batch.shape))
            change = np.maximum(change, np.abs(moved - logits))
            near |= (moved > 0) != (logits > 0)
        crossing += np.count_nonzero(((others > 0) != (logits > 0)) & ~near)
        difference = np.abs(others - logits)
        all_changes.append(change[change > allowed / 200])
        all_differences.append(difference[difference > allowed / 100])
    changes, differences = (-np.sort(-np.concatenate(values)) for values in (all_changes, all_differences))
    largest = float(changes.max(initial=0))
    if crossing:
        return (largest, f'its masks differ at {counted(crossing, "pixel")} where rounding changes nothing')
    every_second = differences[::2]
    if len(every_second) <= len(changes) and (every_second <= 2 * changes[: len(every_second)]).all():
        return largest, ''
    return largest, (
        f'its logits differ from PyTorch by up to {differences.max():.2g} (allowed: {allowed:.2g}), at '
        f'{len(differences)} pixels by more than {allowed / 100:.1g}; rounding alone changes them by up to '
        f'{largest:.2g}, at {len(changes)} by more than {allowed / 200:.1g}'
    )
