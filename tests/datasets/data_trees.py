"""Frames and masks that follow from a name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image


def frame(name: str, size: tuple[int, int] = (24, 32)) -> np.ndarray:
    """A noisy uint8 frame that follows from its name."""
    return np.random.default_rng(list(name.encode())).integers(0, 256, size, dtype=np.uint8)


def target_mask(name: str, size: tuple[int, int] = (24, 32)) -> np.ndarray:
    """One target of 2 × 3 pixels at a place that follows from the name."""
    rng = np.random.default_rng(list(name.encode()) + [1])
    top, left = rng.integers(0, np.array(size) - (2, 3))
    mask = np.zeros(size, dtype=np.uint8)
    mask[top : top + 2, left : left + 3] = 255
    return mask


def save(array: np.ndarray, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)
    return path
