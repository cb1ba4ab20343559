"""Patches of an image and the way back."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drpca.baselines.patches import PatchGrid, positions

sides = st.integers(7, 40)


def noise(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape)


@given(height=sides, width=sides, patch=st.integers(1, 7), data=st.data())
@settings(max_examples=60, deadline=None)
def test_image_of_patches_is_the_image(height: int, width: int, patch: int, data: st.DataObject) -> None:
    step = data.draw(st.integers(1, patch))
    image = noise((height, width))
    grid = PatchGrid(image.shape, patch, step)
    assert grid.counts.min() >= 1
    for aggregation in ('mean', 'median', 'last'):
        np.testing.assert_allclose(grid.image(grid.matrix(image), aggregation), image, atol=1e-12)
        np.testing.assert_allclose(grid.image(grid.patches(image), aggregation), image, atol=1e-12)


def test_columns_run_down_then_right() -> None:
    image = np.arange(48.0).reshape(6, 8)
    grid = PatchGrid(image.shape, 4, 2)
    assert grid.corners == [(0, 0), (2, 0), (0, 2), (2, 2), (0, 4), (2, 4)]
    np.testing.assert_array_equal(grid.patches(image)[:, :, 1], image[2:6, :4])
    np.testing.assert_array_equal(grid.matrix(image)[:, 1], image[2:6, :4].ravel())


@pytest.mark.parametrize(
    ('length', 'coverage', 'expected'),
    [(25, 'flush', [0, 10, 15]), (25, 'fitting', [0, 10]), (25, 'inside', [0, 10]), (30, 'flush', [0, 10, 20]),
     (30, 'fitting', [0, 10, 20]), (30, 'inside', [0, 10]), (10, 'flush', [0]), (10, 'inside', [0])],
)  # fmt: skip
def test_positions(length: int, coverage: str, expected: list[int]) -> None:
    assert positions(length, 10, 10, coverage) == expected


def test_median_against_numpy() -> None:
    grid = PatchGrid((9, 11), 4, 2)
    stack = noise((4, 4, len(grid)))
    values: dict[tuple[int, int], list[float]] = {}
    for index, (row, column) in enumerate(grid.corners):
        for y in range(4):
            for x in range(4):
                values.setdefault((row + y, column + x), []).append(stack[y, x, index])
    image = grid.image(stack, 'median')
    assert len(values) == image.size
    for pixel, covering in values.items():
        assert image[pixel] == pytest.approx(np.median(covering))


def test_mean_without_last_loses_singly_covered_pixels() -> None:
    grid = PatchGrid((4, 6), 4, 2)
    image = grid.image(np.stack([np.full((4, 4), 2.0), np.full((4, 4), 5.0)], axis=-1), 'mean_without_last')
    np.testing.assert_array_equal(image[0], [0, 0, 1, 1, 0, 0])


def test_uncovered_pixels_are_zero() -> None:
    grid = PatchGrid((9, 9), 4, 4, 'inside')
    image = grid.image(grid.matrix(np.ones((9, 9))))
    assert image[:8, :8].min() == 1
    assert image[8].max() == image[:, 8].max() == 0
