"""SIRST V1 and NUDT-SIRST as published; skipped where they are not at hand."""

import numpy as np
import pytest

from drpca.datasets import InfraredDataset, open_split
from drpca.datasets.check import check_dataset
from drpca.datasets.leaks import find_leaks
from drpca.datasets.splits import find_dataset
from tests.support import shared_path


@pytest.fixture
def root():
    return shared_path('datasets')


@pytest.mark.parametrize(
    ('dataset', 'counts', 'scenes'),
    [
        ('SIRSTv1', {'train': 256, 'val': 85, 'trainval': 341, 'test': 86, 'all': 427}, []),
        ('NUDT-SIRST', {'train': 530, 'val': 133, 'trainval': 663, 'test': 664, 'all': 1327}, [9, 40]),
    ],
)
def test_checks_clean(root, dataset, counts, scenes):
    report = check_dataset(*find_dataset(dataset, root))
    assert report.problems == []
    assert {split: report.splits[split] for split in counts} == counts
    assert report.images == report.masks == counts['all']
    assert report.empty_masks == 0
    assert [len(finding.names) for finding in report.notes if finding.kind == 'near leak'] == scenes


def test_known_leaks_of_sirst_v1(root):
    half = open_split('SIRSTv1', 'train_half', root)
    assert len(half) == 213
    (leak,) = find_leaks(half, [open_split('SIRSTv1', name, root) for name in ('test', 'test_half')])
    assert (len(leak.names), leak.total) == (44, 86)


def test_all_of_sirst_v1_loads_at_256(root):
    dataset = InfraredDataset('SIRSTv1', 'all', root)
    assert len(dataset) == 427
    for index in range(len(dataset)):
        sample = dataset[index]
        assert sample['image'].shape == sample['gt_mask'].shape == (1, 256, 256)
        assert 0 <= sample['image'].min() < sample['image'].max() <= 1
    assert np.mean([dataset[i]['gt_mask'].sum() > 0 for i in range(len(dataset))]) > 0.99


@pytest.mark.slow
def test_swapped_masks_are_found(root, tmp_path):
    """Neighbours of NUDT-SIRST with each other's masks: of 80 masks as measured, and of the other 583 none."""
    folder = root / 'NUDT-SIRST/trainval'
    names = sorted(file.name for file in (folder / 'images').iterdir())
    (tmp_path / 'mine/masks').mkdir(parents=True)
    (tmp_path / 'mine/images').symlink_to(folder / 'images')
    swapped = {}
    for first, second in zip(names[::16][:40], names[1::16][:40]):
        swapped |= {first: second, second: first}
    for name in names:
        (tmp_path / 'mine/masks' / name).symlink_to(folder / 'masks' / swapped.get(name, name))
    found = [f.names for f in check_dataset(*find_dataset('mine', tmp_path)).problems if f.kind == 'foreign mask']
    assert {name for name, _ in found} <= {name.partition('.')[0] for name in swapped}
    assert len(found) >= 55
