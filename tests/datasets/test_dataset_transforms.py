import sys
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from drpca.datasets import transforms
from drpca.errors import UserError
from drpca.registry import TRANSFORMS

OWN: list[dict[str, Any]] = [
    *({'type': name} for name in ('RandomFlip', 'RandomTranspose', 'RandomRotate90', 'NoiseJitter', 'GainJitter')),
    {'type': 'RandomCrop', 'size': 12}, {'type': 'ScaleJitter', 'low': 0.5, 'high': 2.0},
    {'type': 'RotationJitter', 'degrees': 180.0}, {'type': 'TargetCopyPaste', 'prob': 1.0},
    {'type': 'RandomLongSide', 'low': 15, 'high': 60}, {'type': 'GaussianBlur', 'prob': 1.0},
]  # fmt: skip


def sample(seed=0, shape=(20, 30), targets=((4, 5), (12, 20))):
    image = np.random.default_rng(seed).random(shape).astype(np.float32) * 0.3
    gt_mask = np.zeros(shape, dtype=bool)
    for row, column in targets:
        gt_mask[row : row + 2, column : column + 2] = True
    image[gt_mask] = 0.8
    return {'image': image, 'gt_mask': gt_mask, 'rng': np.random.default_rng(seed)}


def assert_same(first, second):
    for key in ('image', 'gt_mask'):
        np.testing.assert_array_equal(first[key], second[key])


def test_the_list_above_is_complete():
    import drpca.datasets  # noqa: F401

    files = {f'drpca.datasets.{name}' for name in ('transforms', 'published_transforms')}
    here = {name for name, kind in TRANSFORMS.module_dict.items() if kind.__module__ in files}
    assert {c['type'] for c in OWN} | {'TorchvisionTransform'} == here


@pytest.mark.parametrize('config', OWN, ids=lambda c: c['type'])
@pytest.mark.parametrize('targets', [(), ((4, 5), (12, 20))], ids=['empty', 'targets'])
@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**31))
def test_contract(config, targets, seed):
    """Pure given rng, input untouched, types and range kept, image and mask of one size."""
    transform = TRANSFORMS.build(config)
    given_sample = sample(seed, targets=targets)
    image, gt_mask = given_sample['image'].copy(), given_sample['gt_mask'].copy()
    np.random.seed(0)  # noqa: NPY002
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    result, again = transform(given_sample), transform(sample(seed, targets=targets))
    np.testing.assert_array_equal(given_sample['image'], image)
    np.testing.assert_array_equal(given_sample['gt_mask'], gt_mask)
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002
    assert result['image'].dtype == np.float32
    assert result['gt_mask'].dtype == bool
    assert result['image'].shape == result['gt_mask'].shape
    assert result['image'].min() >= 0
    assert result['image'].max() <= 1
    assert_same(result, again)
    if not targets:
        assert not result['gt_mask'].any()


@pytest.mark.parametrize(
    ('transform', 'expected'),
    [
        (transforms.RandomFlip(1, 0), lambda a: a[:, ::-1]),
        (transforms.RandomFlip(0, 1), lambda a: a[::-1]),
        (transforms.RandomFlip(1, 1), lambda a: a[::-1, ::-1]),
        (transforms.RandomFlip(0, 0), lambda a: a),
        (transforms.RandomTranspose(1), lambda a: a.T),
        (transforms.RandomTranspose(0), lambda a: a),
    ],
)
def test_mirrors(transform, expected):
    given_sample = sample()
    assert_same(transform(given_sample), {key: expected(given_sample[key]) for key in ('image', 'gt_mask')})


def test_rotations_reach_all_four():
    turned = (transforms.RandomRotate90()(sample() | {'rng': np.random.default_rng(s)}) for s in range(40))
    assert {result['image'].tobytes() for result in turned} == {
        np.rot90(sample()['image'], k).tobytes() for k in range(4)
    }


@pytest.mark.parametrize('seed', range(30))
def test_crop_shows_a_target_when_it_is_to(seed):
    result = transforms.RandomCrop((8, 9), target_prob=1)(sample(seed))
    assert result['image'].shape == (8, 9)
    assert result['gt_mask'].any()
    np.testing.assert_array_equal(result['image'] == np.float32(0.8), result['gt_mask'])


def test_crop_reaches_every_place():
    image = np.arange(30, dtype=np.float32).reshape(5, 6) / 30
    empty = {'image': image, 'gt_mask': np.zeros((5, 6), bool)}
    corners = set()
    for seed in range(300):
        result = transforms.RandomCrop(3, target_prob=0.5)(empty | {'rng': np.random.default_rng(seed)})
        corners.add(round(float(result['image'][0, 0]) * 30))
    assert corners == {6 * row + column for row in range(3) for column in range(4)}


def test_crop_pads_small_images():
    given_sample = sample(shape=(20, 30))
    zero = transforms.RandomCrop(32, pad='zero')(given_sample)
    np.testing.assert_array_equal(zero['image'][:20, :30], given_sample['image'][:, :30])
    assert not zero['image'][20:].any()
    assert not zero['gt_mask'][20:].any()
    mirrored = transforms.RandomCrop(32, pad='reflect')(given_sample)
    np.testing.assert_array_equal(mirrored['image'][20:, :30], given_sample['image'][18:6:-1])
    np.testing.assert_array_equal(mirrored['image'] == np.float32(0.8), mirrored['gt_mask'])


@pytest.mark.parametrize('seed', range(20))
def test_scale_keeps_every_target(seed):
    given_sample = sample(seed, shape=(60, 80), targets=((10, 10), (30, 50)))
    given_sample['gt_mask'][50, 70] = True
    result = transforms.ScaleJitter(0.4, 0.6)(given_sample)
    assert result['image'].shape[0] < 40
    assert ndimage.label(result['gt_mask'], np.ones((3, 3)))[1] == 3


@pytest.mark.parametrize('seed', range(20))
def test_rotation_keeps_every_target_and_its_area(seed):
    given_sample = sample(seed, shape=(60, 80), targets=((24, 30), (34, 50)))
    given_sample['gt_mask'][30, 40] = True
    given_sample['gt_mask'][36:40, 30:34] = True
    result = transforms.RotationJitter(25)(given_sample)
    labels, count = ndimage.label(result['gt_mask'], np.ones((3, 3)))
    assert count == 4
    assert max(np.bincount(labels.ravel())[1:]) == pytest.approx(16, abs=4)


def test_rotation_turns_about_the_centre_by_the_angle_drawn():
    """A bright dot on the axis of a dark image moves by the angle along its circle."""

    class Rng:
        def uniform(self, low, high):
            assert (low, high) == (-30, 30)
            return 30.0

    image, gt_mask = np.zeros((41, 41), np.float32), np.zeros((41, 41), bool)
    image[19:22, 31:34], gt_mask[19:22, 31:34] = 1, True
    result = transforms.RotationJitter(30)({'image': image, 'gt_mask': gt_mask, 'rng': Rng()})
    expected = 20 - 12 * np.sin(np.pi / 6), 20 + 12 * np.cos(np.pi / 6)
    assert ndimage.center_of_mass(result['image']) == pytest.approx(expected, abs=0.05)
    assert ndimage.center_of_mass(result['gt_mask']) == pytest.approx(expected, abs=0.3)


def test_rotation_by_nothing_and_beyond_the_border():
    given_sample = sample()
    assert_same(transforms.RotationJitter(0)(given_sample), given_sample)
    flat = {'image': np.full((30, 40), 0.5, np.float32), 'gt_mask': np.zeros((30, 40), bool)}
    turned = transforms.RotationJitter(45)(flat | {'rng': np.random.default_rng(1)})
    np.testing.assert_allclose(turned['image'], 0.5, atol=1e-6)


def test_noise_and_gain_stay_within_their_range():
    flat = {'image': np.full((200, 200), 0.5, np.float32), 'gt_mask': np.zeros((200, 200), bool)}
    for seed in range(20):
        noisy = transforms.NoiseJitter(0.01, 0.03)(flat | {'rng': np.random.default_rng(seed)})['image']
        assert 0.0095 < noisy.std() < 0.0305
        assert abs(noisy.mean() - 0.5) < 0.001
        scaled = transforms.GainJitter(0.2, 0.1)(flat | {'rng': np.random.default_rng(seed)})['image']
        assert np.ptp(scaled) == 0
        assert 0.3 <= scaled[0, 0] <= 0.7


def test_copy_paste_adds_one_target_of_the_same_contrast():
    given_sample = sample(3, shape=(60, 60), targets=((20, 20),))
    given_sample['image'][~given_sample['gt_mask']] = 0.2
    result = transforms.TargetCopyPaste(1.0, tries=100)(given_sample)
    labels, count = ndimage.label(result['gt_mask'], np.ones((3, 3)))
    assert count == 2
    assert (labels > 0).sum() == 8
    np.testing.assert_allclose(result['image'][result['gt_mask']], 0.8, atol=1e-6)
    far = ~ndimage.binary_dilation(result['gt_mask'], np.ones((3, 3)))
    np.testing.assert_allclose(result['image'][far], 0.2, atol=1e-6)


def test_copy_paste_from_another_sample_and_where_nothing_fits():
    empty = sample(shape=(40, 40), targets=())
    donor = sample(1, targets=((8, 8),))
    paste = transforms.TargetCopyPaste(1.0, tries=50)
    result = paste(empty | {'donor': lambda rng: (donor['image'], donor['gt_mask'])})
    assert result['gt_mask'].sum() == 4
    bright = empty | {'image': np.full((40, 40), 0.95, np.float32)}
    result = paste(bright | {'donor': lambda rng: (donor['image'], donor['gt_mask'])})
    assert not result['gt_mask'].any()
    tiny = {'image': np.zeros((3, 3), np.float32), 'gt_mask': np.zeros((3, 3), bool), 'rng': empty['rng']}
    assert not paste(tiny | {'donor': lambda rng: (donor['image'], donor['gt_mask'])})['gt_mask'].any()


@pytest.mark.parametrize(
    ('name', 'options', 'message'),
    [
        ('RandomFlip', {'horizontal': 1.5}, 'horizontal is a probability'),
        ('RandomTranspose', {'prob': -1}, 'prob is a probability'),
        ('RandomCrop', {'size': 0}, 'size: expected'),
        ('RandomCrop', {'size': 8, 'pad': 'edge'}, "'reflect' or 'zero'"),
        ('ScaleJitter', {'low': 2, 'high': 1}, 'ScaleJitter: expected'),
        ('RotationJitter', {'degrees': 181}, 'RotationJitter: expected'),
        ('NoiseJitter', {'low': -1}, 'NoiseJitter: expected'),
        ('GainJitter', {'gain': 2}, 'GainJitter gain: expected'),
        ('TargetCopyPaste', {'prob': 7}, 'prob is a probability'),
    ],
)
def test_bad_options(name, options, message):
    with pytest.raises(UserError, match=message):
        getattr(transforms, name)(**options)


def test_without_torchvision(monkeypatch):
    monkeypatch.setitem(sys.modules, 'torchvision', None)
    monkeypatch.setitem(sys.modules, 'torchvision.transforms', None)
    with pytest.raises(UserError, match=r"'RandomAffine' needs torchvision.*pip install torchvision"):
        transforms.TorchvisionTransform('RandomAffine', degrees=10)


def test_torchvision_by_name():
    pytest.importorskip('torchvision')
    flipped = {key: sample()[key][:, ::-1] for key in ('image', 'gt_mask')}
    assert_same(transforms.TorchvisionTransform('RandomHorizontalFlip', p=1)(sample()), flipped)
    shift = transforms.TorchvisionTransform('RandomAffine', degrees=0, translate=(0.3, 0.3))
    first, again = shift(sample()), shift(sample())
    np.testing.assert_array_equal(first['image'], again['image'])
    np.testing.assert_array_equal(first['image'] == np.float32(0.8), first['gt_mask'])
    with pytest.raises(UserError, match="no transform 'RandomAfine'"):
        transforms.TorchvisionTransform('RandomAfine')
    with pytest.raises(UserError, match='degrees'):
        transforms.TorchvisionTransform('RandomAffine')


def test_torchvision_stand_in(monkeypatch):
    """The wiring, checked without torchvision: image and mask go together, seeded from the sample's rng."""
    import torch

    class Shift(torch.nn.Module):
        def forward(self, image, gt_mask):
            step = int(torch.randint(1, 10, ()))
            return image.roll(step, -1), gt_mask.roll(step, -1)

    vision, kinds, wrappers = map(ModuleType, ('torchvision', 'torchvision.transforms', 'tv_tensors'))
    kinds.v2 = ModuleType('v2')
    kinds.v2.Shift = Shift
    wrappers.Image = wrappers.Mask = lambda tensor: tensor
    vision.tv_tensors, vision.transforms = wrappers, kinds
    monkeypatch.setitem(sys.modules, 'torchvision', vision)
    monkeypatch.setitem(sys.modules, 'torchvision.transforms', kinds)
    transform = transforms.TorchvisionTransform('Shift')
    state = torch.random.get_rng_state()
    results = [transform(sample(seed)) for seed in (0, 0, 1, 2, 3)]
    assert torch.equal(state, torch.random.get_rng_state())
    np.testing.assert_array_equal(results[0]['image'], results[1]['image'])
    assert len({r['gt_mask'].tobytes() for r in results}) > 1
    for result in results:
        np.testing.assert_array_equal(result['image'] == np.float32(0.8), result['gt_mask'])
