"""Fast spectral maps against LAPACK's SVD."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from scipy import linalg

from drpca.baselines.proximal import shrink_tail
from drpca.baselines.svd import map_singular_values, singular_values
from drpca.baselines.tensor import from_slices, map_tensor_singular_values, to_slices

rng = np.random.default_rng(3)


def low_rank(rows: int, columns: int, rank: int) -> np.ndarray:
    noise = 0.01 * rng.standard_normal((rows, columns))
    return rng.standard_normal((rows, rank)) @ rng.standard_normal((rank, columns)) + noise


@pytest.mark.parametrize('shape', [(60, 40), (40, 60), (300, 20), (50, 50), (5, 1)])
@pytest.mark.parametrize('threshold', [0.5, 2.0, 1e6])
def test_gram_equals_full_svd(shape: tuple[int, int], threshold: float) -> None:
    matrix = low_rank(*shape, 3)
    shrink = partial(shrink_tail, threshold=threshold, keep=1)
    fast, fast_sigma = map_singular_values(matrix, shrink)
    full, full_sigma = map_singular_values(matrix, shrink, svd='full')
    np.testing.assert_allclose(fast, full, atol=1e-9)
    np.testing.assert_allclose(fast_sigma, full_sigma, rtol=1e-9)
    np.testing.assert_allclose(singular_values(matrix), np.linalg.svd(matrix, compute_uv=False), atol=1e-6)


@pytest.mark.parametrize('expected_rank', [0, 1, 3, 10, 1000])
@pytest.mark.parametrize('rank', [1, 3, 25])
def test_a_wrong_guess_of_the_rank_changes_nothing(expected_rank: int, rank: int) -> None:
    matrix = low_rank(150, 80, rank)
    shrink = partial(shrink_tail, threshold=1.0, keep=0)
    full, sigma = map_singular_values(matrix, shrink, svd='full')
    guessed, guessed_sigma = map_singular_values(matrix, shrink, expected_rank=expected_rank)
    assert len(sigma) == len(guessed_sigma) == rank
    np.testing.assert_allclose(guessed, full, atol=1e-9)


@pytest.mark.parametrize('svd', ['gram', 'full'])
@pytest.mark.parametrize('shape', [(30, 12), (12, 30)])
def test_torch_device_agrees(svd: str, shape: tuple[int, int]) -> None:
    matrix = low_rank(*shape, 3)
    shrink = partial(shrink_tail, threshold=0.7, keep=0)
    expected, sigma = map_singular_values(matrix, shrink)
    on_device, device_sigma = map_singular_values(matrix, shrink, svd, device='cpu:0')
    np.testing.assert_allclose(on_device, expected, atol=1e-9)
    np.testing.assert_allclose(device_sigma, sigma, rtol=1e-9)


def test_everything_shrunk_away() -> None:
    matrix, sigma = map_singular_values(np.ones((4, 3)), lambda s: 0 * s)
    assert len(sigma) == 0
    np.testing.assert_array_equal(matrix, np.zeros((4, 3)))


@pytest.mark.parametrize('depth', [6, 7])
def test_tensor_map_against_one_svd_per_slice(depth: int) -> None:
    tensor = rng.standard_normal((5, 4, depth))
    np.testing.assert_allclose(from_slices(to_slices(tensor), depth), tensor, atol=1e-12)
    mapped, _ = map_tensor_singular_values(tensor, lambda s: np.maximum(s - 1, 0))
    slices = np.fft.fft(tensor, axis=2)
    for k in range(depth):
        u, s, vh = linalg.svd(slices[:, :, k], full_matrices=False)
        slices[:, :, k] = (u * np.maximum(s - 1, 0)) @ vh
    np.testing.assert_allclose(mapped, np.fft.ifft(slices, axis=2).real, atol=1e-10)
