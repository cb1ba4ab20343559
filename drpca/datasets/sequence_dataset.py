"""The data set of windows of frames that training and scoring of networks over several frames iterate over.

Shapes: n frames of a window, m of them reported, H and W the height and width after resizing and the pipeline.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from drpca.datasets.dataset import Transform, build_transform, part_of, size_pair
from drpca.datasets.io import GreyRule, MaskRule, RangeRule, ValueRange, parallel_map, resize_image, resize_mask, unit
from drpca.datasets.sequences import (
    LABELS,
    Border,
    FrameSequence,
    LabelledFrames,
    Placement,
    boxes_around,
    check_size,
    frames_of,
    open_sequences,
    paint_boxes,
    windows_of,
)
from drpca.datasets.splits import Split
from drpca.datasets.synthetic_sequence import PARTS as MADE_PARTS
from drpca.datasets.synthetic_sequence import Sequence as MadeSequence
from drpca.datasets.synthetic_sequence import random_sequence, sequence_seeds
from drpca.errors import UserError, unknown_name
from drpca.names import simplify
from drpca.options import AUTO
from drpca.registry import DATASETS

SYNTHETIC = 'synthetic_sequence'
_SYNTHETIC = {'train': 48, 'val': 6, 'test': 8, 'num_frames': 40, 'size': 96, 'seed': 0}
_Loaded = tuple[np.ndarray, np.ndarray]  # (N, H, W) frames and bool masks


@DATASETS.register_module()
class SequenceDataset(Dataset):
    """Windows of the sequences of one split, and the targets of the frames that a network reports on.

    Args:
        dataset: Folder of sequences under the data root (:mod:`drpca.datasets.sequences`); or ``'synthetic_sequence'``,
            which needs no files: its sequences are made on construction (:func:`random_sequence`).
        split: See :func:`drpca.datasets.sequences.open_sequences`.
        data_root: Folder that holds the data sets; default ``DRPCA_DATA``, else ``./datasets``.
        frames: n.
        placement: ``'causal'`` (m = 1, the last frame), ``'centred'`` (m = 1) or ``'block'`` (m = n); see
            :func:`drpca.datasets.sequences.windows_of`.
        border: ``'repeat'``, ``'reflect'`` or ``'inside'``; see there.
        labels: ``'masks'``, ``'points'`` or ``'boxes'``; ``'auto'``: the first of these that a sequence has. Synthetic
            ones have all three.
        point_radius: Pixels to each side of a point that belong to its target.
        sequences: Names of the only ones to use of the split.
        without: Names to leave out, for leave-one-out.
        size: (height, width), or one number for both, to resize to; None keeps the frames' own.
        pipeline: As of :class:`drpca.datasets.InfraredDataset`, of transforms that take windows (``takes_windows``):
            one draw for all frames.
        range: Which grey values become 0 and 1, of each frame; see :class:`drpca.datasets.io.ValueRange`.
        cache: Keep all frames in memory. Otherwise each window reads its own.
        limit: Use the first so many windows only; below 1: that share of them, spread over all.
        synthetic: Of ``'synthetic_sequence'``: numbers of sequences ``train``, ``val`` and ``test``, ``num_frames``,
            ``size`` and ``seed``.

    Raises:
        UserError: Data root, data set, split or files are missing or damaged; frames of mixed sizes; a window longer
            than a sequence; labels that do not fit; an unknown name.
    """

    takes_seeds = True  # of SeededSampler

    def __init__(
        self,
        dataset: str = SYNTHETIC,
        split: str = 'train',
        data_root: str | Path | None = None,
        frames: int = 8,
        placement: Placement = 'causal',
        border: Border = 'repeat',
        labels: str = AUTO,
        point_radius: int = 1,
        sequences: Sequence[str] | None = None,
        without: Sequence[str] = (),
        size: int | tuple[int, int] | None = None,
        pipeline: Sequence[dict[str, Any] | Transform] = (),
        range: RangeRule = AUTO,
        cache: bool = True,
        limit: float | None = None,
        synthetic: Mapping[str, int] | None = None,
    ) -> None:
        if labels not in (AUTO, *LABELS):
            raise unknown_name('kind of labels', labels, (AUTO, *LABELS))
        if limit is not None and not limit > 0:
            raise UserError(f'limit must be above 0, got {limit}.')
        self.dataset, self.split, self.size = dataset, split, size_pair(size)
        self.labels, self.point_radius = labels, point_radius
        self._shapes: dict[int, tuple[int, ...]] = {}
        self.values = ValueRange(range)
        self.pipeline = [build_transform(step) for step in pipeline]
        for step in self.pipeline:
            if not getattr(step, 'takes_windows', False):
                raise UserError(f'{type(step).__name__} takes single frames: leave it out of the pipeline of windows.')
        self._sequences: list[FrameSequence | _Loaded]
        if is_synthetic(dataset):
            self.names, self._sequences = _synthetic(split, synthetic or {}, labels, point_radius)
        else:
            opened = open_sequences(dataset, split, data_root)
            self.names, self._sequences = [sequence.name for sequence in opened], list(opened)
        self._choose(sequences, without)
        self.windows = [
            (number, window)
            for number, (name, sequence) in enumerate(zip(self.names, self._sequences))
            for window in windows_of(_length(sequence), frames, placement, border, f'Sequence {name}')
        ]
        if limit is not None:
            self.windows = [self.windows[place] for place in part_of(np.arange(len(self)).tolist(), limit)]
        if cache:
            self._sequences = parallel_map(self._load, [*enumerate(self._sequences)])

    def _choose(self, wanted: Sequence[str] | None, without: Sequence[str]) -> None:
        for name in (*(wanted or ()), *without):
            if name not in self.names:
                raise unknown_name(f'sequence of {self.dataset} {self.split}', name, self.names)
        kept = [
            place for place, name in enumerate(self.names) if name not in without and (not wanted or name in wanted)
        ]
        if not kept:
            raise UserError(f'No sequence of {self.dataset} {self.split} is left: name fewer in `without`.')
        self.names, self._sequences = [self.names[i] for i in kept], [self._sequences[i] for i in kept]

    def __len__(self) -> int:
        return len(self.windows)

    @property
    def metainfo(self) -> dict[str, Any]:
        """What MMEngine hands to metrics and visualisers."""
        return {'dataset': self.dataset, 'split': self.split, 'sequences': self.names, 'size': self.size}

    def __getitem__(self, index: int | tuple[int, int]) -> dict[str, Any]:
        """One window.

        Args:
            index: Position, or (position, seed of the augmentation); a bare position is its own seed.

        Returns:
            image (n, H, W) float32 in [0, 1], oldest frame first; gt_mask (m, H, W) float32 of 0 and 1; name,
            ``SEQUENCE/NUMBER`` of the last reported frame; index; ori_height and ori_width of the frames.
        """
        position, seed = index if isinstance(index, tuple) else (index, None)
        position = range(len(self))[position]
        number, window = self.windows[position]
        frames = [self._frame(number, place) for place in window.frames]
        height, width = frames[0].shape
        masks = [self._mask(number, place, (height, width)) for place in window.reported]
        if self.size is not None:
            frames = [resize_image(frame, self.size) for frame in frames]
            masks = [resize_mask(mask, self.size) for mask in masks]
        sample: dict[str, Any] = {
            'image': np.stack([unit(frame) for frame in frames], axis=-1),
            'gt_mask': np.stack(masks, axis=-1),
            'rng': np.random.default_rng(position if seed is None else seed),
        }
        for transform in self.pipeline:
            sample = transform(sample)
        image, gt_mask = (
            np.ascontiguousarray(np.moveaxis(sample[key], -1, 0), np.float32) for key in ('image', 'gt_mask')
        )
        return {
            'image': torch.from_numpy(image),
            'gt_mask': torch.from_numpy(gt_mask),
            'name': f'{self.names[number]}/{window.reported[-1]:06d}',
            'index': position,
            'ori_height': height,
            'ori_width': width,
        }

    def _load(self, item: tuple[int, FrameSequence | _Loaded]) -> _Loaded:
        """All frames and masks of a sequence."""
        number, sequence = item
        if isinstance(sequence, tuple):
            return sequence
        frames = [self._frame(number, place) for place in range(len(sequence))]
        masks = [self._mask(number, place, frame.shape) for place, frame in enumerate(frames)]  # type: ignore[arg-type]
        return np.stack(frames), np.stack(masks)

    def _frame(self, number: int, place: int) -> np.ndarray:
        sequence = self._sequences[number]
        if isinstance(sequence, tuple):
            return sequence[0][place]
        path = sequence.frames[place]
        frame = self.values.level(sequence.read_frame(place), str(path)).image
        check_size(path, frame.shape, self._shapes.setdefault(number, frame.shape), sequence.name)
        return frame

    def _mask(self, number: int, place: int, shape: tuple[int, int]) -> np.ndarray:
        sequence = self._sequences[number]
        if isinstance(sequence, tuple):
            return sequence[1][place]
        kind: Any = sequence.label if self.labels == AUTO else self.labels
        return sequence.read_label(place, kind, shape, self.point_radius)


def _length(sequence: FrameSequence | _Loaded) -> int:
    return len(sequence[0]) if isinstance(sequence, tuple) else len(sequence)


def is_synthetic(dataset: str) -> bool:
    """Whether sequences that are made on the spot are meant."""
    return simplify(dataset) == simplify(SYNTHETIC)


@dataclass(frozen=True)
class MadeFrames(Split):
    """Frames and masks of synthetic sequences, in memory, by their names."""

    made: dict[str, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict, repr=False)

    def read_image(self, name: str, grey: GreyRule = 'opencv') -> np.ndarray:
        return self.made[name][0]

    def read_mask(self, name: str, rule: MaskRule = 'positive') -> np.ndarray:
        return self.made[name][1]


def open_frames(
    dataset: str, split: str = 'test', data_root: str | Path | None = None, synthetic: Mapping[str, int] | None = None
) -> LabelledFrames | MadeFrames:
    """All frames of one split of a data set of sequences, in order, called ``SEQUENCE/NAME``.

    Args and errors as :class:`SequenceDataset`; labels need not be there before they are read.
    """
    if not is_synthetic(dataset):
        return frames_of(dataset, split, data_root)
    made: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    sequences: dict[str, list[str]] = {}
    for name, (frames, masks) in zip(*_synthetic(split, synthetic or {})):
        sequences[name] = [f'{name}/{place:06d}' for place in range(len(frames))]
        made.update(zip(sequences[name], zip(frames, masks)))
    return MadeFrames(SYNTHETIC, split, Path(), list(made), 'memory', {}, sequences=sequences, made=made)


def _synthetic(
    split: str, options: Mapping[str, int], labels: str = AUTO, radius: int = 1
) -> tuple[list[str], list[Any]]:
    """Names and content of synthetic sequences; those of each split have seeds of their own."""
    for name in options:
        if name not in _SYNTHETIC:
            raise unknown_name('option of synthetic sequences', name, list(_SYNTHETIC))
    chosen = {**_SYNTHETIC, **options}
    parts = {'trainval': ('train', 'val'), 'all': MADE_PARTS}.get(split, (split,))
    if not {*parts} <= {*MADE_PARTS}:
        raise unknown_name('split', split, ('train', 'val', 'trainval', 'test', 'all'))
    if min(chosen.values()) < 0 or any(chosen[part] < 1 for part in parts):
        raise UserError(f'Expected at least one synthetic sequence in {" and ".join(parts)}, got {dict(options)}.')
    seeds = sequence_seeds(parts, chosen, chosen['seed'])

    def make(seed: int) -> _Loaded:
        made = random_sequence(seed, chosen['num_frames'], chosen['size'])
        return made.frames, made_masks(made, labels, radius)

    return list(seeds), parallel_map(make, list(seeds.values()))


def made_masks(made: MadeSequence, kind: str, radius: int) -> np.ndarray:
    """The targets of a synthetic sequence as labels of a kind give them, (N, H, W) bool."""
    if kind in (AUTO, 'masks'):
        return made.gt_masks
    labels = boxes_around(made.points, radius) if kind == 'points' else made.boxes
    shape = made.frames.shape[1:]
    return np.stack([paint_boxes(boxes[~np.isnan(boxes[:, 0])], shape) > 0 for boxes in labels])
