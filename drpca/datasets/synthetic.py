"""Synthetic infrared frames with point-like targets: a data set that is always at hand.

A frame is a scene (sky, cloud, sea, ground or urban) seen through optics (Gaussian blur), with targets, and
then a detector: row and column stripes, white noise, single hot pixels, 8 bits. Natural radiance has a power
spectrum 1/f^α (Burton and Moorhead, 'Color and spatial structure in natural scenes', Applied Optics 26(1),
1987); the scenes differ in α, in anisotropy and in their edges. A target is a small, often elongated
Gaussian, brighter than its surroundings by a random multiple of their standard deviation; its mask is where
its contribution is at least 40 % of its peak. Hot pixels, glints, wires, lit windows and bright edges are as
strong as targets, but not of their shape.

Scenes are (H, W) float64, in [0, 1] when targets are added. The same seed gives the same bytes with the same
versions of NumPy, SciPy and Pillow.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from scipy import ndimage

from drpca.errors import UserError, unknown_name
from drpca.files import cannot_write, is_full

FOLDER = 'synthetic'
_PARAMETERS_FILE = 'synthetic.json'
_VERSION = 1
_MIN_SIZE = 32
_TARGET_COUNTS = (0.1, 0.45, 0.25, 0.12, 0.08)
_MASK_LEVEL = 0.4
_MASK_AREA = (2, 80)

Rng = np.random.Generator
Shape = tuple[int, int]


@dataclass(frozen=True)
class SyntheticParameters:
    """What a synthetic data set was made from, stored beside it as ``synthetic.json``."""

    num_train: int = 400
    num_test: int = 100
    size: int = 256
    seed: int = 0
    version: int = _VERSION
    scenes: tuple[str, ...] = ()

    def described(self) -> dict[str, Any]:
        """As in the file, which names scenes where not all are wanted."""
        return {key: list(value) if key == 'scenes' else value for key, value in asdict(self).items() if value != ()}


def texture(rng: Rng, shape: Shape, alpha: float, stretch: float = 1.0, angle: float = 0.0) -> np.ndarray:
    """Random field with power spectrum 1/f^alpha, mean 0 and standard deviation 1.

    Args:
        rng: Source of randomness.
        shape: (H, W).
        alpha: Exponent; 1 is rough, 4 smooth.
        stretch: How many times longer structures are along ``angle`` than across.
        angle: Radians from the horizontal.
    """
    fy, fx = np.meshgrid(np.fft.fftfreq(shape[0]), np.fft.rfftfreq(shape[1]), indexing='ij')
    along, across = fx * np.cos(angle) + fy * np.sin(angle), fy * np.cos(angle) - fx * np.sin(angle)
    frequency = np.hypot(along * stretch, across)
    frequency[0, 0] = np.inf
    field = np.fft.irfft2(np.fft.rfft2(rng.standard_normal(shape)) * frequency ** (-alpha / 2), s=shape)
    return (field - field.mean()) / (field.std() + 1e-12)


def _gradient(rng: Rng, shape: Shape, strength: float) -> np.ndarray:
    rows, columns = np.mgrid[-0.5 : 0.5 : shape[0] * 1j, -0.5 : 0.5 : shape[1] * 1j]
    angle = rng.normal(np.pi / 2, 0.5)
    return strength * (columns * np.cos(angle) + rows * np.sin(angle))


def _sky(rng: Rng, shape: Shape) -> np.ndarray:
    haze = texture(rng, shape, rng.uniform(3, 3.6), rng.uniform(1, 3))
    return rng.uniform(0.15, 0.6) + _gradient(rng, shape, rng.uniform(0, 0.3)) + rng.uniform(0.01, 0.05) * haze


def _cloud(rng: Rng, shape: Shape) -> np.ndarray:
    """Banks of cloud with a fractal rim before a smooth sky; bright and textured inside."""
    form = texture(rng, shape, rng.uniform(2.8, 3.4), rng.uniform(1, 2.2), rng.normal(0, 0.4))
    cover = 1 / (1 + np.exp(-(form - rng.uniform(-0.5, 0.8)) * rng.uniform(2, 8)))
    inside = rng.uniform(0.25, 0.6) + rng.uniform(0.04, 0.12) * texture(rng, shape, rng.uniform(2.2, 2.8))
    return 0.6 * _sky(rng, shape) + cover * inside


def _sea(rng: Rng, shape: Shape) -> np.ndarray:
    """Waves, longer than high and finer towards the horizon, with a sky above it in half the frames."""
    waves = texture(rng, shape, rng.uniform(1.6, 2.2), rng.uniform(3, 6), rng.normal(0, 0.05))
    swell = texture(rng, shape, 3, 4)
    sea = rng.uniform(0.2, 0.5) + rng.uniform(0.02, 0.05) * waves + rng.uniform(0.02, 0.06) * swell
    glints = rng.random(shape) < rng.uniform(0, 3e-4)
    sea += rng.uniform(0.1, 0.35) * ndimage.convolve1d(glints.astype(float), np.ones(int(rng.integers(5, 10))))
    if rng.random() < 0.5:
        return sea
    horizon = rng.uniform(0.15, 0.6) * shape[0] + rng.normal(0, 0.02) * np.arange(shape[1])
    above = 1 / (1 + np.exp(np.clip(np.arange(shape[0])[:, None] - horizon, -30, 30)))
    return above * _sky(rng, shape) + (1 - above) * sea


def _ground(rng: Rng, shape: Shape) -> np.ndarray:
    """Rough vegetation and rock, a ridge with sky behind it in half the frames, a road in some."""
    rough = texture(rng, shape, rng.uniform(1.7, 2.2), rng.uniform(1, 2))
    fields = texture(rng, shape, 2.8)
    ground = rng.uniform(0.25, 0.5) + rng.uniform(0.03, 0.08) * rough
    ground += rng.uniform(0.05, 0.15) * np.tanh(rng.uniform(1, 4) * fields)
    if rng.random() < 0.4:
        ground += rng.choice([-1, 1]) * rng.uniform(0.1, 0.25) * _line(rng, shape, rng.uniform(1.5, 4))
    if rng.random() < 0.5:
        return ground
    ridge = rng.uniform(0.2, 0.6) * shape[0] + 0.08 * shape[0] * texture(rng, (1, shape[1]), 2.6)[0]
    above = 1 / (1 + np.exp(np.clip(1.5 * (np.arange(shape[0])[:, None] - ridge), -30, 30)))
    return above * _sky(rng, shape) + (1 - above) * ground


def _urban(rng: Rng, shape: Shape) -> np.ndarray:
    """Blocks with sharp edges, rows of lit windows, and wires before the sky."""
    scene = _sky(rng, shape)
    grain = texture(rng, shape, 2)
    for _ in range(int(rng.integers(3, 9))):
        height, width = rng.uniform(0.15, 0.7) * shape[0], rng.uniform(0.08, 0.3) * shape[1]
        top, left = int(shape[0] - height), int(rng.uniform(-0.1, 1) * shape[1])
        block = np.s_[max(top, 0) :, max(left, 0) : max(int(left + width), 0)]
        level = rng.uniform(0.1, 0.6)
        scene[block] = level + 0.02 * grain[block]
        if rng.random() < 0.6:
            step, pane = int(rng.integers(12, 24)), int(rng.integers(6, 10))
            rows, columns = np.indices(scene[block].shape)
            lit = (rows % step < pane) & (columns % step < pane)
            scene[block][lit] += rng.uniform(-0.15, 0.3)
    for _ in range(int(rng.integers(0, 4))):
        scene += rng.choice([-1, 1]) * rng.uniform(0.05, 0.2) * _line(rng, shape, rng.uniform(0.5, 1))
    return scene


def _line(rng: Rng, shape: Shape, width: float) -> np.ndarray:
    """A straight line right across the frame, of Gaussian profile with peak 1."""
    rows, columns = np.indices(shape)
    angle = rng.normal(0, 0.5)
    distance = (rows - rng.uniform(0.2, 0.8) * shape[0]) * np.cos(angle)
    distance -= (columns - shape[1] / 2) * np.sin(angle)
    return np.exp(-0.5 * (distance / width) ** 2)


SCENES: dict[str, Callable[[Rng, Shape], np.ndarray]] = {
    'sky': _sky,
    'cloud': _cloud,
    'sea': _sea,
    'ground': _ground,
    'urban': _urban,
}


def _blob(rng: Rng, shape: Shape, center: np.ndarray) -> np.ndarray:
    """Elongated Gaussian with peak 1 at a pixel."""
    major = np.exp(rng.uniform(np.log(0.9), np.log(4.0)))
    minor = max(major / rng.uniform(1, 2.5), 0.7)
    angle = rng.uniform(0, np.pi)
    rows, columns = np.indices(shape) - center[:, None, None]
    along = columns * np.cos(angle) + rows * np.sin(angle)
    across = rows * np.cos(angle) - columns * np.sin(angle)
    return np.exp(-0.5 * ((along / major) ** 2 + (across / minor) ** 2))


def _add_target(rng: Rng, scene: np.ndarray, gt_mask: np.ndarray) -> bool:
    """Adds one target to scene and mask in place; False where it would not be seen at the place drawn."""
    border = 6
    center = rng.integers(border, np.array(scene.shape) - border)
    blob = _blob(rng, scene.shape, center)
    shape = blob >= _MASK_LEVEL
    window = tuple(slice(max(c - 12, 0), c + 13) for c in center)
    spread = scene[window].std()
    contrast = rng.uniform(4, 15) * max(spread, 0.02)
    fits = _MASK_AREA[0] <= shape.sum() <= _MASK_AREA[1] and contrast <= 0.6
    free = not ndimage.binary_dilation(shape, iterations=3)[gt_mask].any()
    if not (fits and free and scene[shape].max() + contrast <= 1.0 and scene[shape].min() >= 0):
        return False
    scene += contrast * blob
    gt_mask |= shape
    return True


def generate_frame(rng: Rng, size: int | Shape = 256, scenes: Sequence[str] = ()) -> tuple[np.ndarray, np.ndarray]:
    """One frame with 0 to 4 targets.

    Args:
        rng: Source of randomness.
        size: (H, W), or one number for both; at least 32.
        scenes: Kinds of scenes to choose from, of ``SCENES``; none: all.

    Returns:
        Image (H, W) uint8 and gt_mask (H, W) bool.

    Raises:
        UserError: The size is too small.
    """
    shape = (size, size) if isinstance(size, int) else size
    if min(shape) < _MIN_SIZE:
        raise UserError(f'Synthetic frames are at least {_MIN_SIZE} pixels high and wide, got {shape}.')
    scene = SCENES[str(rng.choice(list(scenes or SCENES)))](rng, shape)
    low, high = np.percentile(scene, (0.5, 99.5))
    top = rng.uniform(0.6, 0.9) if high - low > 0.1 else rng.uniform(0.3, 0.8)
    scene = top - (high - scene) * min(1.0, (top - 0.03) / (high - low))
    scene = np.clip(ndimage.gaussian_filter(scene, rng.uniform(0.5, 0.9)), 0, 1)
    gt_mask = np.zeros(shape, dtype=bool)
    wanted = int(rng.choice(len(_TARGET_COUNTS), p=_TARGET_COUNTS))
    for _ in range(50):
        if wanted == 0:
            break
        wanted -= _add_target(rng, scene, gt_mask)
    return _detect(rng, scene, gt_mask), gt_mask


def _detect(rng: Rng, scene: np.ndarray, gt_mask: np.ndarray) -> np.ndarray:
    """Stripes, noise, hot pixels (away from targets) and quantisation to 8 bits."""
    height, width = scene.shape
    frame = scene + rng.uniform(0, 0.008) * rng.standard_normal((1, width))
    frame += rng.uniform(0, 0.004) * rng.standard_normal((height, 1))
    frame += rng.uniform(0.002, 0.015) * rng.standard_normal(scene.shape)
    away = ~ndimage.binary_dilation(gt_mask, iterations=4)
    hot = away & (rng.random(scene.shape) < rng.uniform(0, 1e-4))
    frame[hot] += rng.uniform(0.15, 0.5, size=int(hot.sum()))
    return np.rint(np.clip(frame, 0, 1) * 255).astype(np.uint8)


def generate_dataset(
    data_root: str | Path | None = None,
    num_train: int = 400,
    num_test: int = 100,
    size: int = 256,
    seed: int = 0,
    overwrite: bool = False,
    scenes: Sequence[str] = (),
) -> Path:
    """Writes ``synthetic/{trainval,test}/{images,masks}/*.png`` under the data root.

    Frame i of a split depends on seed, size and i alone, so a larger set contains the smaller one. A set of
    the same parameters that is there already is left as it is.

    Args:
        data_root: Folder that holds the data sets, made where missing; default ``DRPCA_DATA``, else ``./datasets``.
        num_train: Number of frames in trainval.
        num_test: Number of frames in test.
        size: Height and width.
        seed: Seed, 0 or above.
        overwrite: Replace a synthetic set of other parameters.
        scenes: Kinds of scenes, of sky, cloud, sea, ground and urban; none: all.

    Returns:
        Folder of the data set.

    Raises:
        UserError: Another folder or set is in the way, or a parameter is out of range.
    """
    wanted = SyntheticParameters(num_train, num_test, size, seed, scenes=tuple(scenes))
    for scene in scenes:
        if scene not in SCENES:
            raise unknown_name('scene', scene, list(SCENES))
    if num_train < 1 or num_test < 1 or seed < 0 or size < _MIN_SIZE:
        raise UserError(
            f'Expected num_train and num_test >= 1, seed >= 0 and size >= {_MIN_SIZE}; '
            f'got {num_train}, {num_test}, {seed}, {size}.'
        )
    return put_dataset(data_root, FOLDER, wanted.described(), lambda folder: _write_frames(folder, wanted), overwrite)


def put_dataset(
    data_root: str | Path | None, name: str, wanted: dict[str, Any], write: Callable[[Path], object], overwrite: bool
) -> Path:
    """Puts a generated set in place once it is whole; one of the same parameters is left as it is.

    Args:
        data_root: As of :func:`generate_dataset`.
        name: Of its folder.
        wanted: What it is made from; kept beside it.
        write: Makes a folder of it.
        overwrite: Replace one of other parameters.

    Raises:
        UserError: Another folder or set is in the way, or it cannot be written.
    """
    root = Path(data_root or os.environ.get('DRPCA_DATA') or 'datasets') / name
    if root.exists():
        present = _read_parameters(root)
        if present == wanted:
            return root
        if not overwrite:
            raise UserError(
                f'{root} holds a synthetic data set of other parameters ({present}); wanted '
                f'{wanted}. Use --overwrite to replace it, or another --data-root.'
            )
    partial = root.with_name(f'.{name}.partial')
    shutil.rmtree(partial, ignore_errors=True)
    try:
        write(partial)
        (partial / _PARAMETERS_FILE).write_text(json.dumps(wanted, indent=2) + '\n', encoding='utf-8')
        if root.exists():
            shutil.rmtree(root)
        return partial.rename(root)
    except OSError as error:
        if is_full(error):
            raise cannot_write(root, error) from None
        raise UserError(f'Cannot write to {root.parent} ({error}): choose another --data-root.') from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _write_frames(folder: Path, wanted: SyntheticParameters) -> None:
    for number, (part, count) in enumerate((('trainval', wanted.num_train), ('test', wanted.num_test))):
        folders = [folder / part / kind for kind in ('images', 'masks')]
        for kind in folders:
            kind.mkdir(parents=True)
        for index in range(count):
            frame = generate_frame(np.random.default_rng([wanted.seed, number, index]), wanted.size, wanted.scenes)
            for kind, array in zip(folders, frame):
                Image.fromarray(array.astype(np.uint8) * (255 if array.dtype == bool else 1)).save(
                    kind / f'{part}_{index:06d}.png'
                )


def _read_parameters(root: Path) -> dict[str, Any]:
    try:
        return json.loads((root / _PARAMETERS_FILE).read_text(encoding='utf-8'))
    except (OSError, ValueError) as error:
        raise UserError(
            f'{root} is in the way and was not made by this generator (no valid {_PARAMETERS_FILE}): '
            'move it, or choose another --data-root.'
        ) from error
