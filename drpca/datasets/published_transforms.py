"""Augmentations that comparator networks were published with.

The interface is that of :mod:`drpca.datasets.transforms`.
"""

from __future__ import annotations

import cv2
import numpy as np
from scipy import ndimage

from drpca.datasets.transforms import Sample
from drpca.errors import UserError
from drpca.registry import TRANSFORMS


@TRANSFORMS.register_module()
class RandomLongSide:
    """Resizes so that the longer side is ``low`` to ``high`` pixels, keeping proportions.

    Image bilinear, mask nearest, as DNANet, MSHNet, RDIAN, ISNet and MTU-Net do before they crop.
    """

    def __init__(self, low: int, high: int) -> None:
        if not 1 <= low <= high:
            raise UserError(f'RandomLongSide: expected 1 <= low <= high, got low={low}, high={high}.')
        self.low, self.high = low, high

    def __call__(self, sample: Sample) -> Sample:
        factor = sample['rng'].integers(self.low, self.high, endpoint=True) / max(sample['image'].shape)
        height, width = (max(1, round(side * factor)) for side in sample['image'].shape)
        image = cv2.resize(np.ascontiguousarray(sample['image'], np.float32), (width, height))
        mask = np.ascontiguousarray(sample['gt_mask'], np.uint8)
        gt_mask = cv2.resize(mask, (width, height), interpolation=cv2.INTER_NEAREST)
        return sample | {'image': image, 'gt_mask': gt_mask > 0}


@TRANSFORMS.register_module()
class GaussianBlur:
    """Blurs the image with probability ``prob`` by a Gaussian of σ between 0 and ``max_sigma`` pixels."""

    def __init__(self, prob: float = 0.5, max_sigma: float = 1.0) -> None:
        if not 0 <= prob <= 1 or max_sigma < 0:
            raise UserError(f'GaussianBlur: expected prob in 0 to 1 and max_sigma >= 0, got {prob} and {max_sigma}.')
        self.prob, self.max_sigma = prob, max_sigma

    def __call__(self, sample: Sample) -> Sample:
        rng = sample['rng']
        if rng.random() >= self.prob:
            return sample
        sigma = rng.uniform(0, self.max_sigma)
        return sample | {'image': ndimage.gaussian_filter(sample['image'], sigma).astype(np.float32)}
