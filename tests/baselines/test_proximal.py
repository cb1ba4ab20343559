"""The shrinkage operators are the proximal maps that they claim to be."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy import optimize

from drpca.baselines.proximal import (
    lp_threshold,
    nonnegative_soft_threshold,
    shrink_columns,
    shrink_gamma,
    shrink_tail,
    soft_threshold,
)
from drpca.baselines.svd import map_singular_values

POINTS = np.linspace(-3, 3, 25)


def minimiser(cost, low: float, high: float) -> float:
    """Global minimiser of a function of one variable: dense grid, then a bounded search around the best."""
    grid = np.linspace(low, high, 4001)
    best = grid[np.argmin([cost(x) for x in grid])]
    step = grid[1] - grid[0]
    bounds = (max(low, best - step), min(high, best + step))
    found = optimize.minimize_scalar(cost, bounds=bounds, method='bounded', options={'xatol': 1e-10})
    return min((low, best, found.x), key=cost)


@pytest.mark.parametrize('threshold', [0.3, 1.0])
@pytest.mark.parametrize(('shrink', 'low'), [(soft_threshold, -4), (nonnegative_soft_threshold, 0)])
def test_soft_thresholds(shrink: Callable[..., np.ndarray], low: float, threshold: float) -> None:
    expected = [minimiser(lambda x, a=a: threshold * abs(x) + (x - a) ** 2 / 2, low, 4) for a in POINTS]
    np.testing.assert_allclose(shrink(POINTS, threshold), expected, atol=1e-5)


@pytest.mark.parametrize('p', [0.3, 0.6, 0.9])
@pytest.mark.parametrize('threshold', [0.05, 0.5])
def test_lp_threshold(p: float, threshold: float) -> None:
    expected = [minimiser(lambda x, a=a: threshold * x**p + (x - a) ** 2 / 2, 0, 4) for a in POINTS]
    np.testing.assert_allclose(lp_threshold(POINTS, threshold, p), expected, atol=1e-5)


def test_lp_threshold_of_nothing() -> None:
    np.testing.assert_array_equal(lp_threshold(np.zeros((3, 2)), 0.5, 0.6), np.zeros((3, 2)))


@pytest.mark.parametrize('threshold', [0.5, 3.0])
def test_column_shrinkage(threshold: float) -> None:
    matrix = np.random.default_rng(0).standard_normal((4, 3))
    matrix[:, 2] = 0
    shrunk = shrink_columns(matrix, threshold)
    for column, result in zip(matrix.T, shrunk.T):
        found = optimize.minimize(
            lambda x, a=column: threshold * np.sqrt(x @ x + 1e-14) + (x - a) @ (x - a) / 2, column, tol=1e-12
        )
        np.testing.assert_allclose(result, found.x, atol=1e-4)


@pytest.mark.parametrize('keep', [0, 2])
def test_tail_shrinkage_on_singular_values_is_the_proximal_map(keep: int) -> None:
    """Of the nuclear norm (keep = 0) and of the partial sum: no other matrix of many costs less."""
    rng = np.random.default_rng(1)
    matrix, threshold = rng.standard_normal((6, 4)), 0.8

    def cost(x: np.ndarray) -> float:
        sigma = np.linalg.svd(x, compute_uv=False)
        return threshold * sigma[keep:].sum() + np.sum((x - matrix) ** 2) / 2

    result, sigma = map_singular_values(matrix, lambda s: shrink_tail(s, threshold, keep))
    np.testing.assert_allclose(np.linalg.svd(result, compute_uv=False)[: len(sigma)], sigma, atol=1e-9)
    for scale in (1e-3, 1e-2, 0.1, 1):
        for _ in range(50):
            assert cost(result) <= cost(result + scale * rng.standard_normal(matrix.shape))
    start = result + 0.3 * rng.standard_normal(matrix.shape)
    found = optimize.minimize(lambda x: cost(x.reshape(6, 4)), start.ravel(), method='Powell', options={'ftol': 1e-9})
    assert cost(result) <= found.fun + 1e-6


def test_gamma_shrinkage_is_stationary() -> None:
    """σ = σ_0 − τ·g'(σ) with g' by finite differences, and 0 only where the slope points there."""
    gamma, threshold = 0.5, 0.4
    sigma_0 = np.array([5.0, 2.0, 1.0, 0.2])
    sigma = shrink_gamma(sigma_0, threshold, gamma, sigma_0)

    def cost(x: np.ndarray) -> np.ndarray:
        return threshold * (1 + gamma) * x / (gamma + x) + (x - sigma_0) ** 2 / 2

    slope = (cost(sigma + 1e-6) - cost(np.maximum(sigma - 1e-6, 0))) / (1e-6 + np.minimum(sigma, 1e-6))
    positive = sigma > 0
    assert positive.tolist() == [True, True, True, False]
    np.testing.assert_allclose(slope[positive], 0, atol=2e-3)
    assert slope[3] > 0
