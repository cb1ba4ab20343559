"""Spectral shrinkage: apply a function to the singular values of a matrix, fast.

The SVD of an m × n matrix A with m ≥ n follows from the eigendecomposition of its n × n Gram matrix:
AᵀA = V Σ² Vᵀ, and U f(Σ) Vᵀ = A V (f(Σ)/Σ) Vᵀ. Only the columns with f(σ) > 0 are multiplied. Singular values
below about 1e-8 of the largest are lost to rounding (in float64), far below any threshold of the methods here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
import torch
from scipy import linalg

SVD = Literal['gram', 'full']
Shrink = Callable[[np.ndarray], np.ndarray]


def singular_values(matrix: np.ndarray, svd: SVD = 'gram') -> np.ndarray:
    """Singular values, (min(m, n),), descending.

    Args:
        matrix: (m, n) float64.
        svd: 'gram': from the Gram matrix. 'full': by LAPACK's SVD.
    """
    if svd == 'full':
        return np.linalg.svd(matrix, compute_uv=False)
    tall = matrix if matrix.shape[0] >= matrix.shape[1] else matrix.T
    return np.sqrt(np.maximum(np.linalg.eigvalsh(tall.T @ tall)[::-1], 0))


def map_singular_values(
    matrix: np.ndarray, shrink: Shrink, svd: SVD = 'gram', device: str = 'cpu', expected_rank: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """U f(Σ) Vᵀ for matrix = U Σ Vᵀ.

    Args:
        matrix: (m, n) float64.
        shrink: f, takes singular values in descending order and returns as many; not increasing, at least 0,
            and 0 where σ is. It may be called on the largest few alone.
        svd: 'gram': eigendecomposition of the Gram matrix. 'full': LAPACK's SVD.
        device: Torch device that does the work, for example 'cuda'.
        expected_rank: A guess of the number of positive f(σ), such as the last iteration's. If it is small,
            only about so many eigenvectors are computed first; a wrong guess costs time, not accuracy.

    Returns:
        The new matrix, (m, n), and its positive singular values, descending.
    """
    if device != 'cpu':
        return _map_on_device(matrix, shrink, svd, device)
    if svd == 'full':
        u, sigma, vt = np.linalg.svd(matrix, full_matrices=False)
        shrunk = shrink(sigma)
        rank = np.count_nonzero(shrunk)
        return (u[:, :rank] * shrunk[:rank]) @ vt[:rank], shrunk[:rank]
    if matrix.shape[0] < matrix.shape[1]:
        mapped, shrunk = map_singular_values(matrix.T, shrink, expected_rank=expected_rank)
        return mapped.T, shrunk
    gram = matrix.T @ matrix
    side = len(gram)
    if expected_rank is not None and expected_rank + _SPARE < side // 4:
        sigma, right = _largest(gram, expected_rank + _SPARE)
        shrunk = shrink(sigma)
        if shrunk[-1] == 0:
            return project(matrix, sigma, shrunk, right)
    eigenvalues, right = linalg.eigh(gram, driver='evd', overwrite_a=True, check_finite=False)
    sigma = np.sqrt(np.maximum(eigenvalues[::-1], 0))
    return project(matrix, sigma, shrink(sigma), right[:, ::-1])


_SPARE = 8


def _largest(gram: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The ``count`` largest singular values, descending, and right singular vectors (n, count)."""
    side = len(gram)
    eigenvalues, vectors = linalg.eigh(gram, driver='evr', subset_by_index=(side - count, side - 1), check_finite=False)
    return np.sqrt(np.maximum(eigenvalues[::-1], 0)), vectors[:, ::-1]


def large_part(
    matrix: np.ndarray, threshold: float, start: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """Singular values above a threshold by subspace iteration, where it is certain that none is missing.

    It is when what the subspace leaves out has a Frobenius norm below the threshold; vectors are exact to 1e-12.

    Args:
        matrix: (m, n).
        threshold: τ > 0.
        start: (n, k), what the right singular vectors may be near to, of full rank.

    Returns:
        Values (r,), descending, and right vectors (n, r), all above τ; and a start for a similar matrix; or None.
    """
    total, found = float(np.vdot(matrix, matrix)), start
    for _ in range(_PASSES):
        basis, _ = np.linalg.qr(found)
        product = matrix @ basis
        found = matrix.T @ product
        eigenvalues, turn = np.linalg.eigh(product.T @ product)
        if total - eigenvalues.sum() > threshold**2:
            continue
        rank = int(np.count_nonzero(eigenvalues > threshold**2))
        kept, turn = eigenvalues[::-1][:rank], turn[:, ::-1][:, :rank]
        right = basis @ turn
        if rank == 0 or np.abs(found @ turn - right * kept).max() < 1e-12 * kept[-1]:
            return np.sqrt(kept), right, found
    return None


_PASSES = 8


def project(
    matrix: np.ndarray, sigma: np.ndarray, shrunk: np.ndarray, right: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """A V (f(Σ)/Σ) Vᵀ, multiplied in the cheaper order."""
    rows, columns = matrix.shape
    rank = np.count_nonzero(shrunk)
    shrunk = shrunk[:rank]
    scaled = right[:, :rank] * np.sqrt(shrunk / sigma[:rank])
    if 2 * rows * rank <= columns * (rows + rank):
        return (matrix @ scaled) @ scaled.T, shrunk
    factor = scaled @ scaled.T
    # Of a wide matrix this is the transpose; the result then lies in memory as the matrix does.
    return (factor @ matrix.T).T if matrix.flags.f_contiguous else matrix @ factor, shrunk


def _map_on_device(matrix: np.ndarray, shrink: Shrink, svd: SVD, device: str) -> tuple[np.ndarray, np.ndarray]:
    """The same by torch."""
    a = torch.from_numpy(np.ascontiguousarray(matrix)).to(device)
    wide = a.shape[0] < a.shape[1]
    a = a.T if wide else a
    if svd == 'full':
        _, sigma, vt = torch.linalg.svd(a, full_matrices=False)
        right = vt.T
    else:
        eigenvalues, vectors = torch.linalg.eigh(a.T @ a)
        sigma, right = eigenvalues.flip(0).clamp_min(0).sqrt(), vectors.flip(1)
    values = sigma.cpu().numpy()
    shrunk = shrink(values)
    rank = np.count_nonzero(shrunk)
    factors = torch.from_numpy(shrunk[:rank] / values[:rank]).to(device)
    mapped = (a @ (right[:, :rank] * factors)) @ right[:, :rank].T
    return (mapped.T if wide else mapped).cpu().numpy(), shrunk[:rank]
