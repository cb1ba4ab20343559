import multiprocessing
from unittest import mock

import mmengine.dataset
import numpy as np
import pytest
import torch
from mmengine.runner import Runner
from torch.utils.data import DataLoader, default_collate

from drpca.datasets import InfraredDataset, SeededSampler
from drpca.datasets import io as dataset_io
from drpca.datasets.io import resize_image, resize_mask
from drpca.errors import UserError
from drpca.registry import DATA_SAMPLERS, DATASETS
from tests.datasets.data_trees import frame, save, target_mask

AUGMENT = [
    {'type': 'ScaleJitter'}, {'type': 'RandomCrop', 'size': 16}, {'type': 'RandomFlip'}, {'type': 'RandomRotate90'},
    {'type': 'NoiseJitter'}, {'type': 'TargetCopyPaste', 'prob': 1.0},
]  # fmt: skip


def build(root, **options):
    return InfraredDataset(**{'dataset': 'mine', 'split': 'all', 'data_root': root, 'size': 16} | options)


def test_sample(plain_root):
    sample = build(plain_root, size=(16, 20))[3]
    image = resize_image(frame('f03'), (16, 20))
    mask = resize_mask(target_mask('f03') > 0, (16, 20))
    assert sample['image'].dtype == sample['gt_mask'].dtype == torch.float32
    np.testing.assert_allclose(sample['image'][0].numpy(), image / 255, atol=1e-7)
    np.testing.assert_array_equal(sample['gt_mask'][0].numpy(), mask)
    assert [sample[key] for key in ('name', 'index', 'ori_height', 'ori_width')] == ['f03', 3, 24, 32]


def test_native_size_limit_and_negative_index(plain_root):
    dataset = build(plain_root, size=None, limit=5)
    assert len(dataset) == 5
    assert dataset[-1]['name'] == 'f04'
    assert dataset[0]['image'].shape == (1, 24, 32)
    with pytest.raises(IndexError):
        dataset[5]


@pytest.mark.parametrize('collate', [default_collate, mmengine.dataset.default_collate])
def test_both_collate_functions_make_batches(plain_root, collate):
    dataset = build(plain_root)
    batch = collate([dataset[0], dataset[1]])
    assert batch['image'].shape == batch['gt_mask'].shape == (2, 1, 16, 16)
    assert batch['name'] == ['f00', 'f01']
    assert batch['ori_width'].tolist() == [32, 32]


def test_every_file_is_decoded_once(plain_root):
    with mock.patch.object(dataset_io.cv2, 'imdecode', wraps=dataset_io.cv2.imdecode) as decode:
        dataset = build(plain_root, pipeline=AUGMENT)
        for _ in range(3):
            for index in range(len(dataset)):
                dataset[index]
        assert decode.call_count == 40
        uncached = build(plain_root, cache=False)
        assert decode.call_count == 40
        uncached[0], uncached[0]
        assert decode.call_count == 44


@pytest.mark.skipif('fork' not in multiprocessing.get_all_start_methods(), reason='needs fork')
def test_workers_decode_nothing(plain_root):
    dataset = build(plain_root)
    with mock.patch.object(dataset_io.cv2, 'imdecode', side_effect=AssertionError('decoded again')):
        loader = DataLoader(dataset, batch_size=4, num_workers=2, multiprocessing_context='fork')
        assert sum(len(batch['name']) for batch in loader) == 20


def batches(root, workers, epochs=2, **options):
    dataset = build(root, pipeline=AUGMENT, **options)
    options = {'batch_size': 3, 'num_workers': workers, 'worker_init_fn': np.random.seed}
    loader = DataLoader(dataset, sampler=SeededSampler(dataset, seed=7), **options)
    for epoch in range(epochs):
        loader.sampler.set_epoch(epoch)
        yield from loader


@pytest.mark.parametrize('workers', [1, 2])
@pytest.mark.parametrize('cache', [True, False])
def test_batches_do_not_depend_on_the_number_of_workers(plain_root, workers, cache):
    alone, shared = list(batches(plain_root, 0)), list(batches(plain_root, workers, cache=cache))
    assert len(alone) == len(shared) == 14
    for one, other in zip(alone, shared):
        assert one['name'] == other['name']
        assert torch.equal(one['image'], other['image'])
        assert torch.equal(one['gt_mask'], other['gt_mask'])
    assert [b['name'] for b in alone[:7]] != [b['name'] for b in alone[7:]]


def test_the_seed_of_a_sample_decides_alone(plain_root):
    dataset = build(plain_root, pipeline=AUGMENT)
    first, again, other = dataset[2, 5], dataset[2, 5], dataset[2, 6]
    assert torch.equal(first['image'], again['image'])
    assert not torch.equal(first['image'], other['image'])
    assert torch.equal(dataset[2]['image'], dataset[2, 2]['image'])
    assert torch.equal(dataset[-1]['image'], dataset[19]['image'])


def test_the_cache_survives_augmentation(plain_root):
    dataset, untouched = build(plain_root, pipeline=AUGMENT), build(plain_root)
    for seed in range(20):
        dataset[0, seed]
    dataset.pipeline = []
    for index in range(len(dataset)):
        assert torch.equal(dataset[index]['image'], untouched[index]['image'])
        assert torch.equal(dataset[index]['gt_mask'], untouched[index]['gt_mask'])


def test_16_bit_images_and_images_without_target(tmp_path):
    deep = (frame('a').astype(np.uint16) + 1000) * 3
    save(deep, tmp_path / 'mine/images/a.png')
    save(np.zeros((24, 32), np.uint8), tmp_path / 'mine/masks/a.png')
    sample = build(tmp_path, size=None, pipeline=AUGMENT[1:])[0]
    assert sample['gt_mask'].sum() == 0
    rules = ('minmax', 'full')
    stretched, full = (build(tmp_path, size=None, range=rule)[0]['image'] for rule in rules)
    assert (stretched.min(), stretched.max()) == (0, 1)
    np.testing.assert_allclose(full[0].numpy(), deep / 65535, rtol=1e-6)
    deep[3, 3] = 65535
    save(deep, tmp_path / 'mine/images/a.png')
    with pytest.warns(UserWarning, match='a: 1 isolated pixels'):
        spared = build(tmp_path, size=None)[0]['image']
    repaired = build(tmp_path, size=None, bad_pixels=True)[0]['image']
    others = np.ones(deep.shape, bool)
    others[3, 3] = False
    for image in (spared[0].numpy(), repaired[0].numpy()):
        np.testing.assert_allclose(image[others], stretched[0].numpy()[others], atol=0.02)


def test_bad_input(plain_root):
    with pytest.raises(UserError, match='limit must be above 0, got 0'):
        build(plain_root, limit=0)
    for size in (0, (3,), (16, -1)):
        with pytest.raises(UserError, match='size must be'):
            build(plain_root, size=size)
    with pytest.raises(UserError, match=r"Unknown transform 'RandomFlop'\. Did you mean 'RandomFlip'"):
        build(plain_root, pipeline=[{'type': 'RandomFlop'}])
    save(frame('f04', (30, 30)), plain_root / 'mine/images/f04.png')
    with pytest.raises(UserError, match=r'f04\.png is 24 × 32, its image 30 × 30'):
        build(plain_root, size=None)
    (plain_root / 'mine/images/f04.png').write_bytes(b'')
    with pytest.raises(UserError, match=r'f04\.png: the file is empty'):
        build(plain_root)


def test_registry_and_mmengine_data_loader(plain_root):
    source = {'type': 'InfraredDataset', 'dataset': 'mine', 'split': 'train', 'data_root': str(plain_root)}
    dataset = DATASETS.build({**source, 'size': 16})
    sampler = DATA_SAMPLERS.build({'type': 'SeededSampler', 'shuffle': True, 'dataset': dataset, 'seed': 3})
    config = {'dataset': dataset, 'sampler': sampler, 'collate_fn': {'type': 'default_collate'}}
    loader = Runner.build_dataloader({**config, 'batch_size': 4, 'num_workers': 0}, seed=3)
    assert sum(len(batch['image']) for batch in loader) == 12
    info = loader.dataset.metainfo
    assert (info['dataset'], info['split'], info['size']) == ('mine', 'train', (16, 16))


class Takers(list):
    takes_seeds = True

    def __init__(self, count):
        super().__init__(range(count))


def ranks(count, world_size, **options):
    for rank in range(world_size):
        with mock.patch('drpca.datasets.samplers.get_dist_info', return_value=(rank, world_size)):
            yield SeededSampler(Takers(count), seed=5, **options)


def test_sampler_orders():
    sampler = SeededSampler(Takers(6), seed=1)
    first = list(sampler)
    assert sorted(index for index, _ in first) == list(range(6))
    assert list(sampler) == first
    sampler.set_epoch(1)
    second = list(sampler)
    assert [i for i, _ in second] != [i for i, _ in first]
    assert not set(second) & set(first)
    assert len({seed for _, seed in first + second}) == 12
    assert [i for i, _ in SeededSampler(Takers(6), shuffle=False, seed=1)] == list(range(6))
    assert list(SeededSampler(Takers(6), seed=2)) != first
    plain = list(SeededSampler(range(6), seed=1))
    assert plain == [index for index, _ in first], 'of a data set that takes no seeds'


@pytest.mark.parametrize('count', [1, 7, 8])
@pytest.mark.parametrize('round_up', [True, False])
def test_sampler_in_several_processes(count, round_up):
    whole = list(SeededSampler(Takers(count), seed=5))
    parts = [list(s) for s in ranks(count, 3, round_up=round_up)]
    assert [len(part) for part in parts] == [len(s) for s in ranks(count, 3, round_up=round_up)]
    merged = [part[k] for k in range(max(map(len, parts))) for part in parts if k < len(part)]
    assert merged[:count] == whole
    if round_up:
        assert len({len(part) for part in parts}) == 1
        assert set(merged) == set(whole)
    else:
        assert len(merged) == count
