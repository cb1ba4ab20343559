"""Augmentations.

A transform takes and returns a dict with ``image`` float32 (H, W) in [0, 1], ``gt_mask`` bool (H, W) and
``rng``, a NumPy generator and its only source of randomness; it leaves the arrays it is given unchanged.
``H`` and ``W`` are the height and width at that point of the pipeline. Those that say ``takes_windows`` do the same to
all frames of a window, (H, W, n).
"""

from __future__ import annotations

from typing import Any, Literal

import cv2
import numpy as np
from scipy import ndimage

from drpca.errors import UserError
from drpca.registry import TRANSFORMS

Sample = dict[str, Any]
EIGHT_CONNECTED = np.ones((3, 3), dtype=bool)


def _check_probability(**values: float) -> None:
    for name, value in values.items():
        if not 0 <= value <= 1:
            raise UserError(f'{name} is a probability: expected 0 to 1, got {value}.')


def _check_range(name: str, low: float, high: float, above: float = 0.0) -> None:
    if not above <= low <= high:
        raise UserError(f'{name}: expected {above} <= low <= high, got low={low}, high={high}.')


@TRANSFORMS.register_module()
class RandomFlip:
    """Mirrors left–right and upside down, each with its probability."""

    takes_windows = True

    def __init__(self, horizontal: float = 0.5, vertical: float = 0.5) -> None:
        _check_probability(horizontal=horizontal, vertical=vertical)
        self.horizontal, self.vertical = horizontal, vertical

    def __call__(self, sample: Sample) -> Sample:
        draws = sample['rng'].random(2)
        axes = tuple(np.flatnonzero(draws < (self.vertical, self.horizontal)))
        return sample | {key: np.flip(sample[key], axes) for key in ('image', 'gt_mask')}


@TRANSFORMS.register_module()
class RandomTranspose:
    """Swaps rows and columns with probability ``prob``; (H, W) becomes (W, H)."""

    takes_windows = True

    def __init__(self, prob: float = 0.5) -> None:
        _check_probability(prob=prob)
        self.prob = prob

    def __call__(self, sample: Sample) -> Sample:
        if sample['rng'].random() >= self.prob:
            return sample
        return sample | {key: np.swapaxes(sample[key], 0, 1) for key in ('image', 'gt_mask')}


@TRANSFORMS.register_module()
class RandomRotate90:
    """Turns by 0, 90, 180 or 270 degrees with equal probability; (H, W) may become (W, H)."""

    takes_windows = True

    def __call__(self, sample: Sample) -> Sample:
        turns = int(sample['rng'].integers(4))
        return sample | {key: np.rot90(sample[key], turns) for key in ('image', 'gt_mask')}


@TRANSFORMS.register_module()
class RandomCrop:
    """Cuts out a window; with some probability one that shows a target.

    Args:
        size: (height, width) of the window, or one number for both.
        target_prob: Probability that the window is placed around a random target pixel (anywhere in it)
            rather than anywhere. Images without target are cut anywhere.
        pad: How images smaller than the window are extended, below and to the right: 'reflect' or 'zero'.
    """

    takes_windows = True

    def __init__(
        self, size: int | tuple[int, int], target_prob: float = 0.5, pad: Literal['reflect', 'zero'] = 'reflect'
    ) -> None:
        _check_probability(target_prob=target_prob)
        if pad not in ('reflect', 'zero'):
            raise UserError(f"pad: expected 'reflect' or 'zero', got {pad!r}.")
        self.size = (size, size) if isinstance(size, int) else tuple(size)
        if len(self.size) != 2 or min(self.size) < 1:
            raise UserError(f'size: expected a number or (height, width), each at least 1, got {size!r}.')
        self.target_prob = target_prob
        self.pad = pad

    def __call__(self, sample: Sample) -> Sample:
        rng, image, gt_mask = sample['rng'], sample['image'], sample['gt_mask']
        missing = [(0, max(wanted - given, 0)) for wanted, given in zip(self.size, image.shape)]
        if np.any(missing):
            mode: Any = 'reflect' if self.pad == 'reflect' else 'constant'
            image, gt_mask = (np.pad(a, missing + [(0, 0)] * (a.ndim - 2), mode) for a in (image, gt_mask))
        low, high = np.zeros(2, dtype=int), np.array(image.shape[:2]) - self.size
        targets = np.argwhere(gt_mask)[:, :2]
        if rng.random() < self.target_prob and len(targets):
            shown = targets[rng.integers(len(targets))]
            low, high = np.maximum(shown - self.size + 1, low), np.minimum(shown, high)
        top, left = rng.integers(low, high, endpoint=True)
        window = np.s_[top : top + self.size[0], left : left + self.size[1]]
        return sample | {'image': image[window], 'gt_mask': gt_mask[window]}


@TRANSFORMS.register_module()
class ScaleJitter:
    """Resizes by a random factor between ``low`` and ``high``; follow it by :class:`RandomCrop`.

    A mask pixel is kept where at least half of it is target. A target too small for that keeps its best
    pixel.
    """

    def __init__(self, low: float = 0.8, high: float = 1.25) -> None:
        _check_range('ScaleJitter', low, high, above=0.05)
        self.low, self.high = low, high

    def __call__(self, sample: Sample) -> Sample:
        factor = np.exp(sample['rng'].uniform(np.log(self.low), np.log(self.high)))
        height, width = (max(1, round(side * factor)) for side in sample['image'].shape)
        kind = cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR
        image, cover = (
            cv2.resize(np.ascontiguousarray(sample[key], np.float32), (width, height), interpolation=kind)
            for key in ('image', 'gt_mask')
        )
        return sample | {'image': image, 'gt_mask': _mask_of(cover)}


@TRANSFORMS.register_module()
class RotationJitter:
    """Turns about the centre by a random angle between ± ``degrees``; the image goes on mirrored at its border.

    Bilinear; the size stays. Masks as in :class:`ScaleJitter`.
    """

    def __init__(self, degrees: float = 10.0) -> None:
        _check_range('RotationJitter', degrees, 180.0)
        self.degrees = degrees

    def __call__(self, sample: Sample) -> Sample:
        angle = sample['rng'].uniform(-self.degrees, self.degrees)
        height, width = sample['image'].shape
        turn = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), angle, 1.0)
        image, cover = (
            cv2.warpAffine(
                np.ascontiguousarray(sample[key], np.float32),
                turn,
                (width, height),
                flags=cv2.INTER_LINEAR,
                borderMode=cv2.BORDER_REFLECT,
            )
            for key in ('image', 'gt_mask')
        )
        return sample | {'image': image, 'gt_mask': _mask_of(cover)}


def _mask_of(cover: np.ndarray) -> np.ndarray:
    """Pixels at least half covered by target, and the best pixel of a target that covers none so far."""
    peak = (cover > 0) & (cover == ndimage.maximum_filter(cover, size=3))
    return (cover >= 0.5) | peak


@TRANSFORMS.register_module()
class NoiseJitter:
    """Adds white Gaussian noise of a standard deviation between ``low`` and ``high`` of full scale."""

    takes_windows = True

    def __init__(self, low: float = 0.0, high: float = 0.02) -> None:
        _check_range('NoiseJitter', low, high)
        self.low, self.high = low, high

    def __call__(self, sample: Sample) -> Sample:
        rng, image = sample['rng'], sample['image']
        noise = rng.standard_normal(image.shape, dtype=np.float32)
        sigma = np.float32(rng.uniform(self.low, self.high))
        return sample | {'image': np.clip(image + sigma * noise, 0, 1)}


@TRANSFORMS.register_module()
class GainJitter:
    """Multiplies by up to 1 ± ``gain`` and adds up to ± ``offset`` of full scale; clips to [0, 1]."""

    takes_windows = True

    def __init__(self, gain: float = 0.2, offset: float = 0.1) -> None:
        _check_range('GainJitter gain', gain, 1.0)
        _check_range('GainJitter offset', offset, 1.0)
        self.gain, self.offset = gain, offset

    def __call__(self, sample: Sample) -> Sample:
        gain, offset = sample['rng'].uniform(-1, 1, size=2) * (self.gain, self.offset)
        return sample | {'image': np.clip(sample['image'] * np.float32(1 + gain) + np.float32(offset), 0, 1)}


@TRANSFORMS.register_module()
class TargetCopyPaste:
    """Pastes a random target once more, at a place without target.

    What is pasted is the target's contrast: its pixels minus the median of the pixels around it. It is
    added to the image and fades out over the first pixel outside the mask, so no seam shows. A place where
    the sum would leave [0, 1] is not used.

    Args:
        prob: Probability of pasting at all.
        other: Take the target from another sample of the data set instead of the image itself.
        tries: Places to try before giving up.
    """

    margin = 2

    def __init__(self, prob: float = 0.5, other: bool = True, tries: int = 10) -> None:
        _check_probability(prob=prob)
        self.prob, self.other, self.tries = prob, other, tries

    def __call__(self, sample: Sample) -> Sample:
        rng = sample['rng']
        if rng.random() >= self.prob:
            return sample
        image, gt_mask = sample['image'], sample['gt_mask']
        donor = sample['donor'](rng) if self.other and 'donor' in sample else (image, gt_mask)
        target = self._cut_target(donor[0], donor[1], rng)
        if target is None:
            return sample
        contrast, shape = target
        room = np.array(image.shape) - shape.shape
        for _ in range(self.tries if room.min() >= 0 else 0):
            top, left = rng.integers(0, room, endpoint=True)
            place = np.s_[top : top + shape.shape[0], left : left + shape.shape[1]]
            pasted = image[place] + contrast
            if gt_mask[place].any() or pasted.min() < 0 or pasted.max() > 1:
                continue
            image, gt_mask = image.copy(), gt_mask.copy()
            image[place] = pasted
            gt_mask[place] |= shape
            return sample | {'image': image, 'gt_mask': gt_mask}
        return sample

    def _cut_target(
        self, image: np.ndarray, gt_mask: np.ndarray, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray] | None:
        """Contrast and shape of a random target with ``margin`` pixels around it; None without target."""
        labels, count = ndimage.label(gt_mask, EIGHT_CONNECTED)
        if count == 0:
            return None
        chosen = int(rng.integers(count)) + 1
        rows, columns = ndimage.find_objects(labels, chosen)[chosen - 1]
        window = tuple(slice(max(side.start - self.margin, 0), side.stop + self.margin) for side in (rows, columns))
        shape, around = labels[window] == chosen, ~gt_mask[window]
        if not around.any():
            return None
        weight = np.maximum(shape, 0.5 * ndimage.binary_dilation(shape, EIGHT_CONNECTED))
        contrast = weight * (image[window] - np.median(image[window][around]))
        return contrast.astype(np.float32), shape


@TRANSFORMS.register_module()
class TorchvisionTransform:
    """A transform of ``torchvision.transforms.v2`` by name, applied to image and mask together.

    Its randomness is seeded from the sample's generator; torch's own generator is left as it was.

    Args:
        name: Class in ``torchvision.transforms.v2``, for example 'RandomAffine'.
        **kwargs: Its arguments.

    Raises:
        UserError: torchvision is not installed or does not fit torch; it has no such transform; the
            transform does not take these arguments or does not return one channel.
    """

    def __init__(self, name: str, **kwargs: Any) -> None:
        try:
            from torchvision.transforms import v2
        except (ImportError, RuntimeError) as error:  # RuntimeError: built for another version of torch
            raise UserError(
                f'The transform {name!r} needs torchvision, which cannot be imported ({error}): pip install '
                'torchvision to match your torch, or use the transforms of this project.'
            ) from error
        kind = getattr(v2, name, None)
        if not isinstance(kind, type):
            raise UserError(f'torchvision.transforms.v2 has no transform {name!r}.')
        try:
            self.transform = kind(**kwargs)
        except (TypeError, ValueError) as error:
            raise UserError(f'torchvision.transforms.v2.{name}: {error}') from error

    def __call__(self, sample: Sample) -> Sample:
        import torch
        from torchvision import tv_tensors

        image = tv_tensors.Image(torch.from_numpy(np.ascontiguousarray(sample['image']))[None])
        gt_mask = tv_tensors.Mask(torch.from_numpy(np.ascontiguousarray(sample['gt_mask'])).to(torch.uint8)[None])
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(int(sample['rng'].integers(2**31)))
            image, gt_mask = self.transform(image, gt_mask)
        if image.shape != gt_mask.shape or image.shape[0] != 1:
            raise UserError(
                f'{type(self.transform).__name__} returned an image of shape {tuple(image.shape)} and a mask '
                f'of {tuple(gt_mask.shape)}; expected one channel and equal sizes.'
            )
        return sample | {'image': image[0].numpy().clip(0, 1), 'gt_mask': gt_mask[0].numpy() > 0}
