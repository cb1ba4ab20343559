"""All images of a data set as tensors on one device, and the targets in them."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import torch
from scipy import ndimage

from drpca.datasets import transforms as T
from drpca.datasets.io import parallel_map, resize_mask, unit
from drpca.errors import UserError


class DeviceStore:
    """All images of a data set as tensors on one device.

    8-bit images are kept as uint8, deeper ones as float32 in [0, 1]; masks as bool; in their own sizes where the data
    set augments them before it resizes.

    Args:
        dataset: An :class:`drpca.datasets.InfraredDataset`.
        device: Where the tensors go.

    Attributes:
        image: (N, H, W).
        gt_mask: (N, H, W) bool.
        size: (N, 2) int64, rows and columns in use.
        original: (N, 2) int64, size of the files.
        common: (H, W) where all images are of one size, else None.
        levels: (N, 2) float32, gain and offset of augmented images, see ``normalisation`` of the data set; or None.

    Raises:
        UserError: The device has too little memory.
    """

    def __init__(self, dataset: Any, device: torch.device) -> None:
        loaded = parallel_map(dataset.stored, range(len(dataset)))
        deep = any(image.dtype != np.uint8 for image, _, _ in loaded)
        sizes = np.array([image.shape for image, _, _ in loaded])
        shape = (len(loaded), *sizes.max(axis=0))
        images = np.zeros(shape, np.float32 if deep else np.uint8)
        masks = np.zeros(shape, bool)
        for position, (image, gt_mask, _) in enumerate(loaded):
            rows, columns = image.shape
            images[position, :rows, :columns] = unit(image) if deep else image
            masks[position, :rows, :columns] = resize_mask(gt_mask, (rows, columns))
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
        self.levels = None if dataset.levels is None else torch.from_numpy(dataset.levels).to(device)
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
            grey = unit(image)
            before = len(found)
            for number in range(ndimage.label(gt_mask, T.EIGHT_CONNECTED)[1]):
                target = cut._cut_target(grey, gt_mask, _Choice(number))  # type: ignore[arg-type]
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
            torch.as_tensor(array, device=device) for array in (contrast, shapes, extent, first, np.array(counts))
        )


class _Choice:
    """Stands in for a random generator where a certain target is wanted."""

    def __init__(self, number: int) -> None:
        self.number = number

    def integers(self, count: int) -> int:
        return self.number
