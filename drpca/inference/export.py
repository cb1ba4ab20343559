"""Exporting a trained network: from a config and weights to a file that agrees with PyTorch on images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config

from drpca.cards import weight_file
from drpca.checkpoint import file_hash
from drpca.config import evaluation_data, find_config, load_config
from drpca.datasets import SequenceDataset
from drpca.datasets.io import ValueRange, read_image, resize_image, resize_mask, unit
from drpca.datasets.splits import open_split, spread
from drpca.deploy.export_model import Agreement, export_model
from drpca.errors import UserError
from drpca.inference.frames import list_images, sequence_of
from drpca.inference.mappers import build_model, is_baseline
from drpca.inference.window_stream import stream_windows
from drpca.models.detector import DetectionModel
from drpca.options import AUTO


def export(
    config: str | Path,
    checkpoint: str | Path,
    out: str | Path,
    *,
    format: str = 'onnx',
    size: int | None = None,
    images: str | Path | Sequence[np.ndarray] | None = None,
    count: int | None = 8,
    data_root: str | Path | None = None,
    tolerance: float = 1e-3,
    int8: bool = False,
    calibration: int = 32,
    max_iou_loss: float = 0.01,
    trim: bool = False,
    overwrite: bool = False,
) -> Agreement:
    """Writes a network as ONNX, OpenVINO or torch.export file, and keeps it only if it agrees with PyTorch.

    >>> drpca.export('rpcanet_sirstv1', 'RPCANet_SIRST.pkl', 'rpcanet.onnx').max_error

    Args:
        config: Config file or name.
        checkpoint: Weights: published, ours; ``'published'``: those of the config's authors, by name.
        out: File to write: .onnx, .xml or .pt2.
        format: ``'onnx'``, ``'openvino'`` or ``'torch'``.
        size: Fix height and width; None leaves them, and the batch, open.
        images: What to check with: a folder, or (H, W) float32 arrays in [0, 1], of which a network of windows takes
            consecutive ones, or windows (n, H, W); None: the test split of the config's data set, whose masks then tell
            the IoU.
        count: How many of a folder or split; None: all. Windows are spread evenly.
        data_root: Folder of the data sets.
        tolerance: Largest difference of the logits, as a share of the largest logit.
        int8: Quantise (ONNX, OpenVINO).
        calibration: Images that the INT8 ranges are taken from: of the training split, or of ``images``.
        max_iou_loss: IoU that an INT8 file may lose, as a ratio.
        trim: Drop parameters that the network never uses.
        overwrite: Replace the file.

    Returns:
        How the file compares with PyTorch.

    Raises:
        UserError: A classical method, weights that do not fit, no images, or a file that does not agree.
    """
    if calibration < 1:
        raise UserError(f'--calibration must be at least 1, got {calibration}.')
    loaded = load_config(find_config(config), data_root=data_root)
    if is_baseline(loaded):
        raise UserError(f'{config} is a classical method; only networks can be exported.')
    weights = weight_file(config, checkpoint)
    model = build_model(loaded, weights)
    model.precision = torch.float32  # as the file computes, whatever the config trains in
    made_from = {'config': Path(config).stem, 'weights': weights.name, 'weights_sha256': file_hash(weights)}
    if source := evaluation_data(loaded).get('dataset'):
        made_from['dataset'] = str(source)
    seen = size or loaded.get('inference_size')
    labels: list[np.ndarray] | None = None
    if images is None:
        frames, labels = split_images(loaded, 'test', count, seen, data_root)
        ranges = split_images(loaded, 'train', calibration, seen, data_root)[0] if int8 else None
    else:
        given = _in_folder(images) if isinstance(images, str | Path) else list(images)
        frames = _read(given, model, count, size)
        ranges = _read(given, model, calibration, size) if int8 else None
    return export_model(
        model, out, format, images=frames, labels=labels, inference_size=seen, fixed_size=size, trim=trim,
        tolerance=tolerance, calibration=ranges, max_iou_loss=max_iou_loss, overwrite=overwrite, made_from=made_from,
    )  # fmt: skip


def _in_folder(folder: Path | str) -> list[Path]:
    if not Path(folder).is_dir():
        raise UserError(f'--images {folder}: no such folder.')
    return list_images(folder)


def _read(
    images: Sequence[Path | np.ndarray], model: DetectionModel, count: int | None, size: int | None
) -> list[np.ndarray]:
    """The first images, (H, W) float32 in [0, 1]; or so many windows of them, (n, H, W), as the detector's.

    Raises:
        UserError: An unreadable image, or frames of a window that differ in size.
    """
    network = model.network

    def pixels(image: Path | np.ndarray) -> np.ndarray:
        if isinstance(image, np.ndarray):
            return image
        frame = ValueRange().level(read_image(image)).image
        return unit(frame if size is None else resize_image(frame, (size, size)))

    if network.frames == 1 or any(isinstance(image, np.ndarray) and image.ndim > 2 for image in images):
        return [pixels(image) for image in images[:count]]
    sequences = groupby(images, lambda image: sequence_of(image.stem) if isinstance(image, Path) else '')
    windows = [
        window for _, frames in sequences for window, _ in stream_windows(frames, network.frames, network.reported)
    ]
    found = [[pixels(image) for image in window] for window in spread(windows, count)]
    for window in found:
        if len(shapes := sorted({frame.shape for frame in window})) > 1:
            (height, width), (other, side) = shapes[:2]
            raise UserError(
                f'{type(network).__name__} takes windows of {network.frames} consecutive images: expected one size, '
                f'got {height} x {width} and {other} x {side}; give --size N, or the folder of one sequence.'
            )
    return [np.stack(window) for window in found]


def split_images(
    config: Config, split_name: str, count: int | None, size: int | None, data_root: str | Path | None
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """The first images of a split of the config's data set, (H, W) float32 in [0, 1], and their masks.

    Of sequences so many windows (n, H, W), spread over the split, and the masks of the last frames reported on.

    Raises:
        UserError: The data set is not there.
    """
    source = evaluation_data(config)
    if not source.get('dataset'):
        raise UserError('Which images? The config names no data set: give --images FOLDER.')
    if source.get('type') == 'SequenceDataset':
        return _split_windows(source, split_name, count, size, data_root)
    split = open_split(source['dataset'], split_name, data_root or source.get('data_root'))
    names = split.names[:count]
    values = ValueRange(source.get('range', AUTO), source.get('bad_pixels', False))
    frames = [values.level(split.read_image(name), name).image for name in names]
    labels = [split.read_mask(name) for name in names]
    if size is not None:
        frames = [resize_image(frame, (size, size)) for frame in frames]
        labels = [resize_mask(label, (size, size)) for label in labels]
    return [unit(frame) for frame in frames], labels


def open_windows(
    source: Mapping[str, Any], split_name: str, size: int | None, data_root: str | Path | None
) -> SequenceDataset:
    """The windows of a split of a config's sequences, as they are scored, none of them in memory.

    Raises:
        UserError: As :class:`SequenceDataset`.
    """
    chosen = {key: value for key, value in source.items() if key not in ('type', 'pipeline')}
    chosen |= {'split': split_name, 'cache': False}
    chosen |= {} if size is None else {'size': size}
    chosen |= {} if data_root is None else {'data_root': data_root}
    return SequenceDataset(**chosen)


def _split_windows(
    source: Mapping[str, Any], split_name: str, count: int | None, size: int | None, data_root: str | Path | None
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    dataset = open_windows(source, split_name, size, data_root)
    samples = [dataset[place] for place in spread(range(len(dataset)), count)]
    return [one['image'].numpy() for one in samples], [one['gt_mask'][-1].numpy() > 0 for one in samples]
