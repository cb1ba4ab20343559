"""Batches made on the device: the ordinary loader's without augmentation, the same transforms with it."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest import mock

import cv2
import numpy as np
import pytest
import torch
from mmengine.runner import Runner
from scipy import ndimage
from torch import Tensor

from drpca.datasets import InfraredDataset, SeededSampler
from drpca.datasets.device_loader import DeviceLoader
from drpca.datasets.synthetic import generate_dataset
from drpca.errors import UserError

COUNT, SIDE = 13, 48  # a fixed fifth of 16 images is for validation


@pytest.fixture(scope='module')
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp('data')
    generate_dataset(path, num_train=16, num_test=3, size=64)
    return path


def ordinary(root: Path, pipeline: list[Any] = (), shuffle: bool = True, **options: Any) -> Any:
    loader = {key: options.pop(key) for key in ('batch_size', 'drop_last') if key in options}
    dataset = InfraredDataset(
        **{'dataset': 'synthetic', 'data_root': root, 'size': SIDE, 'pipeline': pipeline, **options}
    )
    sampler = SeededSampler(dataset, shuffle=shuffle, seed=3)
    config = {'dataset': dataset, 'sampler': sampler, 'collate_fn': {'type': 'default_collate'}}
    return Runner.build_dataloader({**config, 'batch_size': 4, 'num_workers': 0, **loader})


def on_device(root: Path, *pipeline: Any, **options: Any) -> DeviceLoader:
    return DeviceLoader(ordinary(root, list(pipeline), **options), 'cpu')


def batch_of(loader: DeviceLoader, number: int = 0, index: list[int] | None = None) -> tuple[Tensor, Tensor]:
    """All images in order, or those named, (B, H, W): augmented and mask."""
    batch = loader.batch(torch.tensor(index or range(COUNT)), number)
    return batch['image'][:, 0], batch['gt_mask'][:, 0] > 0


def plain(root: Path, size: Any = SIDE) -> tuple[list[np.ndarray], list[np.ndarray]]:
    dataset = InfraredDataset('synthetic', 'train', root, size)
    samples = [dataset[position] for position in range(len(dataset))]
    return [s['image'][0].numpy() for s in samples], [s['gt_mask'][0].numpy() > 0 for s in samples]


@pytest.mark.parametrize('shuffle', [True, False])
@pytest.mark.parametrize('drop_last', [True, False])
def test_batches_equal_the_ordinary_ones_bit_for_bit(root: Path, shuffle: bool, drop_last: bool) -> None:
    first = ordinary(root, shuffle=shuffle, drop_last=drop_last)
    second = on_device(root, shuffle=shuffle, drop_last=drop_last)
    assert len(first) == len(second) == (3 if drop_last else 4)
    for epoch in range(2):
        first.sampler.set_epoch(epoch)
        second.sampler.set_epoch(epoch)
        for one, other in zip(first, second, strict=True):
            assert one.keys() == other.keys()
            for key, value in one.items():
                same = value == other[key] if key == 'name' else torch.equal(value, other[key])
                assert same, key


def test_sixteen_bits(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for part in ('images', 'masks'):
        (tmp_path / 'mine' / part).mkdir(parents=True)
    for name in 'abcdefgh':
        values = rng.integers(3000, 5000, (20, 30)).astype(np.uint16)
        cv2.imwrite(str(tmp_path / f'mine/images/{name}.png'), values)
        cv2.imwrite(str(tmp_path / f'mine/masks/{name}.png'), (values > 4900).astype(np.uint8) * 255)
    options: dict[str, Any] = {'dataset': 'mine', 'split': 'all', 'size': None}
    for one, other in zip(ordinary(tmp_path, **options), on_device(tmp_path, **options), strict=True):
        assert torch.equal(one['image'], other['image'])
        assert torch.equal(one['gt_mask'], other['gt_mask'])


def test_processes_share_the_images(root: Path) -> None:
    seen = []
    for rank in range(2):
        with mock.patch('drpca.datasets.samplers.get_dist_info', return_value=(rank, 2)):
            seen.append([batch['index'].tolist() for batch in on_device(root)])
    assert [len(batches) for batches in seen] == [2, 2], '13 images, rounded up to 14, 7 each'
    first, second = ({index for batch in batches for index in batch} for batches in seen)
    assert first | second == set(range(COUNT))
    assert len(first & second) <= 1


EVERYTHING = [
    {'type': 'TargetCopyPaste', 'prob': 1.0}, {'type': 'ScaleJitter'}, {'type': 'RotationJitter'},
    {'type': 'RandomCrop', 'size': 32, 'target_prob': 0.5},
    *({'type': name} for name in ('RandomFlip', 'RandomTranspose', 'RandomRotate90', 'GainJitter', 'GaussianBlur')),
    {'type': 'NoiseJitter'},
]  # fmt: skip


def test_a_batch_follows_from_seed_epoch_and_number(root: Path) -> None:
    """So a resumed run gets the batches of an uninterrupted one, whatever was drawn before."""
    whole, resumed = on_device(root, *EVERYTHING), on_device(root, *EVERYTHING)
    torch.manual_seed(1)
    expected = list(whole)[2:]
    torch.manual_seed(2)
    resumed.sampler.start = 8
    rest = list(resumed)
    assert [batch['name'] for batch in rest] == [batch['name'] for batch in expected]
    for one, other in zip(expected, rest, strict=True):
        assert torch.equal(one['image'], other['image'])
        assert torch.equal(one['gt_mask'], other['gt_mask'])
    index = torch.arange(4)
    first = whole.batch(index, 0)['image']
    assert not torch.equal(first, whole.batch(index, 1)['image'])
    whole.sampler.set_epoch(1)
    assert not torch.equal(first, whole.batch(index, 0)['image'])
    whole.sampler.set_epoch(0)
    whole.sampler.rank = 1
    assert not torch.equal(first, whole.batch(index, 0)['image'])


def dihedral(array: np.ndarray) -> dict[tuple[bool, int], np.ndarray]:
    """All eight, by (transposed, quarter turns)."""
    return {(t, k): np.rot90(array.T if t else array, k) for t in (False, True) for k in range(4)}


@pytest.mark.parametrize(
    ('kind', 'expected'),
    [
        ({'type': 'RandomFlip'}, {(False, 0), (False, 2), (True, 1), (True, 3)}),
        ({'type': 'RandomFlip', 'vertical': 0.0}, {(False, 0), (True, 3)}),
        ({'type': 'RandomTranspose'}, {(False, 0), (True, 0)}),
        ({'type': 'RandomRotate90'}, {(False, 0), (False, 1), (False, 2), (False, 3)}),
    ],
)
def test_flips_and_turns_are_exact(root: Path, kind: dict[str, Any], expected: set) -> None:
    images, masks = plain(root)
    loader, seen = on_device(root, kind), set()
    for number in range(3):
        for image, mask, original, original_mask in zip(*batch_of(loader, number), images, masks):
            named = [name for name, x in dihedral(original).items() if np.array_equal(x, image)]
            assert len(named) == 1
            assert np.array_equal(dihedral(original_mask)[named[0]], mask)
            seen.add(named[0])
    assert seen == expected


def find(window: np.ndarray, image: np.ndarray) -> list[tuple[int, int]]:
    """Where a window was cut out."""
    rows, columns = window.shape
    views = np.lib.stride_tricks.sliding_window_view(image, (rows, columns))
    return [tuple(place) for place in np.argwhere((views == window).all(axis=(2, 3)))]


@pytest.mark.parametrize('size', [SIDE, None])
def test_crops_are_windows_and_show_a_target_when_asked(root: Path, size: int | None) -> None:
    images, masks = plain(root, size)
    loader = on_device(root, {'type': 'RandomCrop', 'size': (20, 30), 'target_prob': 1.0}, size=size)
    corners = set()
    for number in range(3):
        for image, mask, original, original_mask in zip(*batch_of(loader, number), images, masks):
            places = find(image.numpy(), original)
            assert len(places) == 1
            top, left = places[0]
            assert np.array_equal(original_mask[top : top + 20, left : left + 30], mask)
            assert mask.any() == original_mask.any()
            corners.add((top, left))
    assert len(corners) > 25


def test_every_window_of_an_empty_image_comes_up(root: Path) -> None:
    images, _ = plain(root)
    loader = on_device(root, {'type': 'RandomCrop', 'size': SIDE - 1, 'target_prob': 0.0})
    corners = [find(image.numpy(), images[0])[0] for n in range(3) for image in batch_of(loader, n, [0] * 20)[0]]
    assert set(corners) == {(0, 0), (0, 1), (1, 0), (1, 1)}


@pytest.mark.parametrize('pad', ['reflect', 'zero'])
def test_small_images_are_extended_as_on_the_cpu(root: Path, pad: str) -> None:
    step = {'type': 'RandomCrop', 'size': (70, 120), 'pad': pad}
    images, masks = batch_of(on_device(root, step))
    mode: Any = 'reflect' if pad == 'reflect' else 'constant'
    for image, mask, original, original_mask in zip(images, masks, *plain(root)):
        missing = ((0, 70 - SIDE), (0, 120 - SIDE))
        np.testing.assert_array_equal(image, np.pad(original, missing, mode))
        np.testing.assert_array_equal(mask, np.pad(original_mask, missing, mode))


@pytest.mark.parametrize('factor', [0.8, 1.25, 1.6])
def test_scaling_is_that_of_opencv(root: Path, factor: float) -> None:
    scaled = round(SIDE * factor)
    steps = {'type': 'ScaleJitter', 'low': factor, 'high': factor}, {'type': 'RandomCrop', 'size': scaled}
    reference = InfraredDataset('synthetic', 'train', root, SIDE, pipeline=[steps[0]])
    images, masks = batch_of(on_device(root, *steps))
    for position, (image, mask, original, original_mask) in enumerate(zip(images, masks, *plain(root))):
        expected = cv2.resize(original, (scaled, scaled), interpolation=cv2.INTER_LINEAR)
        np.testing.assert_allclose(image, expected, atol=1e-4)
        cover = cv2.resize(original_mask.astype(np.float32), (scaled, scaled), interpolation=cv2.INTER_LINEAR)
        assert mask[cover > 0.501].all()
        assert not mask[cover == 0].any()
        wanted = reference[position]['gt_mask'][0].numpy() > 0
        assert (ndimage.label(mask)[1] > 0) == wanted.any()
        if factor > 1:  # pixels covered by half, or two that share a peak, may differ by rounding
            assert int((mask.numpy() != wanted).sum()) <= 8


def test_a_target_of_one_pixel_survives_shrinking(tmp_path: Path) -> None:
    for part in ('images', 'masks'):
        (tmp_path / 'mine' / part).mkdir(parents=True)
    for number in range(10):
        mask = np.zeros((40, 40), np.uint8)
        mask[7 + 2 * number, 11 + number] = 255
        for part in ('images', 'masks'):
            cv2.imwrite(str(tmp_path / f'mine/{part}/{number}.png'), mask)
    steps = ({'type': 'ScaleJitter', 'low': 0.6, 'high': 0.9}, {'type': 'RandomCrop', 'size': 20, 'target_prob': 1.0})
    loader = on_device(tmp_path, *steps, dataset='mine', split='all', size=None)
    for number in range(20):
        masks = loader.batch(torch.arange(10), number)['gt_mask']
        assert masks.sum(dim=(1, 2, 3)).min() >= 1


def test_rotation_is_that_of_opencv(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loader = on_device(root, {'type': 'RotationJitter', 'degrees': 40.0}, size=(40, 56))
    monkeypatch.setattr(
        'drpca.datasets.device_transforms.DeviceBatch.random', lambda batch, *s: torch.full((COUNT, *s), 0.8)
    )
    images, masks = batch_of(loader)
    turn = cv2.getRotationMatrix2D((27.5, 19.5), 24.0, 1.0)
    for image, mask, original, original_mask in zip(images, masks, *plain(root, (40, 56))):
        values, cover = (
            cv2.warpAffine(x.astype(np.float32), turn, (56, 40), borderMode=cv2.BORDER_REFLECT)
            for x in (original, original_mask)
        )
        np.testing.assert_allclose(image, values, atol=0.03)  # OpenCV rounds places to 1/32 pixel
        assert mask[cover > 0.6].all()
        assert not mask[cover == 0].numpy().any()


def test_gain_and_noise(root: Path) -> None:
    original = torch.from_numpy(np.stack(plain(root)[0]))
    image, _ = batch_of(on_device(root, {'type': 'GainJitter', 'gain': 0.3, 'offset': 0.0}))
    ratio = [(x / y)[(x < 1) & (y > 0)] for x, y in zip(image, original)]
    assert all(r.max() - r.min() < 1e-5 for r in ratio)
    assert all(0.7 <= r.mean() <= 1.3 for r in ratio)
    assert len({round(float(r.mean()), 4) for r in ratio}) == COUNT
    noisy, _ = batch_of(on_device(root, {'type': 'NoiseJitter', 'low': 0.02, 'high': 0.02}))
    inner = (original > 0.15) & (original < 0.85)
    assert float((noisy - original)[inner].std()) == pytest.approx(0.02, rel=0.05)
    assert 0 <= noisy.min() <= noisy.max() <= 1


def test_noise_stays_white_after_a_rotation(root: Path) -> None:
    noise = {'type': 'NoiseJitter', 'low': 0.05, 'high': 0.05}
    rotation = {'type': 'RotationJitter', 'degrees': 10.0}
    loader = on_device(root, rotation, noise)
    still, _ = batch_of(on_device(root, rotation))
    noisy, _ = batch_of(loader)
    difference = (noisy - still)[:, 8:-8, 8:-8]
    neighbours = (difference[..., 1:] - difference[..., :-1]).std()
    assert float(neighbours) == pytest.approx(0.05 * 2**0.5, rel=0.1)


def test_blur_is_that_of_scipy(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loader = on_device(root, {'type': 'GaussianBlur', 'prob': 1.0, 'max_sigma': 2.0})
    monkeypatch.setattr(
        'drpca.datasets.device_transforms.DeviceBatch.random', lambda batch, *s: torch.full((COUNT, *s), 0.6)
    )
    image, _ = batch_of(loader)
    for x, original in zip(image, plain(root)[0]):
        expected = ndimage.gaussian_filter(original, 1.2, mode='nearest')
        np.testing.assert_allclose(x, expected, atol=2e-4)


@pytest.mark.parametrize('other', [True, False])
def test_pasted_targets_are_whole_and_alone(root: Path, other: bool) -> None:
    images, masks = plain(root)
    loader = on_device(root, {'type': 'TargetCopyPaste', 'prob': 1.0, 'other': other})
    labels = [ndimage.label(mask, np.ones((3, 3))) for mask in masks]
    areas = [set(np.bincount(label.ravel())[1:].tolist()) for label, _ in labels]
    pasted = 0
    for image, mask, original, original_mask, area in zip(*batch_of(loader), images, masks, areas):
        new = mask.numpy() & ~original_mask
        assert np.array_equal(mask.numpy() & original_mask, original_mask)
        changed = image.numpy() != original
        if not new.any():
            assert not changed.any()
            continue
        pasted += 1
        assert int(new.sum()) in (set.union(*areas) if other else area)
        assert not (changed & ~ndimage.binary_dilation(new, np.ones((3, 3)))).any()
        assert 0 <= image.min() <= image.max() <= 1
    assert pasted >= COUNT // 2


def test_what_has_no_device_form_is_named(root: Path) -> None:
    with pytest.raises(UserError, match=r'No device form of <lambda>.*on_device=False'):
        on_device(root, lambda sample: sample)
    with pytest.raises(UserError, match='differ in size'):
        on_device(root, {'type': 'ScaleJitter'})
    with pytest.raises(UserError, match='differ in size'):
        on_device(root, {'type': 'RandomTranspose'}, size=(32, 48))
    with pytest.raises(UserError, match=r'GaussianBlur on the device.*behind RandomCrop'):
        on_device(root, {'type': 'ScaleJitter'}, {'type': 'GaussianBlur'})


@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU')
def test_a_gpu_gives_the_same_batches_without_waiting(root: Path) -> None:
    first, second = ordinary(root), DeviceLoader(ordinary(root), 'cuda')
    for one, other in zip(first, second, strict=True):
        assert torch.equal(one['image'], other['image'].cpu())
        assert torch.equal(one['gt_mask'], other['gt_mask'].cpu())
    loader = DeviceLoader(ordinary(root, EVERYTHING), 'cuda')
    list(loader)
    torch.cuda.set_sync_debug_mode('error')
    try:
        list(loader)
    finally:
        torch.cuda.set_sync_debug_mode('default')
