"""t-product algebra (Kilmer, Martin, Linear Algebra Appl. 435, 2011) for real tensors (n1, n2, n3).

A t-product is an ordinary matrix product of the frontal slices after a Fourier transform along the third
dimension. The slices of a real tensor come in conjugate pairs, so n3 // 2 + 1 of them suffice.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np


def to_slices(tensor: np.ndarray) -> np.ndarray:
    """Fourier slices (n3 // 2 + 1, n1, n2) complex of a real tensor (n1, n2, n3)."""
    return np.fft.rfft(tensor, axis=2).transpose(2, 0, 1)


def from_slices(slices: np.ndarray, depth: int) -> np.ndarray:
    """Real tensor (n1, n2, depth) from its Fourier slices (depth // 2 + 1, n1, n2)."""
    return np.fft.irfft(slices.transpose(1, 2, 0), depth, axis=2)


def map_tensor_singular_values(
    tensor: np.ndarray, shrink: Callable[[np.ndarray], np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Applies a function to the singular values of all Fourier slices in one batched SVD.

    Args:
        tensor: (n1, n2, n3) real.
        shrink: Takes and returns (n3 // 2 + 1, k), descending along k.

    Returns:
        The new tensor, (n1, n2, n3), and its singular values, (n3 // 2 + 1, k).
    """
    u, sigma, vh = np.linalg.svd(to_slices(tensor), full_matrices=False)
    shrunk = shrink(sigma)
    return from_slices((u * shrunk[:, None, :]) @ vh, tensor.shape[2]), shrunk
