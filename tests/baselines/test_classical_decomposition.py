"""The optimisation-based methods as decompositions."""

from __future__ import annotations

import numpy as np
import pytest

from drpca.baselines.proximal import nonnegative_soft_threshold
from drpca.baselines.rpca import admm
from drpca.errors import UserError
from drpca.registry import BASELINES

RPCA = ('IPI', 'PSTNN', 'NRAM', 'NOLC', 'NIPPS')
FILTERS = ('TopHat', 'MaxMedian', 'MPCM', 'HBMLCM', 'NWMTH', 'FKRW', 'TLLCM')
PRESETS = [(name, preset) for name in RPCA for preset in ('paper', 'leaderboard')]
SPOT = (40, 52)


def scene(height: int = 130, width: int = 140) -> np.ndarray:
    """Smooth background of low rank, slight noise, one bright spot; uint8."""
    rows, columns = np.mgrid[:height, :width]
    frame = 90 + 30 * np.sin(rows / 25) + 20 * np.cos(columns / 30)
    frame += np.random.default_rng(0).normal(0, 1, frame.shape)
    frame += 120 * np.exp(-((rows - SPOT[0]) ** 2 + (columns - SPOT[1]) ** 2) / 2)
    return np.clip(frame, 0, 255).astype(np.uint8)


@pytest.mark.parametrize(('name', 'preset'), PRESETS)
def test_parts_add_up_and_the_target_is_found(name: str, preset: str) -> None:
    image = scene()
    parts = BASELINES.build({'type': name, 'preset': preset}).decompose(image, trace=True)
    residual = parts.trace[-1].residual
    assert parts.background.shape == parts.target.shape == image.shape
    assert parts.background.dtype == parts.target.dtype == np.float32
    assert (parts.noise is not None) == (name == 'NRAM')
    error = np.linalg.norm(parts.reconstruction - image / 255) / np.linalg.norm(image / 255)
    assert error < max(1.5 * residual, 1e-6)
    assert np.unravel_index(parts.target.argmax(), image.shape) == SPOT
    assert 0.25 < parts.target.max() < 0.6, 'the spot is 120 grey levels above its surroundings'
    assert parts.background[SPOT] == pytest.approx(image[SPOT] / 255 - parts.target[SPOT], abs=0.1)


@pytest.mark.parametrize(('name', 'preset'), PRESETS)
def test_trace(name: str, preset: str) -> None:
    baseline = BASELINES.build({'type': name, 'preset': preset})
    plain = baseline.decompose(scene())
    traced = baseline.decompose(scene(), trace=True)
    assert plain.trace is None
    np.testing.assert_array_equal(plain.target, traced.target)
    assert 1 <= len(traced.trace) < 500
    assert traced.trace[-1].residual < traced.trace[0].residual
    for record in traced.trace:
        assert np.isfinite([record.residual, record.objective]).all()
        assert record.rank >= 0
    assert traced.trace[-1].rank > 0
    assert traced.trace[-1].nonzeros > 0


@pytest.mark.parametrize('name', ['IPI', 'NRAM', 'NOLC', 'NIPPS'])
def test_fast_svd_gives_the_same_map(name: str) -> None:
    image = scene()
    fast = BASELINES.build({'type': name}).scores(image)
    full = BASELINES.build({'type': name, 'svd': 'full'}).scores(image)
    np.testing.assert_allclose(fast, full, atol=1e-5)
    assert np.array_equal(fast > 0.5, full > 0.5)


def test_low_rank_plus_sparse_is_recovered() -> None:
    """Both solvers with T >= 0 find the support exactly (Candès et al., J. ACM 58(3), 2011)."""
    rng = np.random.default_rng(0)
    background = rng.standard_normal((80, 3)) @ rng.standard_normal((3, 60))
    target = np.where(rng.random(background.shape) < 0.05, rng.uniform(5, 10, background.shape), 0)
    weight = 1 / 80**0.5
    shrink, cost = (lambda a, rho: nonnegative_soft_threshold(a, weight / rho), lambda t: weight * float(t.sum()))
    by_admm = admm(background + target, shrink, cost, False, 'gram', 'cpu', None)
    nipps = BASELINES.build({'type': 'NIPPS', 'weight': 0.9, 'energy_ratio': 0.9})
    by_nipps = nipps.solve(background + target, np.zeros((9, 9)), None)
    for parts, tolerance in ((by_admm, 0.1), (by_nipps, 1e-5)):
        np.testing.assert_array_equal(parts.target > 2.5, target > 0)
        assert np.linalg.norm(parts.background - background) < tolerance * np.linalg.norm(background)
        assert np.linalg.norm(parts.target - target) < tolerance * np.linalg.norm(target)


def test_ipi_apg_recovers_low_rank_plus_sparse() -> None:
    """Up to the bias of its relaxed problem."""
    rng = np.random.default_rng(0)
    background = rng.random((80, 2)) @ rng.random((2, 60))
    target = np.where(rng.random(background.shape) < 0.03, 1.5, 0)
    ipi = BASELINES.build({'type': 'IPI', 'preset': 'paper'})
    parts = ipi.solve(background + target, np.zeros((80, 60)), None)
    np.testing.assert_array_equal(parts.target > 0.75, target > 0)
    assert np.linalg.norm(parts.background - background) < 0.1 * np.linalg.norm(background)
    assert np.linalg.norm(parts.target - target) < 0.2 * np.linalg.norm(target)


@pytest.mark.parametrize('name', FILTERS)
def test_filters_have_no_decomposition(name: str) -> None:
    with pytest.raises(UserError, match=f'{name} is a filter'):
        BASELINES.build({'type': name}).decompose(scene())


@pytest.mark.parametrize('name', RPCA)
def test_constant_image_is_all_background(name: str) -> None:
    parts = BASELINES.build({'type': name}).decompose(np.full((70, 70), 51, np.uint8), trace=True)
    np.testing.assert_allclose(parts.background, 0.2, atol=1e-6)
    assert parts.target.max() == 0
    assert parts.trace == []


@pytest.mark.parametrize('name', ['IPI', 'NOLC'])
def test_pixels_without_patch_are_background(name: str) -> None:
    image = scene(95, 97)
    parts = BASELINES.build({'type': name}).decompose(image)
    np.testing.assert_allclose(parts.background[90:], image[90:] / 255, atol=1e-6)
    assert parts.target[90:].max() == 0
