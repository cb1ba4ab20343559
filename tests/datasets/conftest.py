"""Small data set trees, made on the spot."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from tests.datasets.data_trees import frame, save, target_mask

WritePairs = Callable[..., None]


@pytest.fixture
def write_pairs() -> WritePairs:
    """``write_pairs(images, masks, names, ending='', suffix='.png')`` writes an image and a mask a name."""

    def write(images: Path, masks: Path, names: Iterable[str], ending: str = '', suffix: str = '.png') -> None:
        for name in names:
            save(frame(name), images / f'{name}{suffix}')
            save(target_mask(name), masks / f'{name}{ending}.png')

    return write


@pytest.fixture
def plain_root(tmp_path: Path, write_pairs: WritePairs) -> Path:
    """Data root with 'mine': 20 images without lists."""
    write_pairs(tmp_path / 'mine/images', tmp_path / 'mine/masks', [f'f{i:02d}' for i in range(20)])
    return tmp_path


@pytest.fixture
def two_part_root(tmp_path: Path, write_pairs: WritePairs) -> Path:
    """Data root with 'NUDT-SIRST': 10 + 4 images."""
    for part, names in (('trainval', range(10)), ('test', range(10, 14))):
        folder = tmp_path / 'NUDT-SIRST' / part
        write_pairs(folder / 'images', folder / 'masks', [f'{i:06d}' for i in names])
    return tmp_path


@pytest.fixture
def kit_root(tmp_path: Path, write_pairs: WritePairs) -> Path:
    """Data root with a SIRST kit: 6 / 2 / 2 images by lists ``*_v1``, and a half-and-half pair."""
    root = tmp_path / 'SIRSTdevkit-master'
    names = [f'Misc_{i}' for i in range(1, 11)]
    write_pairs(root / 'PNGImages', root / 'SIRST/BinaryMask', names, ending='_pixels0')
    first = {'train_v1': names[:6], 'val_v1': names[6:8], 'trainval_v1': names[:8], 'test_v1': names[8:]}
    splits = {**first, 'train_half': names[5:], 'test_half': names[:5]}
    (root / 'Splits').mkdir()
    for split, members in splits.items():
        (root / 'Splits' / f'{split}.txt').write_text('\n'.join(members))
    return tmp_path
