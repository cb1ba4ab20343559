"""A small data set with results of it, for the tests of the scoring command."""

import numpy as np
import pytest
from PIL import Image
from scipy import io as scipy_io

NAMES = ['a_1', 'a_2', 'b_1']
SIZES = {'a_1': (40, 60), 'a_2': (50, 50), 'b_1': (64, 48)}


def make_maps():
    """Score map and mask by name: one target each, found one pixel off."""
    rng = np.random.default_rng(0)
    maps = {}
    for name, (height, width) in SIZES.items():
        mask = np.zeros((height, width), dtype=bool)
        mask[10:14, 20:24] = True
        scores = np.where(np.roll(mask, 1, axis=1), 0.8, 0.1 * rng.random((height, width))).astype(np.float32)
        maps[name] = scores, mask
    return maps


@pytest.fixture
def workplace(tmp_path, monkeypatch):
    """A data set 'mini' (three test images) under data/, results of it under results/mini."""
    maps = make_maps()
    base = tmp_path / 'data' / 'mini' / 'test'
    results = tmp_path / 'results' / 'mini'
    for folder in (base / 'images', base / 'masks', results / 'mat', results / 'img'):
        folder.mkdir(parents=True)
    for name, (scores, mask) in maps.items():
        Image.fromarray(np.full(mask.shape, 90, np.uint8)).save(base / 'images' / f'{name}.png')
        Image.fromarray(mask.astype(np.uint8) * 255).save(base / 'masks' / f'{name}.png')
        scipy_io.savemat(results / 'mat' / f'{name}.mat', {'T': scores})
        Image.fromarray(np.rint(scores * 255).astype(np.uint8)).save(results / 'img' / f'{name}.png')
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('DRPCA_DATA', str(tmp_path / 'data'))
    return tmp_path
