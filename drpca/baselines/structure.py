"""Local structure of an image: structure tensor and the prior that tells points from edges."""

from __future__ import annotations

import cv2
import numpy as np


def gaussian_kernel(size: int, sigma: float) -> np.ndarray:
    """Gaussian weights along one axis, (size,), sum 1; the square kernel is their outer product."""
    squared = (np.arange(size) - (size - 1) / 2) ** 2
    weights = np.exp(-squared / (2 * sigma**2))
    return weights / weights.sum()


def smooth(image: np.ndarray, size: int, sigma: float) -> np.ndarray:
    """Gaussian filter of a size × size window, border mirrored with the edge repeated; (H, W)."""
    kernel = gaussian_kernel(size, sigma)
    return cv2.sepFilter2D(image, -1, kernel, kernel, borderType=cv2.BORDER_REFLECT)


def structure_eigenvalues(
    image: np.ndarray, size: int = 3, inner_sigma: float = 2, outer_sigma: float = 9
) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalues λ1 ≥ λ2 ≥ 0 of the smoothed structure tensor, each (H, W).

    Args:
        image: (H, W) float64, at least 2 × 2.
        size: Side of both Gaussian windows.
        inner_sigma: σ of the Gaussian before the gradients.
        outer_sigma: σ of the Gaussian over the products of the gradients.
    """
    rows, columns = np.gradient(smooth(image, size, inner_sigma))
    xx, xy, yy = (smooth(product, size, outer_sigma) for product in (columns**2, columns * rows, rows**2))
    root = np.sqrt((xx - yy) ** 2 + 4 * xy**2)
    return (xx + yy + root) / 2, np.maximum((xx + yy - root) / 2, 0)


def corner_edge_prior(image: np.ndarray) -> np.ndarray:
    """Target prior of PSTNN (Zhang, Peng, Remote Sensing 11(4):382, 2019).

    W = minmax(λ1 · λ1λ2/(λ1 + λ2)): high on points and corners, low on edges and flat areas.

    Args:
        image: (H, W) float64.

    Returns:
        (H, W) in [0, 1]; all zeros where W is constant.
    """
    large, small = structure_eigenvalues(image)
    total = large + small
    prior = large * large * small / np.where(total > 0, total, 1)
    span = np.ptp(prior)
    return (prior - prior.min()) / span if span > 0 else np.zeros_like(prior)
