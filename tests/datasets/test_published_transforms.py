"""The augmentations of the comparator networks' recipes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from drpca.datasets import GaussianBlur, RandomLongSide
from drpca.errors import UserError


def sample(seed: int = 0, shape: tuple[int, int] = (30, 60)) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    gt_mask = np.zeros(shape, dtype=bool)
    gt_mask[10:20, 20:40] = True
    return {'image': rng.random(shape, dtype=np.float32), 'gt_mask': gt_mask, 'rng': rng}


def test_long_side_keeps_proportions_and_the_target() -> None:
    sides = set()
    for seed in range(40):
        result = RandomLongSide(30, 120)(sample(seed))
        height, width = result['image'].shape
        assert result['gt_mask'].shape == (height, width)
        assert 30 <= width <= 120
        assert abs(height - width / 2) <= 0.5
        assert result['gt_mask'].mean() == pytest.approx(1 / 9, abs=0.03)
        sides.add(width)
    assert min(sides) < 45 < 105 < max(sides)


def test_blur_smooths_the_image_alone() -> None:
    before = sample()
    after = GaussianBlur(prob=1.0, max_sigma=2.0)(before | {'rng': np.random.default_rng(1)})
    assert after['image'].dtype == np.float32
    assert after['image'].std() < before['image'].std()
    assert after['image'].mean() == pytest.approx(before['image'].mean(), abs=0.02)
    assert after['gt_mask'] is before['gt_mask']
    assert GaussianBlur(prob=0.0)(before)['image'] is before['image']


def test_bad_arguments_are_refused() -> None:
    with pytest.raises(UserError, match='low <= high'):
        RandomLongSide(100, 50)
    with pytest.raises(UserError, match='prob in 0 to 1'):
        GaussianBlur(prob=1.5)
