"""Synthetic infrared sequences with moving targets, of which every position is known.

A background (natural texture with spectrum 1/f^α) drifts slowly behind targets that fly straight on, dim Gaussian
spots of fluctuating brightness that turn back at the border. Clutter spikes look like targets in every respect,
but each lives in one frame. White noise and 8 bits come last. A target's signal-to-noise ratio is its peak over
the standard deviation of the noise.

What makes it harder, on request: a camera that shakes and pans, clouds with a motion of their own, vegetation, small
bright things that are part of the background, clutter that blinks at one place of it, and targets that enter, leave
and cross. :func:`random_sequence` draws all of it, and is what the data set ``synthetic_sequence`` consists of;
:func:`generate_sequences` writes them to disk.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image
from scipy import ndimage

from drpca.datasets.io import parallel_map
from drpca.datasets.synthetic import SCENES, Rng, put_dataset, texture
from drpca.errors import UserError, unknown_name

FOLDER = 'synthetic_sequences'
PARTS = ('train', 'val', 'test')
_VERSION = 1
_MOST = 10_000
_BORDER = 8
_MASK_LEVEL = 0.4
_NARROW = 0.7


@dataclass(frozen=True)
class Sequence:
    """A synthetic sequence.

    Attributes:
        frames: (N, H, W) uint8.
        gt_masks: (N, H, W) bool, where a target's contribution is at least 40 % of its peak; of one narrower than a
            pixel, of that in its brightest pixel.
        positions: (N, targets, 2) float, row and column; outside the frame before a target enters and after it left.
        boxes: (N, targets, 4) float, first row, first column, last row, last column of what each adds to the mask; NaN
            where that is nothing.
    """

    frames: np.ndarray
    gt_masks: np.ndarray
    positions: np.ndarray
    boxes: np.ndarray

    @property
    def points(self) -> np.ndarray:
        """The positions to a thousandth of a pixel, NaN outside of the frame."""
        pixels = np.floor((points := np.round(self.positions, 3)) + 0.5)
        is_inside = ((pixels >= 0) & (pixels < self.frames.shape[1:])).all(axis=-1, keepdims=True)
        return np.where(is_inside, points, np.nan)


def generate_sequence(
    seed: int = 0,
    num_frames: int = 200,
    size: int = 128,
    num_targets: int = 2,
    snr: tuple[float, float] = (7.0, 14.0),
    speed: tuple[float, float] = (0.5, 2.0),
    spikes: float = 4.0,
    drift: tuple[float, float] = (0.15, 0.3),
    noise: float = 0.012,
    contrast: float = 0.06,
    *,
    scene: str | None = None,
    roughness: float = 3.0,
    widths: tuple[float, float] = (0.8, 1.3),
    jitter: float = 0.0,
    clouds: float = 0.0,
    blinkers: int = 0,
    passing: bool = False,
    pan: float = 0.0,
    vegetation: float = 0.0,
    corners: int = 0,
) -> Sequence:
    """A sequence; the same arguments give the same one.

    Args:
        seed: Seed, 0 or above.
        num_frames: N.
        size: H and W.
        num_targets: Moving targets; each is in every frame, unless they are ``passing``.
        snr: Range of the mean signal-to-noise ratio of a target, and of that of a spike.
        speed: Range of a target's speed, in pixels per frame.
        spikes: Mean number of clutter spikes in a frame.
        drift: Motion of the background, in (rows, columns) per frame.
        noise: Standard deviation of the noise, where the full range of grey values is 1.
        contrast: Standard deviation of the background, likewise.
        scene: Instead of the texture, one of :data:`drpca.datasets.synthetic.SCENES`, whose grey values spread over
            ten times the contrast. It goes on mirrored at its borders.
        roughness: Its exponent α; 2 is rough, 4 smooth.
        widths: Range of the standard deviation of a target's spot, in pixels.
        jitter: Standard deviation of the shaking of the camera, in pixels, which moves all that is seen.
        clouds: Standard deviation of the grey values of a layer of clouds, which drifts by itself.
        blinkers: Number of spots, bright as targets, that go with the background and blink.
        passing: Targets fly straight through the picture instead of turning back: each enters and leaves, at times
            spread over the sequence; the first two meet in its middle.
        pan: Standard deviation of the speed of the camera in pixels per frame, about every second spell of some frames;
            it rests in the others. All that is seen moves.
        vegetation: Standard deviation of the grey values of sharp, mostly upright texture over parts of the background.
        corners: Number of small bright things that belong to the background: dots, bars, corners and soft spots of few
            pixels, as bright as targets at most.

    Raises:
        UserError: Too small, without frames, or an unknown scene.
    """
    if scene is not None and scene not in SCENES:
        raise unknown_name('scene', scene, list(SCENES))
    if num_frames < 1 or size < 32:
        raise UserError(f'Expected at least one frame of at least 32 pixels, got {num_frames} of {size}.')
    rng, extra = np.random.default_rng(seed), np.random.default_rng([seed, 1])
    background = 0.45 + contrast * texture(rng, (size, size), roughness)
    border = cv2.BORDER_WRAP
    if scene is not None:
        background, border = _scene(extra, scene, size, min(10 * contrast, 0.9)), cv2.BORDER_REFLECT
    background = background + vegetation * _vegetation(extra, size) if vegetation else background
    if corners:
        background = background + noise * _corners(extra, size, corners, snr)
    low, high = np.full(2, _BORDER), np.full(2, size - 1 - _BORDER)
    angle = rng.uniform(0, 2 * np.pi, num_targets)
    velocity = rng.uniform(*speed, (num_targets, 1)) * np.stack([np.sin(angle), np.cos(angle)], axis=1)
    start = rng.uniform(low, high, (num_targets, 2))
    times = np.arange(num_frames)[:, None, None]
    if passing:
        met = extra.uniform(0.1, 0.9, (num_targets, 1)) * num_frames
        met[:2], start[1:2] = num_frames // 2, start[:1][: max(num_targets - 1, 0)]
        positions = start + velocity * (times - met)
    else:
        positions = low + _bounce(start - low + velocity * times, high - low)
    shake = jitter * extra.standard_normal((num_frames, 2))
    if pan:
        shake = shake + _pans(extra, num_frames, pan)
    positions = positions + shake[:, None]
    layer = texture(extra, (size, size), 3.0) if clouds else np.zeros((size, size))
    wind = extra.uniform(-0.8, 0.8, 2)
    lamps = [(extra.uniform(0, size, 2), extra.uniform(*widths), extra.uniform(*snr)) for _ in range(blinkers)]
    rates = extra.uniform(0.05, 0.4, blinkers)
    is_lit = extra.random(blinkers) < 0.5
    width = rng.uniform(*widths, num_targets)
    level = rng.uniform(*snr, num_targets)
    frames, masks = [], []
    boxes = np.full((num_frames, num_targets, 4), np.nan)
    for index in range(num_frames):
        shift = index * np.asarray(drift) + shake[index]
        view = _shifted(background, shift, border)
        if clouds:
            cover = np.clip(_shifted(layer, index * wind + shake[index]), 0, 3)
            view = view + clouds * cover
        is_lit ^= extra.random(blinkers) < rates
        for (place, sigma, brightness), lit in zip(lamps, is_lit):
            if lit:
                view += noise * brightness * _spot(size, np.mod(place + shift, size), sigma)
        mask = np.zeros((size, size), bool)
        for number, (place, sigma, brightness) in enumerate(zip(positions[index], width, level)):
            spot = _spot(size, place, sigma)
            view += noise * brightness * rng.lognormal(0, 0.2) * spot
            own = spot >= _MASK_LEVEL * (spot.max() if sigma < _NARROW and _is_inside(place, size) else 1)
            mask |= own
            if own.any():
                sides = [np.flatnonzero(own.any(axis=axis)) for axis in (1, 0)]
                boxes[index, number] = [*(side[0] for side in sides), *(side[-1] for side in sides)]
        for _ in range(rng.poisson(spikes)):
            spot = _spot(size, rng.uniform(0, size, 2), rng.uniform(*widths))
            view += noise * rng.uniform(*snr) * rng.lognormal(0, 0.2) * spot
        view += noise * rng.standard_normal(view.shape)
        frames.append(np.rint(255 * np.clip(view, 0, 1)).astype(np.uint8))
        masks.append(mask)
    return Sequence(np.stack(frames), np.stack(masks), positions, boxes)


def random_sequence(seed: int, num_frames: int = 40, size: int = 96) -> Sequence:
    """A sequence of :func:`generate_sequence` with everything about it drawn: from still to drifting, from smooth to
    rough, with 0 to 4 targets, slow or fast, with and without clouds, shaking and clutter.

    Args:
        seed: Seed, 0 or above; the same one gives the same sequence.
        num_frames: N.
        size: H and W.

    Raises:
        UserError: As :func:`generate_sequence`.
    """
    rng = np.random.default_rng([seed, 2])
    noise = rng.uniform(0.003, 0.012)
    contrast = rng.uniform(0.02, 0.09)
    vegetation = rng.uniform(0.02, 0.12) if rng.random() < 0.7 else 0.0
    slow = 1.2 * rng.random() ** 2
    # What stands out has to do so of noise and texture alike.
    unrest = noise + vegetation / 4 + contrast / 6
    brightest = np.clip(np.exp(rng.uniform(*np.log((6, 30)))) * unrest, 0.12, 0.8) / noise
    return generate_sequence(
        seed,
        num_frames,
        size,
        num_targets=int(rng.choice(5, p=(0.05, 0.3, 0.3, 0.2, 0.15))),
        snr=(rng.uniform(0.4, 0.9) * brightest, brightest),
        speed=(slow, slow + rng.uniform(0.1, 1.2)),
        spikes=rng.uniform(0, 2) if rng.random() < 0.4 else 0.0,
        drift=(rng.normal(0, 0.5), rng.normal(0, 0.5)) if rng.random() < 0.5 else (0.0, 0.0),
        noise=noise,
        contrast=contrast,
        scene=str(rng.choice(list(SCENES))) if rng.random() < 0.7 else None,
        roughness=rng.uniform(1.4, 3.0),
        widths=(rng.uniform(0.3, 0.6), rng.uniform(0.6, 1.4)),
        jitter=rng.choice((0.05, rng.uniform(0, 0.8))) if rng.random() < 0.6 else 0.0,
        clouds=rng.uniform(0.02, 0.08) if rng.random() < 0.2 else 0.0,
        blinkers=int(rng.integers(0, 6)) if rng.random() < 0.4 else 0,
        passing=bool(rng.random() < 0.4),
        pan=rng.uniform(0.5, 3.0) if rng.random() < 0.5 else 0.0,
        vegetation=vegetation,
        corners=int(rng.integers(0, size * size // 150)) if rng.random() < 0.8 else 0,
    )


def sequence_seeds(parts: Iterable[str], numbers: Mapping[str, int], seed: int) -> dict[str, int]:
    """The seeds of the sequences of some of ``PARTS``, by name: other ones in each part, and for each seed of all.

    Args:
        parts: Some of them.
        numbers: Of sequences, by part.
        seed: Of all.
    """
    return {
        f'{part}_{index:03d}': _MOST * (len(PARTS) * seed + PARTS.index(part)) + index
        for part in parts
        for index in range(numbers[part])
    }


def generate_sequences(
    data_root: str | Path | None = None,
    sequences: int = 10,
    frames: int = 40,
    size: int = 96,
    seed: int = 0,
    overwrite: bool = False,
) -> Path:
    """Writes ``synthetic_sequences/{train,val,test}/NAME/{images/0001.png, masks/0001.png, points.txt}`` under the data
    root: a fifth of the sequences, at least one, each for validation and test, the rest for training.

    They are those of the data set ``synthetic_sequence`` of the same numbers. A set of the same parameters that is
    there already is left as it is.

    Args:
        data_root: Folder that holds the data sets, made where missing; default ``DRPCA_DATA``, else ``./datasets``.
        sequences: How many in all, 3 to 10,000.
        frames: Of each.
        size: Height and width, at least 32.
        seed: Seed, 0 or above.
        overwrite: Replace synthetic sequences of other parameters.

    Returns:
        Folder of the data set.

    Raises:
        UserError: Another folder or set is in the way, or a parameter is out of range.
    """
    if not 3 <= sequences <= _MOST or frames < 1 or size < 32 or seed < 0:
        raise UserError(
            f'Expected 3 to {_MOST:,} sequences, frames >= 1, size >= 32 and seed >= 0; '
            f'got {sequences}, {frames}, {size}, {seed}.'
        )
    share = max(1, round(sequences / 5))
    numbers = {'train': sequences - 2 * share, 'val': share, 'test': share}

    def write_all(folder: Path) -> None:
        def write(item: tuple[str, int]) -> None:
            name, own_seed = item
            _write_sequence(folder / name.partition('_')[0] / name, random_sequence(own_seed, frames, size))

        parallel_map(write, [*sequence_seeds(PARTS, numbers, seed).items()])

    wanted = {**numbers, 'num_frames': frames, 'size': size, 'seed': seed, 'version': _VERSION}
    return put_dataset(data_root, FOLDER, wanted, write_all, overwrite)


def _write_sequence(folder: Path, made: Sequence) -> None:
    for kind, pictures in (('images', made.frames), ('masks', made.gt_masks.astype(np.uint8) * 255)):
        (folder / kind).mkdir(parents=True)
        for number, picture in enumerate(pictures, 1):
            Image.fromarray(picture).save(folder / kind / f'{number:04d}.png')
    lines = (
        ' '.join('0 0' if np.isnan(row) else f'{column:.3f} {row:.3f}' for row, column in points) or 'None'
        for points in made.points
    )
    (folder / 'points.txt').write_text('\n'.join(lines) + '\n', encoding='utf-8')


def _bounce(place: np.ndarray, length: np.ndarray) -> np.ndarray:
    """Reflect places at 0 and ``length``."""
    folded = np.mod(place, 2 * length)
    return np.minimum(folded, 2 * length - folded)


def _scene(rng: Rng, name: str, size: int, spread: float) -> np.ndarray:
    """A still scene through optics, whose grey values, but for outliers, lie in a range of ``spread``."""
    view = SCENES[name](rng, (size, size))
    low, high = np.percentile(view, (0.5, 99.5))
    base = rng.uniform(0.03, 0.98 - spread)
    view = np.clip(base + spread * (view - low) / max(high - low, 1e-6), 0, 1)
    return ndimage.gaussian_filter(view, rng.uniform(0.0, 0.8))


def _pans(rng: Rng, num_frames: int, speed: float) -> np.ndarray:
    """(N, 2): the way of a camera that rests and pans in turns, by chance, for spells of 2 to 10 frames."""
    steps: list[np.ndarray] = []
    while len(steps) < num_frames:
        step = speed * rng.standard_normal(2) * (rng.random() < 0.5)
        steps += [step] * int(rng.integers(2, 11))
    return np.cumsum(steps[:num_frames], axis=0)


def _vegetation(rng: Rng, size: int) -> np.ndarray:
    """Sharp texture, mostly upright, over parts of the picture; now and then with bright or dark tops cut off."""
    leaves = texture(rng, (size, size), rng.uniform(0.8, 2.0), rng.uniform(1, 4), rng.normal(np.pi / 2, 0.3))
    if rng.random() < 0.5:
        leaves = np.tanh(rng.uniform(1, 4) * (leaves - rng.uniform(-1, 1.5)))
    where = texture(rng, (size, size), rng.uniform(2.2, 3.2))
    return leaves / (1 + np.exp(-rng.uniform(2, 10) * (where - rng.uniform(-1.5, 0.8))))


def _corners(rng: Rng, size: int, count: int, brightness: tuple[float, float]) -> np.ndarray:
    """Dots, bars, corners and soft spots of few pixels, often in groups, as bright as targets at most."""
    picture, soft = np.zeros((2, size + 12, size + 12))
    where = texture(rng, (size, size), 2.6)
    rows, columns = np.mgrid[-6:7, -6:7]
    for _ in range(count):
        row, column = rng.integers(0, size, 2)
        if where[row, column] < 0.3 and rng.random() < 0.7:
            continue
        level = rng.uniform(*brightness) * rng.random()
        if rng.random() < 0.5:
            angle, (major, minor) = rng.uniform(0, np.pi), np.exp(rng.uniform(np.log(0.6), np.log(2.5), 2))
            along = columns * np.cos(angle) + rows * np.sin(angle)
            across = rows * np.cos(angle) - columns * np.sin(angle)
            spot = np.exp(-0.5 * ((along / major) ** 2 + (across / minor) ** 2))
            soft[row : row + 13, column : column + 13] += level * spot
            continue
        height, width = rng.integers(1, 5, 2)
        if height == width == 1:
            level *= 0.5
        picture[row + 6 : row + 6 + height, column + 6 : column + 6 + width] += level * rng.choice((1, 1, -1))
        if rng.random() < 0.3:
            picture[row + 7 : row + 6 + height, column + 7 : column + 6 + width] -= level
    return (ndimage.gaussian_filter(picture, rng.uniform(0.0, 0.7)) + soft)[6:-6, 6:-6]


def _is_inside(place: np.ndarray, size: int) -> bool:
    return bool((place > -0.5).all() and (place < size - 0.5).all())


def _shifted(background: np.ndarray, shift: np.ndarray, border: int = cv2.BORDER_WRAP) -> np.ndarray:
    """Moved by (rows, columns); a texture repeats at its borders."""
    matrix = np.array([[1, 0, shift[1]], [0, 1, shift[0]]])
    return cv2.warpAffine(background, matrix, background.shape[::-1], borderMode=border)


def _spot(size: int, place: np.ndarray, sigma: float) -> np.ndarray:
    """Gaussian with peak 1 at a place between pixels."""
    rows, columns = (np.exp(-0.5 * ((np.arange(size) - centre) / sigma) ** 2) for centre in place)
    return np.outer(rows, columns)
