"""Shrinkage operators: prox_{τg}(a) = argmin_x τ·g(x) + ½(x − a)², elementwise unless stated.

Where the variable is a target, which is brighter than its surroundings, x ≥ 0 is part of the problem.
"""

from __future__ import annotations

import numpy as np


def soft_threshold(values: np.ndarray, threshold: float | np.ndarray) -> np.ndarray:
    """g(x) = |x|: sign(a)·max(|a| − τ, 0); shape of ``values``, ``threshold`` broadcasts."""
    return values - np.clip(values, -threshold, threshold)


def nonnegative_soft_threshold(values: np.ndarray, threshold: float | np.ndarray) -> np.ndarray:
    """g(x) = x with x ≥ 0: max(a − τ, 0); shape of ``values``, ``threshold`` broadcasts."""
    return np.maximum(values - threshold, 0)


def lp_threshold(values: np.ndarray, threshold: float, p: float) -> np.ndarray:
    """g(x) = xᵖ with x ≥ 0 and 0 < p < 1 (Zhang et al., Remote Sensing 11(5):559, 2019).

    Below v + τp·v^{p−1}, v = (τp(1 − p))^{1/(2−p)}, the only minimum is at 0. Above it Newton's method from
    x = a finds the other one, which is kept unless the objective is lower at 0.

    Args:
        values: Any shape; negative entries become 0.
        threshold: τ > 0.
        p: In (0, 1).
    """
    inflection = (threshold * p * (1 - p)) ** (1 / (2 - p))
    above = values > inflection + threshold * p * inflection ** (p - 1)
    a = values[above]
    x = a.copy()
    for _ in range(_NEWTON_STEPS):
        slope = x - a + threshold * p * x ** (p - 1)
        step = slope / (1 + threshold * p * (p - 1) * x ** (p - 2))
        x -= step
        if np.abs(step).max(initial=0) < _NEWTON_TOLERANCE:
            break
    better = (x - a) ** 2 / 2 + threshold * x**p <= a**2 / 2
    result = np.zeros_like(values)
    result[above] = np.where(better, x, 0)
    return result


_NEWTON_STEPS = 50
_NEWTON_TOLERANCE = 1e-7


def shrink_columns(matrix: np.ndarray, threshold: float) -> np.ndarray:
    """g(X) = ‖X‖_{2,1}, the sum of the columns' norms: each column loses τ of its length; (m, n)."""
    norms = np.linalg.norm(matrix, axis=0)
    factors = np.maximum(norms - threshold, 0) / np.where(norms > 0, norms, 1)
    return matrix * factors


def shrink_tail(sigma: np.ndarray, threshold: float, keep: int) -> np.ndarray:
    """g = sum of all but the ``keep`` largest entries of a descending non-negative vector (last axis):
    the first ``keep`` stay, the rest is soft-thresholded. The partial sum of singular values; ``keep`` = 0
    gives the nuclear norm."""
    shrunk = np.maximum(sigma - threshold, 0)
    shrunk[..., :keep] = sigma[..., :keep]
    return shrunk


def shrink_gamma(sigma: np.ndarray, threshold: float, gamma: float, start: np.ndarray) -> np.ndarray:
    """g(x) = Σ (1 + γ)x/(γ + x), the γ-norm (Zhang et al., Remote Sensing 10(11):1821, 2018), linearised.

    Fixed point of σ ← max(σ_0 − τ(1 + γ)γ/(γ + σ)², 0), at most 100 steps, until Σ(Δσ)² < 1e-6.

    Args:
        sigma: σ_0, (k,) at least 0.
        threshold: τ.
        gamma: γ.
        start: First σ, (k,) or longer; the function is not convex, so the result depends on it.
    """
    x = start[: len(sigma)]
    for _ in range(100):
        previous, x = x, np.maximum(sigma - threshold * (1 + gamma) * gamma / (gamma + x) ** 2, 0)
        if np.sum((x - previous) ** 2) < 1e-6:
            break
    return x
