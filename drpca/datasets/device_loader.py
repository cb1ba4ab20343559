"""Data that stay on the device: decoded once, then gathered and augmented there, a batch at a time.

Shape legend: N images of the split, stored as N × H × W, smaller ones filled up with zeros at the bottom and
the right. Sizes are (rows, columns).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import numpy as np
import torch
from torch import Generator, Tensor
from torch.utils.data import DataLoader

from drpca.datasets.device_store import DeviceStore
from drpca.datasets.device_transforms import DeviceBatch, augment
from drpca.errors import UserError


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
        if not getattr(self.dataset, 'takes_seeds', False):
            raise UserError(
                f'on_device=True is for InfraredDataset; load {type(self.dataset).__name__} by processes '
                '(on_device=False).'
            )
        steps = [*self.dataset.before_resize, *self.dataset.pipeline]
        unknown = [t for t in steps if augment.dispatch(type(t)) is augment.dispatch(object)]
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
        order = (order.pin_memory() if self.device.type == 'cuda' else order).to(self.device, non_blocking=True)
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
        for transform in self.dataset.before_resize:
            augment(transform, batch)
        if self.dataset.before_resize and self.dataset.size is not None:
            batch.resize(self.dataset.size)
        for transform in self.dataset.pipeline:
            augment(transform, batch)
        if batch.common is None:
            raise UserError(
                'Images that differ in size make no batch on the device: set a size in the data set, end the '
                'pipeline with RandomCrop, or load by processes (on_device=False).'
            )
        if batch.pending:
            batch.window(torch.zeros_like(batch.size), batch.common)
        if self.store.levels is not None:
            gain, offset = self.store.levels[index, :, None, None].unbind(1)
            batch.image = batch.image * gain + offset
        return {'image': batch.image[:, None], 'gt_mask': batch.gt_mask[:, None].float()}
