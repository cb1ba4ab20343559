"""Disturbances of infrared frames, seeded per image.

A disturbance changes the 8-bit frame as it comes from the file, before any resizing. What it draws depends on
the seed, the kind and the name of the image alone: not on the order of the images, and not on the strength,
so that stronger noise is the same noise, stronger. Values are rounded and clipped to 0 … 255.

f is the frame, n a field of independent standard normal values, u one of independent uniform values in [0, 1):

=============  ==================================================================  ======================
kind           disturbed frame                                                     level
=============  ==================================================================  ======================
gaussian       f + σ n                                                             σ in grey levels
salt_pepper    0 where u < p/2, 255 where u ≥ 1 − p/2                              p in % of the pixels
speckle        f · (1 + s n)                                                       s in %
stripes        f + σ n_column: an offset per column                                σ in grey levels
dead_pixels    0 where u < p: detector elements without response                   p in % of the pixels
blur           Gaussian blur                                                       σ in pixels
contrast       m + (1 − c)(f − m), m the mean of the frame                         contrast lost, c in %
jpeg           JPEG and back                                                       100 − quality
=============  ==================================================================  ======================

Gaussian noise of σ = 10, 20, 30 and salt-and-pepper noise of 1, 3, 5 % are the levels of the noise tests of
RPCANet+ (Han et al., 2025). Column offsets are the usual form of fixed-pattern noise of infrared focal planes
(Perry and Dereniak, Optical Engineering 32(8), 1993).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from drpca.datasets.io import ValueRange
from drpca.errors import UserError, unknown_name

Rng = np.random.Generator


def _gaussian(frame: np.ndarray, level: float, rng: Rng) -> np.ndarray:
    return frame + level * rng.standard_normal(frame.shape)


def _salt_pepper(frame: np.ndarray, level: float, rng: Rng) -> np.ndarray:
    uniform, half = rng.random(frame.shape), level / 200
    return np.select([uniform < half, uniform >= 1 - half], [0.0, 255.0], frame)


def _speckle(frame: np.ndarray, level: float, rng: Rng) -> np.ndarray:
    return frame * (1 + level / 100 * rng.standard_normal(frame.shape))


def _stripes(frame: np.ndarray, level: float, rng: Rng) -> np.ndarray:
    return frame + level * rng.standard_normal(frame.shape[1])


def _dead_pixels(frame: np.ndarray, level: float, rng: Rng) -> np.ndarray:
    return np.where(rng.random(frame.shape) < level / 100, 0.0, frame)


def _blur(frame: np.ndarray, level: float, rng: Rng) -> np.ndarray:
    return cv2.GaussianBlur(frame, (0, 0), level)


def _contrast(frame: np.ndarray, level: float, rng: Rng) -> np.ndarray:
    return frame.mean() + (1 - level / 100) * (frame - frame.mean())


def _jpeg(frame: np.ndarray, level: float, rng: Rng) -> np.ndarray:
    quality = [cv2.IMWRITE_JPEG_QUALITY, round(100 - level)]
    data = cv2.imencode('.jpg', frame.astype(np.uint8), quality)[1]
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_GRAYSCALE), np.float64)


@dataclass(frozen=True)
class Kind:
    """A kind of disturbance.

    Attributes:
        function: (H, W) float64 grey values, level, source of randomness → disturbed values, not clipped.
        levels: The usual ones, mild to severe.
        unit: What a level is measured in.
        title: For tables and plots.
        highest: Largest level that makes sense.
    """

    function: Callable[[np.ndarray, float, Rng], np.ndarray]
    levels: tuple[float, ...]
    unit: str
    title: str
    highest: float


KINDS = {
    'gaussian': Kind(_gaussian, (10, 20, 30), 'grey levels', 'Gaussian noise', 255),
    'salt_pepper': Kind(_salt_pepper, (1, 3, 5), '%', 'salt and pepper', 100),
    'speckle': Kind(_speckle, (5, 10, 20), '%', 'speckle', 1000),
    'stripes': Kind(_stripes, (2, 5, 10), 'grey levels', 'stripes', 255),
    'dead_pixels': Kind(_dead_pixels, (0.1, 0.5, 1), '%', 'dead pixels', 100),
    'blur': Kind(_blur, (0.5, 1, 2), 'px', 'blur', 100),
    'contrast': Kind(_contrast, (25, 50, 75), '%', 'contrast loss', 100),
    'jpeg': Kind(_jpeg, (10, 50, 80), 'below quality 100', 'JPEG', 99),
}


@dataclass(frozen=True)
class Corruption:
    """One disturbance of one strength.

    Attributes:
        kind: A key of ``KINDS``.
        level: Above 0, on the kind's own scale.

    Raises:
        UserError: Unknown kind, or a level out of range.
    """

    kind: str
    level: float

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise unknown_name('corruption', self.kind, list(KINDS))
        kind = KINDS[self.kind]
        if not 0 < self.level <= kind.highest:
            raise UserError(
                f'Corruption {self.kind}: expected a level above 0 and up to {kind.highest:g} ({kind.unit}), '
                f'got {self.level:g}.'
            )

    def __str__(self) -> str:
        return f'{KINDS[self.kind].title} {self.level:g} {KINDS[self.kind].unit}'

    def apply(self, frame: np.ndarray, name: str, seed: int = 0) -> np.ndarray:
        """The disturbed frame.

        Args:
            frame: (H, W) uint8, or uint16, which :func:`eight_bit` converts first.
            name: Name of the image.
            seed: Of all images.

        Returns:
            (H, W) uint8.
        """
        digest = hashlib.sha256(f'{seed}/{self.kind}/{name}'.encode()).digest()
        rng = np.random.default_rng(int.from_bytes(digest[:16], 'big'))
        disturbed = KINDS[self.kind].function(eight_bit(frame).astype(np.float64), self.level, rng)
        return np.clip(np.rint(disturbed), 0, 255).astype(np.uint8)


def eight_bit(frame: np.ndarray, values: ValueRange | None = None) -> np.ndarray:
    """(H, W) uint8 of grey values, by the range of a detector; None: by the usual one."""
    image = (values or ValueRange()).level(frame).image
    return image if image.dtype == np.uint8 else np.rint(255 * image).astype(np.uint8)


def parse_corruptions(texts: Sequence[str | Corruption]) -> list[Corruption]:
    """Reads 'gaussian' (its usual levels) and 'gaussian=5,15' (these levels).

    Args:
        texts: None at all stands for every kind; disturbances stay as they are.

    Returns:
        Kinds in the order given, levels from mild to severe.

    Raises:
        UserError: Unknown kind, one named twice, or levels that are no numbers in range.
    """
    chosen: dict[str, tuple[float, ...]] = {}
    ready = [text for text in texts if isinstance(text, Corruption)]
    for text in [text for text in texts if isinstance(text, str)] if texts else KINDS:
        kind, _, levels = text.partition('=')
        if kind not in KINDS:
            raise unknown_name('corruption', kind, list(KINDS))
        if kind in chosen:
            raise UserError(f'Corruption {kind} is named twice; list its levels together: {kind}=1,2,3.')
        try:
            chosen[kind] = tuple(float(v) for v in levels.split(',')) if '=' in text else KINDS[kind].levels
        except ValueError:
            raise UserError(
                f'Corruption {text!r}: expected numbers after {kind}=, for example '
                f'{kind}={",".join(f"{v:g}" for v in KINDS[kind].levels)}.'
            ) from None
    return ready + [Corruption(kind, level) for kind, levels in chosen.items() for level in sorted(set(levels))]
