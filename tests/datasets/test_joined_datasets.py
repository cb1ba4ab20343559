"""Data sets joined: the union's images, each normalised as of its own set, judged apart and together."""

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from drpca.datasets import InfraredDataset, SeededSampler, find_leaks, open_split
from drpca.datasets.device_loader import DeviceLoader
from drpca.datasets.splits import open_joined
from drpca.errors import UserError
from drpca.evaluation import TargetMetric
from drpca.registry import DATASETS

NORMALISATION = {'SIRSTv1': {'mean': 0.4, 'std': 0.1}, 'NUDT-SIRST': {'mean': 0.5, 'std': 0.2}}
AUGMENT = [{'type': 'TargetCopyPaste', 'prob': 1.0}, {'type': 'RandomCrop', 'size': 16}]
AUGMENT += [{'type': 'RandomFlip'}]


@pytest.fixture
def root(kit_root, two_part_root):
    """SIRSTv1 (6 train / 2 val / 2 test) and NUDT-SIRST (8 / 2 / 4) under one data root."""
    assert kit_root == two_part_root
    return kit_root


def build(root, **options):
    both = {'dataset': 'SIRSTv1+NUDT-SIRST', 'split': 'train', 'data_root': root, 'size': 24}
    return InfraredDataset(**both | options)


def test_the_union_holds_the_images_of_each(root):
    joined = open_joined('nuaa_sirst + NUDT', 'train', root)
    parts = [open_split(name, 'train', root) for name in ('SIRSTv1', 'NUDT-SIRST')]
    assert joined.dataset == 'SIRSTv1+NUDT-SIRST'
    assert joined.parts == tuple(parts)
    assert joined.names == [f'{part.dataset}/{name}' for part in parts for name in part.names]
    last = parts[1].read_image(parts[1].names[-1])
    np.testing.assert_array_equal(joined.read_image(joined.names[-1]), last)
    np.testing.assert_array_equal(joined.read_mask(joined.names[0]), parts[0].read_mask(parts[0].names[0]))
    assert open_joined(['SIRSTv1', 'NUDT-SIRST'], 'train', root) == joined
    assert open_joined('SIRSTv1', 'test', root) == open_split('SIRSTv1', 'test', root)
    assert len(build(root)) == len(joined) == 14
    assert build(root).metainfo['dataset'] == 'SIRSTv1+NUDT-SIRST'


@pytest.mark.parametrize(
    ('dataset', 'split', 'message'),
    [
        ('SIRSTv1+NUDT-SIRTS', 'train', "Unknown data set 'NUDT-SIRTS'.*Did you mean 'NUDT-SIRST'"),
        ('SIRSTv1+nuaa_sirst', 'train', 'names SIRSTv1 twice'),
        ('SIRSTv1+', 'train', r'joined by \+'),
        ([], 'train', r'joined by \+'),
        ('SIRSTv1+NUDT-SIRST', 'train_half', "NUDT-SIRST.* has no split 'train_half'"),
    ],
)
def test_wrong_names(root, dataset, split, message):
    with pytest.raises(UserError, match=message):
        open_joined(dataset, split, root)


def test_where_one_data_set_is_expected_a_joined_name_is_refused(root):
    with pytest.raises(UserError, match='joins data sets, which is for training: name one of them'):
        open_split('SIRSTv1+NUDT-SIRST', 'test', root)


def test_a_folder_may_have_a_plus_in_its_name(plain_root):
    (plain_root / 'mine').rename(plain_root / 'sky+sea')
    assert open_joined('sky+sea', 'all', plain_root).names[0] == 'f00'


def test_each_image_is_normalised_as_of_its_own_data_set(root):
    """What a network sees behind (x − mean) / std of the first data set."""
    dataset = build(root, normalisation=NORMALISATION)
    mean, std = NORMALISATION['SIRSTv1'].values()
    for name, (own_mean, own_std) in {k: tuple(v.values()) for k, v in NORMALISATION.items()}.items():
        alone = build(root, dataset=name)
        positions = [i for i, image in enumerate(dataset.names) if image.startswith(name)]
        assert len(positions) == len(alone)
        for position, sample in zip(positions, alone):
            seen = (dataset[position]['image'] - mean) / std
            torch.testing.assert_close(seen, (sample['image'] - own_mean) / own_std, rtol=1e-5, atol=1e-6)
    lone = build(root, dataset='NUDT-SIRST', normalisation=NORMALISATION)[0]['image']
    torch.testing.assert_close(lone, dataset[6]['image'])
    assert build(root, dataset='SIRSTv1', normalisation=NORMALISATION).levels is None


@pytest.mark.parametrize('pipeline', [[], AUGMENT])
def test_images_on_the_device_are_the_same(root, pipeline):
    dataset = build(root, normalisation=NORMALISATION, pipeline=pipeline)

    def batches(kind):
        sampler = SeededSampler(dataset, seed=1)
        loader = DataLoader(dataset, batch_size=4, sampler=sampler)
        return list(kind(loader))

    ordinary = batches(lambda loader: loader)
    device = batches(lambda loader: DeviceLoader(loader, 'cpu'))
    assert [batch['name'] for batch in device] == [batch['name'] for batch in ordinary]
    if not pipeline:
        assert all(torch.equal(a['image'], b['image']) for a, b in zip(device, ordinary))
    else:
        levels = torch.cat([batch['image'].mean(dim=(1, 2, 3)) for batch in device])
        nudt = torch.tensor([name.startswith('NUDT') for batch in device for name in batch['name']])
        # Noise around 0.5 becomes 0.4 + (0.5 − 0.5) · 0.1 / 0.2 where the mean of the set is 0.5.
        assert levels[nudt].mean() == pytest.approx(0.4, abs=0.02)
        assert levels[~nudt].mean() == pytest.approx(0.5, abs=0.02)


def test_figures_are_of_each_data_set_and_of_the_union(root):
    metrics = {name: TargetMetric(['basicirstd', 'drpca']) for name in ('union', 'SIRSTv1', 'NUDT-SIRST')}
    metrics['union'].dataset_meta = build(root).metainfo
    rng = np.random.default_rng(0)
    for sample in build(root):
        scores = (sample['gt_mask'][0] * 0.9).numpy() * (rng.random((24, 24)) < 0.8)
        result = {'name': sample['name'], 'gt_mask': sample['gt_mask'][0] > 0, 'scores': scores}
        for name in ('union', sample['name'].partition('/')[0]):
            metrics[name].process(None, [result | ({} if name == 'union' else {'name': sample['index']})])
    union = metrics['union'].evaluate(14)
    for name, count in (('SIRSTv1', 6), ('NUDT-SIRST', 8)):
        alone = metrics[name].evaluate(count)
        assert {key: union[f'{name}/{key}'] for key in alone} == pytest.approx(alone, nan_ok=True)
    assert union['images'] == 14
    assert union['drpca/Pd'] > 0
    assert len(union) == 3 * len(alone)


def test_leaks_are_found_in_each_part(root):
    joined = open_joined(['NUDT-SIRST', 'SIRSTv1'], 'trainval', root)
    half = open_split('SIRSTv1', 'test_half', root)
    (leak,) = find_leaks(joined, [open_split('NUDT-SIRST', 'test', root), half], pixels=False)
    assert (leak.train, leak.test, len(leak.names)) == ('SIRSTv1 trainval', 'SIRSTv1 test_half', 5)


def test_the_registry_takes_a_list(root):
    both = {'dataset': ['SIRSTv1', 'NUDT-SIRST'], 'split': 'val', 'data_root': root}
    assert len(DATASETS.build({'type': 'InfraredDataset', **both})) == 4
