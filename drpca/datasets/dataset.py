"""The data set that training and scoring iterate over.

Shapes: H and W are the height and width after resizing and the pipeline.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from drpca.datasets.io import MaskRule, RangeRule, ValueRange, parallel_map, resize_image, resize_mask, unit
from drpca.datasets.splits import Split, open_joined
from drpca.errors import UserError, unknown_name
from drpca.options import AUTO
from drpca.registry import DATASETS, TRANSFORMS

Transform = Callable[[dict[str, Any]], dict[str, Any]]


@DATASETS.register_module()
class InfraredDataset(Dataset):
    """Images and masks of one split.

    With ``cache`` every file is decoded once, on construction, by a pool of threads; resized images (uint8, deeper
    ones float32) and masks stay in memory: 2 bytes a pixel of 8 bits, 56 MB for SIRST V1 at 256 × 256. Worker processes
    started by fork share that memory; started by spawn (Windows, macOS) each gets a copy, but decodes
    nothing. With ``before_resize`` the images are kept in their own sizes.

    Args:
        dataset: Name of the data set, or of several joined, see :func:`drpca.datasets.splits.open_joined`.
        split: Which of its images.
        data_root: Folder that holds the data sets; default ``DRPCA_DATA``, else ``./datasets``.
        size: (height, width), or one number for both, to resize to on load (image bilinear, mask nearest,
            as in the published loaders); None keeps each image's own size.
        pipeline: Transforms, built from dicts by the ``TRANSFORMS`` registry or given as callables. They take
            and return a dict with image float32 (H, W) in [0, 1], gt_mask bool (H, W), rng (the one source of
            randomness they may use) and donor (rng -> image, gt_mask of another sample). They leave the
            arrays they are given unchanged.
        cache: Keep decoded images in memory.
        mask_rule: See :func:`drpca.datasets.io.read_mask`.
        range: Which grey values become 0 and 1, see :class:`drpca.datasets.io.ValueRange`; of the whole image, before
            it is resized. A detector of the config takes that of its test images.
        bad_pixels: Replace isolated outliers, see there.
        limit: Use the first so many images only; below 1: that share of them, spread over the list.
        normalisation: Name → ``mean`` and ``std`` of the grey levels of data sets, in [0, 1]. A network has one pair,
            the first one here. Images of the others are shifted and scaled after the pipeline, so that it
            normalises each as of its own data set; they may leave [0, 1] thereby.
        before_resize: Transforms that only move pixels (flips, transposition, quarter turns), carried out on the
            stored grey values before resizing, as published loaders do. It is not the same behind it: mask pixels
            are taken from the upper left of the places they stand for, so that a mask resized first and mirrored
            then lies up to a pixel off its image (a third of the target pixels of SIRST V1 at 256 × 256 differ).

    Raises:
        UserError: Data root, data set, split or files are missing or damaged; an unknown transform; a size or
            limit below 1; an image and its mask differ in size.
    """

    takes_seeds = True  # of SeededSampler

    def __init__(
        self,
        dataset: str | Sequence[str],
        split: str = 'train',
        data_root: str | Path | None = None,
        size: int | tuple[int, int] | None = 256,
        pipeline: Sequence[dict[str, Any] | Transform] = (),
        cache: bool = True,
        mask_rule: MaskRule = 'positive',
        range: RangeRule = AUTO,
        bad_pixels: bool = False,
        limit: float | None = None,
        normalisation: Mapping[str, Mapping[str, float]] | None = None,
        before_resize: Sequence[dict[str, Any] | Transform] = (),
    ) -> None:
        if limit is not None and not limit > 0:
            raise UserError(f'limit must be above 0, got {limit}.')
        self.size = size_pair(size)
        self.source = open_joined(dataset, split, data_root)
        names, levels = self.source.names, _levels(self.source, normalisation or {})
        chosen = np.arange(len(names)).tolist()
        chosen = chosen if limit is None else part_of(chosen, limit)
        self.names = [names[index] for index in chosen]
        self.levels = None if levels is None else levels[chosen]
        self.pipeline = [build_transform(step) for step in pipeline]
        self.before_resize = [build_transform(step) for step in before_resize]
        self.mask_rule = mask_rule
        self.values = ValueRange(range, bad_pixels)
        self._cache: list[_Loaded] | None = None
        if cache:
            self._cache = parallel_map(self._read, np.arange(len(self)).tolist())

    def __len__(self) -> int:
        return len(self.names)

    @property
    def metainfo(self) -> dict[str, Any]:
        """What MMEngine hands to metrics and visualisers."""
        source = self.source
        info = {'dataset': source.dataset, 'split': source.split, 'source': source.source, 'size': self.size}
        return info | ({'parts': [part.dataset for part in source.parts]} if source.parts else {})

    def __getitem__(self, index: int | tuple[int, int]) -> dict[str, Any]:
        """One sample.

        Args:
            index: Position, or (position, seed of the augmentation) as :class:`SeededSampler` gives it. A
                bare position is its own seed. The result depends on these alone, never on the worker.

        Returns:
            image (1, H, W) float32 in [0, 1]; gt_mask (1, H, W) float32 of 0 and 1; name; index; ori_height
            and ori_width of the file.
        """
        position, seed = index if isinstance(index, tuple) else (index, None)
        position = range(len(self))[position]
        rng = np.random.default_rng(position if seed is None else seed)
        image, gt_mask, (height, width) = self.stored(position)
        sample: dict[str, Any] = {'image': image, 'gt_mask': gt_mask, 'rng': rng, 'donor': self._donor}
        for transform in self.before_resize:
            sample = transform(sample)
        image, gt_mask = self._resize(sample['image'], sample['gt_mask'])
        sample |= {'image': unit(image), 'gt_mask': gt_mask}
        for transform in self.pipeline:
            sample = transform(sample)
        if self.levels is not None:
            gain, offset = self.levels[position]
            sample['image'] = sample['image'] * gain + offset
        return {
            'image': torch.from_numpy(np.ascontiguousarray(sample['image'], dtype=np.float32))[None],
            'gt_mask': torch.from_numpy(np.ascontiguousarray(sample['gt_mask'], dtype=np.float32))[None],
            'name': self.names[position],
            'index': position,
            'ori_height': height,
            'ori_width': width,
        }

    def _donor(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        image, gt_mask, _ = self.load(int(rng.integers(len(self))))
        return unit(image), gt_mask

    def load(self, position: int) -> _Loaded:
        """Image (uint8, or float32 in [0, 1]) and mask, resized, not augmented; the (height, width) of the file."""
        image, gt_mask, original = self.stored(position)
        return *self._resize(image, gt_mask), original

    def stored(self, position: int) -> _Loaded:
        """The same as kept in memory: resized unless something is to be done before."""
        return self._read(position) if self._cache is None else self._cache[position]

    def _read(self, position: int) -> _Loaded:
        name = self.names[position]
        image = self.values.level(self.source.read_image(name), name).image
        gt_mask = self.source.read_mask(name, self.mask_rule)
        original = (image.shape[0], image.shape[1])
        if self.size is None and gt_mask.shape != original:
            raise UserError(
                f'{self.source.mask_path(name)} is {gt_mask.shape[0]} × {gt_mask.shape[1]}, its image '
                f'{original[0]} × {original[1]}: replace one of them, or set a size to resize both to.'
            )
        return *((image, gt_mask) if self.before_resize else self._resize(image, gt_mask)), original

    def _resize(self, image: np.ndarray, gt_mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        if self.size is None:
            return image, gt_mask
        # OpenCV refuses the views that flips leave.
        return resize_image(np.ascontiguousarray(image), self.size), resize_mask(gt_mask, self.size)


_Loaded = tuple[np.ndarray, np.ndarray, tuple[int, int]]


def _levels(source: Split, normalisation: Mapping[str, Mapping[str, float]]) -> np.ndarray | None:
    """(N, 2) float32: gain and offset that bring each image to the levels of the first data set of the mapping.

    None where all images have these already.
    """
    first = next(iter(normalisation.values()), {'mean': 0.0, 'std': 1.0})
    levels = []
    for part in source.parts or (source,):
        own = normalisation.get(part.dataset, first)
        gain = first['std'] / own['std']
        levels += [(gain, first['mean'] - own['mean'] * gain)] * len(part)
    return np.array(levels, dtype=np.float32) if {*levels} - {(1.0, 0.0)} else None


def part_of(indices: Sequence[int], limit: float) -> list[int]:
    """The first ``limit`` of them; of a limit below 1 that share, at least one, spread over all."""
    if limit >= 1:
        return list(indices[: int(limit)])
    count = max(round(limit * len(indices)), 1)
    return [indices[number * len(indices) // count] for number in range(count)]


def size_pair(size: int | Sequence[int] | None) -> tuple[int, int] | None:
    """A size, or one side, as (height, width).

    Raises:
        UserError: Neither.
    """
    if size is None:
        return None
    pair = (size, size) if isinstance(size, int) else tuple(size)
    if len(pair) != 2 or min(pair) < 1:
        raise UserError(f'size must be None, a number or (height, width), each at least 1; got {size!r}.')
    return int(pair[0]), int(pair[1])


def build_transform(step: dict[str, Any] | Transform) -> Transform:
    """A transform as it is, or built from its config.

    Raises:
        UserError: An unknown one.
    """
    if not isinstance(step, dict):
        return step
    kind = step.get('type')
    if isinstance(kind, str) and TRANSFORMS.get(kind) is None:
        raise unknown_name('transform', kind, list(TRANSFORMS.module_dict))
    return TRANSFORMS.build(step)
