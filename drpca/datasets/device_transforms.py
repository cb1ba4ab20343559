"""Augmentation of a batch on its device: the device forms of the transforms.

No loops over images and no waiting for the device. Flips, quarter turns, scaling and rotation are not carried
out one by one: each changes the affine map from the pixels of the canvas (what the image looks like now) to
those of the stored image, and the pixels are looked up once, when a crop or the end of the pipeline needs them.

Shape legend: B images of a batch, stored images B × H × W, smaller ones filled up with zeros at the bottom and
the right. Coordinates and sizes are (row, column), matrices (B, 2, 2).
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from drpca.datasets import transforms as T
from drpca.datasets.published_transforms import GaussianBlur, RandomLongSide
from drpca.errors import UserError

if TYPE_CHECKING:
    from drpca.datasets.device_store import DeviceStore


class DeviceBatch:
    """Images on their way through the pipeline.

    Attributes:
        image: (B, H, W) float32 in [0, 1], the stored pixels.
        gt_mask: (B, H, W) bool.
        size: (B, 2) float32, rows and columns of the canvas.
        common: The same as two numbers where all canvases are equal, else None.
        resampled: Pixels of the canvas lie between stored ones.
        index: (B,) place of each image in the store.
    """

    def __init__(self, store: DeviceStore, index: Tensor, generator: Generator) -> None:
        self.store, self.index, self.generator = store, index, generator
        image = store.image[index]
        self.image = image if image.is_floating_point() else image.float() / store.full_scale
        self.gt_mask = store.gt_mask[index]
        self._stored = self.size = store.size[index].float()
        self.common = store.common
        self._reset()

    def _reset(self) -> None:
        """The canvas is the stored image."""
        self._linear = torch.eye(2, device=self.image.device).expand(len(self.image), 2, 2)
        self._shift = torch.zeros_like(self.size)
        self.pending = False
        self.resampled = False
        self._nearest_mask = True

    def random(self, *shape: int) -> Tensor:
        """Uniform numbers in [0, 1), one row per image: (B, \\*shape)."""
        return torch.rand(len(self.image), *shape, generator=self.generator, device=self.image.device)

    def map(
        self,
        linear: Tensor,
        shift: Tensor,
        size: Tensor | None = None,
        common: tuple[int, int] | None = None,
        resampled: bool = False,
        nearest_mask: bool = False,
    ) -> None:
        """Put a new canvas on top, whose pixel p shows the present pixel ``linear @ p + shift``.

        Args:
            linear: (B, 2, 2).
            shift: (B, 2).
            size: (B, 2) of the new canvas; as before by default.
            common: The size where it is the same for all.
            resampled: Pixels of the new canvas lie between those of the old one.
            nearest_mask: A mask pixel is the nearest old one; otherwise it is target where at least half of
                it is, and where a smaller target has its largest part.
        """
        self._shift = _times(self._linear, shift) + self._shift
        self._linear = (self._linear[..., None] * linear[:, None]).sum(dim=2)
        self.size = self.size if size is None else size
        self.common = common
        if resampled:
            self.resampled, self._nearest_mask = True, self._nearest_mask and nearest_mask
        self.pending = True

    def window(self, corner: Tensor, size: tuple[int, int], pad: str = 'reflect') -> None:
        """Carry out what is pending and keep a window of the canvas.

        Args:
            corner: (B, 2) its first pixel on the canvas.
            size: Rows and columns.
            pad: How the canvas goes on beyond its last row and column: 'reflect' or 'zero'.
        """
        margin = int(self.resampled)  # a target's largest part is judged by the pixels around it
        rows, columns = (
            torch.arange(-margin, side + margin, device=self.image.device, dtype=torch.float32) for side in size
        )
        grid = torch.stack(torch.meshgrid(rows, columns, indexing='ij'), dim=-1)
        place = corner[:, None, None] + grid  # (B, rows, columns, 2) on the canvas
        last = (self.size - 1)[:, None, None]
        inside = (place <= last).all(dim=-1)
        if pad == 'reflect':
            place = place.abs() % (2 * last).clamp(min=1)
            place = torch.minimum(place, 2 * last - place)
        place = _times(self._linear[:, None, None], place) + self._shift[:, None, None]
        if self.resampled:
            self.image, cover = (_bilinear(x, place, self._stored) for x in (self.image, self.gt_mask.float()))
            if self._nearest_mask:
                self.gt_mask = _nearest(self.gt_mask, place, self._stored)
            else:
                around = F.max_pool2d(cover[:, None], 3, stride=1, padding=1)[:, 0]
                self.gt_mask = (cover >= 0.5) | ((cover > 0) & (cover == around))
        else:
            self.image, self.gt_mask = (_nearest(x, place, self._stored) for x in (self.image, self.gt_mask))
        if pad == 'zero':
            self.image, self.gt_mask = self.image * inside, self.gt_mask & inside
        if margin:
            self.image, self.gt_mask = (x[:, 1:-1, 1:-1] for x in (self.image, self.gt_mask))
        self.size = self._stored = _constant(size, self.size.device).expand(len(self.image), 2)
        self.common = size
        self._reset()

    def resize(self, size: tuple[int, int]) -> None:
        """Carry out what is pending, which must move pixels only, and resize as the data set does.

        The image is off by one grey level where OpenCV's fixed-point numbers round otherwise; the mask is the same.
        """
        if self.common == size:
            return
        rows, columns = (torch.arange(side, device=self.image.device, dtype=torch.float64) for side in size)
        grid = torch.stack(torch.meshgrid(rows, columns, indexing='ij'), dim=-1)
        step = 1 / (_constant(size, self.size.device).double() / self.size.double())[:, None, None]
        last = (self.size - 1)[:, None, None]

        def stored(place: Tensor) -> Tensor:
            canvas = torch.minimum(place.float().clamp(min=0), last)
            return _times(self._linear[:, None, None], canvas) + self._shift[:, None, None]

        self.gt_mask = _nearest(self.gt_mask, stored((grid * step).floor()), self._stored)
        image = _bilinear(self.image, stored((grid + 0.5) * step - 0.5), self._stored)
        if self.store.image.is_floating_point():
            self.image = image
        else:
            self.image = (image * self.store.full_scale).round() / self.store.full_scale
        self.size = self._stored = _constant(size, self.size.device).expand(len(self.image), 2)
        self.common = size
        self._reset()

    def settle(self, name: str) -> None:
        """Carry out what is pending, so that a transform sees the pixels.

        Raises:
            UserError: The images differ in size now.
        """
        if self.common is not None and self.pending:
            self.window(torch.zeros_like(self.size), self.common)
        if self.common is None and (self.pending or name != 'TargetCopyPaste'):
            raise UserError(
                f'{name} on the device needs images of one size here: set a size in the data set, or put {name} '
                'behind RandomCrop.'
            )


@functools.lru_cache
def _constant(values: tuple, device: torch.device) -> Tensor:
    """Numbers as a float32 tensor, sent to the device once: sending them waits for it."""
    return torch.tensor(values, dtype=torch.float32, device=device)


def _flat(place: Tensor, width: int) -> Tensor:
    """(B, h, w, 2) whole coordinates → places in rows strung together, (B, h·w)."""
    place = place.long()
    return (place[..., 0] * width + place[..., 1]).flatten(1)


def _nearest(values: Tensor, place: Tensor, size: Tensor) -> Tensor:
    """Values (B, H, W) at the pixels nearest to ``place`` (B, h, w, 2), mirrored at the borders."""
    place = _mirrored(place, size).add(0.5).floor()
    return values.flatten(1).gather(1, _flat(place, values.shape[-1])).view(place.shape[:-1])


def _bilinear(values: Tensor, place: Tensor, size: Tensor) -> Tensor:
    """Values (B, H, W) at ``place`` (B, h, w, 2) by bilinear interpolation, mirrored at the borders."""
    place = _mirrored(place, size)
    low = place.floor()
    high = torch.minimum(low + 1, (size - 1)[:, None, None])
    part = place - low
    flat, width = values.flatten(1), values.shape[-1]
    result = torch.zeros(place.shape[:-1], device=values.device)
    for row, row_weight in ((low[..., 0], 1 - part[..., 0]), (high[..., 0], part[..., 0])):
        for column, column_weight in ((low[..., 1], 1 - part[..., 1]), (high[..., 1], part[..., 1])):
            corner = flat.gather(1, _flat(torch.stack((row, column), dim=-1), width))
            result = result + row_weight * column_weight * corner.view(result.shape)
    return result


def _mirrored(place: Tensor, size: Tensor) -> Tensor:
    """Coordinates beyond the outer edges of the border pixels come back in; then onto pixel centres."""
    size = size[:, None, None]
    place = (place + 0.5) % (2 * size)
    place = torch.minimum(place, 2 * size - place) - 0.5
    return torch.minimum(place.clamp(min=0), size - 1)


def _times(matrix: Tensor, vector: Tensor) -> Tensor:
    """Matrix (…, 2, 2) times vector (…, 2), in full float32 whatever is set for matrix products."""
    return (matrix * vector[..., None, :]).sum(dim=-1)


@functools.singledispatch
def augment(transform: Any, batch: DeviceBatch) -> None:
    """Apply the device form of a transform; the registered functions below are all there are."""
    raise UserError(f'{type(transform).__name__} has no device form.')


@augment.register
def _(transform: T.RandomFlip, batch: DeviceBatch) -> None:
    limits = _constant((transform.vertical, transform.horizontal), batch.size.device)
    flipped = (batch.random(2) < limits).float()
    batch.map(torch.diag_embed(1 - 2 * flipped), flipped * (batch.size - 1), common=batch.common)


@augment.register
def _(transform: T.RandomTranspose, batch: DeviceBatch) -> None:
    _turn(batch, (batch.random() < transform.prob).long() * 4)


@augment.register
def _(transform: T.RandomRotate90, batch: DeviceBatch) -> None:
    _turn(batch, (batch.random() * 4).long())


# Quarter turns anticlockwise 0 to 3, and the transpose: matrix, and where the shift is the last pixel.
_TURNS = (
    ((1, 0), (0, 1), (0, 0)),
    ((0, 1), (-1, 0), (0, 1)),
    ((-1, 0), (0, -1), (1, 1)),
    ((0, -1), (1, 0), (1, 0)),
    ((0, 1), (1, 0), (0, 0)),
)


def _turn(batch: DeviceBatch, kind: Tensor) -> None:
    table = _constant(_TURNS, batch.size.device)
    linear, far = table[kind, :2], table[kind, 2]
    swapped = linear[:, 0, :1] == 0
    size = torch.where(swapped, batch.size.flip(1), batch.size)
    square = batch.common is not None and batch.common[0] == batch.common[1]
    batch.map(linear, far * (batch.size - 1), size, batch.common if square else None)


@augment.register
def _(transform: T.RandomCrop, batch: DeviceBatch) -> None:
    wanted = _constant(tuple(transform.size), batch.size.device)
    low, high = torch.zeros_like(batch.size), (batch.size - wanted).clamp(min=0)
    draws = batch.random(3)
    if transform.target_prob > 0:
        noise = torch.rand(batch.image.shape, generator=batch.generator, device=batch.image.device)
        chance, flat = (batch.gt_mask * (noise + 1)).flatten(1).max(dim=1)  # a random target pixel, if any
        width = batch.image.shape[-1]
        stored = torch.stack((flat // width, flat % width), dim=-1).float()
        shown = _times(_inverse(batch._linear), stored - batch._shift).round()
        aimed = (chance > 0) & (draws[:, 2] < transform.target_prob)
        aimed &= ((shown >= 0) & (shown < batch.size)).all(dim=-1)
        low = torch.where(aimed[:, None], torch.maximum(shown - wanted + 1, low), low)
        high = torch.where(aimed[:, None], torch.minimum(shown, high), high)
    corner = low + (draws[:, :2] * (high - low + 1)).floor()
    batch.window(corner, (int(transform.size[0]), int(transform.size[1])), transform.pad)


def _inverse(matrix: Tensor) -> Tensor:
    """Inverse of 2 × 2 matrices in closed form: the library's checks for singular ones, and waits for it."""
    (a, b), (c, d) = (row.unbind(-1) for row in matrix.unbind(-2))
    adjugate = torch.stack((torch.stack((d, -b), -1), torch.stack((-c, a), -1)), -2)
    return adjugate / (a * d - b * c)[..., None, None]


@augment.register
def _(transform: T.ScaleJitter, batch: DeviceBatch) -> None:
    low, high = np.log(transform.low), np.log(transform.high)
    _scale(batch, torch.exp(low + (high - low) * batch.random(1)), nearest_mask=False)


@augment.register
def _(transform: RandomLongSide, batch: DeviceBatch) -> None:
    side = transform.low + (batch.random(1) * (transform.high - transform.low + 1)).floor()
    _scale(batch, side / batch.size.amax(dim=1, keepdim=True), nearest_mask=True)


def _scale(batch: DeviceBatch, factor: Tensor, nearest_mask: bool) -> None:
    """Resize by (B, 1) factors, pixel areas on pixel areas as in OpenCV; shrinking does not average."""
    size = (batch.size * factor).round().clamp(min=1)
    step = batch.size / size
    batch.map(torch.diag_embed(step), (step - 1) / 2, size, resampled=True, nearest_mask=nearest_mask)


@augment.register
def _(transform: T.RotationJitter, batch: DeviceBatch) -> None:
    angle = torch.deg2rad(transform.degrees * (2 * batch.random() - 1))
    cos, sin = torch.cos(angle), torch.sin(angle)
    linear = torch.stack((torch.stack((cos, sin), -1), torch.stack((-sin, cos), -1)), -2)
    centre = (batch.size - 1) / 2
    batch.map(linear, centre - _times(linear, centre), common=batch.common, resampled=True)


@augment.register
def _(transform: T.GainJitter, batch: DeviceBatch) -> None:
    gain, offset = (2 * batch.random(2, 1, 1) - 1).unbind(1)
    batch.image = (batch.image * (1 + transform.gain * gain) + transform.offset * offset).clamp(0, 1)


@augment.register
def _(transform: T.NoiseJitter, batch: DeviceBatch) -> None:
    if batch.resampled:
        batch.settle('NoiseJitter')  # interpolation would smooth the noise
    sigma = transform.low + (transform.high - transform.low) * batch.random(1, 1)
    noise = torch.randn(batch.image.shape, generator=batch.generator, device=batch.image.device)
    batch.image = (batch.image + sigma * noise).clamp(0, 1)


@augment.register
def _(transform: GaussianBlur, batch: DeviceBatch) -> None:
    batch.settle('GaussianBlur')
    draws = batch.random(2)
    sigma = transform.max_sigma * draws[:, :1] * (draws[:, 1:] < transform.prob)
    radius = int(4 * transform.max_sigma + 0.5)
    taps = torch.arange(-radius, radius + 1, device=sigma.device)
    kernel = torch.softmax(-0.5 * (taps / sigma.clamp(min=1e-3)) ** 2, dim=1)
    image = batch.image[None]
    for shape, pad in (((-1, 1), (0, 0, radius, radius)), ((1, -1), (radius, radius, 0, 0))):
        weight = kernel.view(len(kernel), 1, *shape)
        image = F.conv2d(F.pad(image, pad, mode='replicate'), weight, groups=len(kernel))
    batch.image = image[0]


@augment.register
def _(transform: T.TargetCopyPaste, batch: DeviceBatch) -> None:
    """As on the CPU, but a target of the image itself is pasted the way round in which it was stored."""
    batch.settle('TargetCopyPaste')
    bank, count = batch.store.targets, len(batch.image)
    draws = batch.random(3)
    donor = (draws[:, 0] * len(batch.store)).long() if transform.other else batch.index
    chosen = bank.first[donor] + (draws[:, 1] * bank.count[donor]).long()
    chosen = chosen.clamp(max=len(bank.extent) - 1)
    room = batch.size - bank.extent[chosen]
    corner = (batch.random(transform.tries, 2) * (room + 1)[:, None]).floor().clamp(min=0)
    # Where each try puts the window's pixels: (B, tries, P, P, 2).
    taps = torch.arange(bank.shape.shape[-1], device=room.device)
    taps = torch.stack(torch.meshgrid(taps, taps, indexing='ij'), dim=-1)
    used = (taps < bank.extent[chosen][:, None, None]).all(dim=-1)[:, None]
    place = torch.minimum(corner[:, :, None, None] + taps, (batch.size - 1)[:, None, None, None])
    flat = _flat(place, batch.image.shape[-1])
    pasted = batch.image.flatten(1).gather(1, flat).view(place.shape[:-1]) + bank.contrast[chosen][:, None]
    taken = batch.gt_mask.flatten(1).gather(1, flat).view(place.shape[:-1])
    fits = ~((taken | (pasted < 0) | (pasted > 1)) & used).flatten(2).any(dim=-1)
    fits &= ((bank.count[donor] > 0) & (room >= 0).all(dim=-1) & (draws[:, 2] < transform.prob))[:, None]
    corner = corner[torch.arange(count, device=room.device), fits.int().argmax(dim=1)]
    # Each pixel of the image looks up its own in the pasted window.
    rows, columns = (torch.arange(side, device=room.device) for side in batch.image.shape[-2:])
    seen = torch.stack(torch.meshgrid(rows, columns, indexing='ij'), dim=-1) - corner[:, None, None]
    extent = bank.extent[chosen][:, None, None]
    covered = ((seen >= 0) & (seen < extent)).all(dim=-1) & fits.any(dim=1)[:, None, None]
    flat = _flat(torch.minimum(seen.clamp(min=0), extent - 1), bank.shape.shape[-1])
    contrast, shape = (
        table[chosen].flatten(1).gather(1, flat).view(covered.shape) for table in (bank.contrast, bank.shape)
    )
    batch.image = batch.image + contrast * covered
    batch.gt_mask = batch.gt_mask | (shape & covered)
