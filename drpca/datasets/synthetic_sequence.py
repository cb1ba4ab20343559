"""Synthetic infrared sequences with moving targets, of which every position is known.

A background (natural texture with spectrum 1/f^α) drifts slowly behind targets that fly straight on, dim Gaussian
spots of fluctuating brightness that turn back at the border. Clutter spikes look like targets in every respect,
but each lives in one frame. White noise and 8 bits come last. A target's signal-to-noise ratio is its peak over
the standard deviation of the noise.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from drpca.datasets.synthetic import texture
from drpca.errors import UserError

_BORDER = 8
_MASK_LEVEL = 0.4


@dataclass(frozen=True)
class Sequence:
    """A synthetic sequence.

    Attributes:
        frames: (N, H, W) uint8.
        gt_masks: (N, H, W) bool, where a target's contribution is at least 40 % of its peak.
        positions: (N, targets, 2) float, row and column.
    """

    frames: np.ndarray
    gt_masks: np.ndarray
    positions: np.ndarray


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
) -> Sequence:
    """A sequence; the same arguments give the same one.

    Args:
        seed: Seed, 0 or above.
        num_frames: N.
        size: H and W.
        num_targets: Moving targets; each is in every frame.
        snr: Range of the mean signal-to-noise ratio of a target, and of that of a spike.
        speed: Range of a target's speed, in pixels per frame.
        spikes: Mean number of clutter spikes in a frame.
        drift: Motion of the background, in (rows, columns) per frame.
        noise: Standard deviation of the noise, where the full range of grey values is 1.
        contrast: Standard deviation of the background, likewise.

    Raises:
        UserError: Too small, or without frames.
    """
    if num_frames < 1 or size < 32:
        raise UserError(f'Expected at least one frame of at least 32 pixels, got {num_frames} of {size}.')
    rng = np.random.default_rng(seed)
    background = 0.45 + contrast * texture(rng, (size, size), 3.0)
    low, high = np.full(2, _BORDER), np.full(2, size - 1 - _BORDER)
    angle = rng.uniform(0, 2 * np.pi, num_targets)
    velocity = rng.uniform(*speed, (num_targets, 1)) * np.stack([np.sin(angle), np.cos(angle)], axis=1)
    start = rng.uniform(low, high, (num_targets, 2))
    times = np.arange(num_frames)[:, None, None]
    positions = low + _bounce(start - low + velocity * times, high - low)
    width = rng.uniform(0.8, 1.3, num_targets)
    level = rng.uniform(*snr, num_targets)
    frames, masks = [], []
    for index in range(num_frames):
        scene = _shifted(background, index * np.asarray(drift))
        mask = np.zeros((size, size), bool)
        for place, sigma, brightness in zip(positions[index], width, level):
            spot = _spot(size, place, sigma)
            scene += noise * brightness * rng.lognormal(0, 0.2) * spot
            mask |= spot >= _MASK_LEVEL
        for _ in range(rng.poisson(spikes)):
            spot = _spot(size, rng.uniform(0, size, 2), rng.uniform(0.8, 1.3))
            scene += noise * rng.uniform(*snr) * rng.lognormal(0, 0.2) * spot
        scene += noise * rng.standard_normal(scene.shape)
        frames.append(np.rint(255 * np.clip(scene, 0, 1)).astype(np.uint8))
        masks.append(mask)
    return Sequence(np.stack(frames), np.stack(masks), positions)


def _bounce(place: np.ndarray, length: np.ndarray) -> np.ndarray:
    """Reflect places at 0 and ``length``."""
    folded = np.mod(place, 2 * length)
    return np.minimum(folded, 2 * length - folded)


def _shifted(background: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """Moved by (rows, columns); the texture repeats at its borders."""
    matrix = np.array([[1, 0, shift[1]], [0, 1, shift[0]]])
    return cv2.warpAffine(background, matrix, background.shape[::-1], borderMode=cv2.BORDER_WRAP)


def _spot(size: int, place: np.ndarray, sigma: float) -> np.ndarray:
    """Gaussian with peak 1 at a place between pixels."""
    rows, columns = (np.exp(-0.5 * ((np.arange(size) - centre) / sigma) ** 2) for centre in place)
    return np.outer(rows, columns)
