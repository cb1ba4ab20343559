"""Data that stay on the device: decoded once, then gathered and augmented there, a batch at a time.

Shape legend: N images of the split, stored as N × H × W, smaller ones filled up with zeros at the bottom and
the right. Sizes are (rows, columns).
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any, cast

import numpy as np
import torch
from scipy import ndimage
from torch import Generator, Tensor
from torch.utils.data import DataLoader

from drpca.datasets import transforms as T
from drpca.datasets.io import parallel_map, to_unit
from drpca.engine.device_transforms import DeviceBatch, augment
from drpca.errors import UserError


class DeviceStore:
    """All images of a data set as tensors on one device.

    8-bit images are kept as uint8, deeper ones as float32 in [0, 1]; masks as bool.

    Args:
        dataset: An :class:`drpca.datasets.InfraredDataset`.
        device: Where the tensors go.

    Attributes:
        image: (N, H, W).
        gt_mask: (N, H, W) bool.
        size: (N, 2) int64, rows and columns in use.
        original: (N, 2) int64, size of the files.
        common: (H, W) where all images are of one size, else None.

    Raises:
        UserError: The device has too little memory.
    """

    def __init__(self, dataset: Any, device: torch.device) -> None:
        loaded = parallel_map(dataset.load, range(len(dataset)))
        deep = any(image.dtype != np.uint8 for image, _, _ in loaded)
        sizes = np.array([image.shape for image, _, _ in loaded])
        shape = (len(loaded), *sizes.max(axis=0))
        images = np.zeros(shape, np.float32 if deep else np.uint8)
        masks = np.zeros(shape, bool)
        for position, (image, gt_mask, _) in enumerate(loaded):
            rows, columns = image.shape
            images[position, :rows, :columns] = to_unit(image, dataset.sixteen_bit) if deep else image
            masks[position, :rows, :columns] = gt_mask
        try:
            self.image, self.gt_mask = (torch.from_numpy(array).to(device) for array in (images, masks))
        except torch.cuda.OutOfMemoryError:
            raise UserError(
                f'{len(loaded)} images need {(images.nbytes + masks.nbytes) >> 20} MB on {device}, which is more than '
                'it has free: load them by processes instead (on_device=False, num_workers=4 in the dataloader).'
            ) from None
        self.size = torch.from_numpy(sizes).to(device)
        self.original = torch.tensor([original for *_, original in loaded], device=device)
        self.common = (int(shape[1]), int(shape[2])) if (sizes == sizes[0]).all() else None
        # A tensor of the device: dividing by a number would multiply by its reciprocal on a GPU.
        self.full_scale = torch.tensor(255.0, device=device)
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.image)

    @functools.cached_property
    def targets(self) -> TargetBank:
        """The targets of all images, for pasting."""
        return TargetBank(self)


class TargetBank:
    """Every target of a data set, as :class:`drpca.datasets.TargetCopyPaste` cuts it out.

    Attributes:
        contrast: (targets, P, P) float32, zero outside the target's window.
        shape: (targets, P, P) bool.
        extent: (targets, 2) size of the window.
        first: (N,) number of an image's first target.
        count: (N,) targets of an image.
    """

    def __init__(self, store: DeviceStore) -> None:
        cut = T.TargetCopyPaste()
        found: list[tuple[np.ndarray, np.ndarray]] = []
        counts = []
        for position in range(len(store)):
            image, gt_mask, _ = store.dataset.load(position)
            unit = to_unit(image, store.dataset.sixteen_bit)
            before = len(found)
            for number in range(ndimage.label(gt_mask, T.EIGHT_CONNECTED)[1]):
                target = cut._cut_target(unit, gt_mask, _Choice(number))  # type: ignore[arg-type]
                if target is not None:
                    found.append(target)
            counts.append(len(found) - before)
        side = max((max(shape.shape) for _, shape in found), default=1)
        contrast = np.zeros((max(len(found), 1), side, side), np.float32)
        shapes = np.zeros(contrast.shape, bool)
        for number, (values, shape) in enumerate(found):
            rows, columns = shape.shape
            contrast[number, :rows, :columns] = values
            shapes[number, :rows, :columns] = shape
        extent = np.array([shape.shape for _, shape in found] or [(1, 1)])
        first = np.cumsum([0, *counts[:-1]])
        device = store.image.device
        self.contrast, self.shape, self.extent, self.first, self.count = (
            torch.as_tensor(array, device=device)
            for array in (contrast, shapes, extent, first, np.array(counts))
        )


class _Choice:
    """Stands in for a random generator where a certain target is wanted."""

    def __init__(self, number: int) -> None:
        self.number = number

    def integers(self, count: int) -> int:
        return self.number


class DeviceLoader:
    """A loader whose images lie on the device; the order of the samples is that of an ordinary loader.

    Without augmentation its batches equal the ordinary ones bit for bit. The augmentation of a batch follows
    from (seed, epoch, number of the batch, process) alone, so a resumed run goes on with the same ones; its
    random numbers are others than the ordinary loader's, and others on a GPU than on a CPU.

    Device forms exist of :class:`RandomFlip`, :class:`RandomTranspose`, :class:`RandomRotate90`,
    :class:`RandomCrop`, :class:`ScaleJitter` (shrinking does not average), :class:`RotationJitter`,
    :class:`RandomLongSide` (mask pixels by centres), :class:`GainJitter`, :class:`NoiseJitter`,
    :class:`GaussianBlur` (border pixels are repeated) and :class:`TargetCopyPaste`.

    Args:
        loader: An ordinary loader over an :class:`drpca.datasets.InfraredDataset` with a
            :class:`drpca.datasets.SeededSampler`; it is not iterated.
        device: Where images are kept and batches are made.

    Raises:
        UserError: A transform has no device form, or the pipeline leaves images of different sizes.
    """

    def __init__(self, loader: DataLoader, device: str | torch.device) -> None:
        self.dataset = cast(Any, loader.dataset)
        self.sampler = cast(Any, loader.sampler)
        self.batch_sampler = cast(Any, loader.batch_sampler)
        self.batch_size = loader.batch_size
        unknown = [t for t in self.dataset.pipeline if augment.dispatch(type(t)) is augment.dispatch(object)]
        if unknown:
            names = ', '.join(getattr(t, '__name__', type(t).__name__) for t in unknown)
            raise UserError(
                f'No device form of {names}: take it out of the pipeline, or load by processes (on_device=False).'
            )
        self.device = torch.device(device)
        self.store = DeviceStore(self.dataset, self.device)
        self._generator = Generator(self.device)
        self.batch(torch.zeros(1, dtype=torch.int64, device=self.device), 0)  # shows what does not fit

    def __len__(self) -> int:
        return len(self.batch_sampler)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        batches = [[index for index, _ in batch] for batch in self.batch_sampler]
        order = torch.tensor([index for batch in batches for index in batch], dtype=torch.int64)
        order = (order.pin_memory() if self.device.type == 'cuda' else order).to(
            self.device, non_blocking=True
        )
        end = 0
        for number, batch in enumerate(batches, start=self.sampler.start // self.batch_size):
            end += len(batch)
            index = order[end - len(batch) : end]
            height, width = self.store.original[index].unbind(1)
            yield {
                **self.batch(index, number),
                'name': [self.dataset.names[position] for position in batch],
                'index': index,
                'ori_height': height,
                'ori_width': width,
            }

    def batch(self, index: Tensor, number: int) -> dict[str, Tensor]:
        """Images and masks, (B, 1, H, W) float32, of batch ``number`` of the sampler's epoch.

        Args:
            index: (B,) int64 on the device.
            number: Counted from 0; with seed, epoch and process it seeds the augmentation.
        """
        sampler = self.sampler
        seed = np.random.SeedSequence([sampler.seed, sampler.epoch, number, sampler.rank])
        self._generator.manual_seed(int(seed.generate_state(1, np.uint64)[0] >> 1))
        batch = DeviceBatch(self.store, index, self._generator)
        for transform in self.dataset.pipeline:
            augment(transform, batch)
        if batch.common is None:
            raise UserError(
                'Images that differ in size make no batch on the device: set a size in the data set, end the '
                'pipeline with RandomCrop, or load by processes (on_device=False).'
            )
        if batch.pending:
            batch.window(torch.zeros_like(batch.size), batch.common)
        return {'image': batch.image[:, None], 'gt_mask': batch.gt_mask[:, None].float()}
