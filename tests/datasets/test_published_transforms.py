"""The augmentations of the published recipes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from mmengine.runner import Runner

from drpca.config import find_config, load_config
from drpca.datasets import GaussianBlur, InfraredDataset, RandomLongSide, SeededSampler
from drpca.datasets.device_loader import DeviceLoader
from drpca.datasets.io import resize_image, resize_mask
from drpca.errors import UserError
from tests.datasets.data_trees import frame, save, target_mask


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


DRAWS = 800


NATIVE, SIDE = (23, 31), 16


@pytest.fixture(scope='module', params=[np.uint8, np.uint16])
def symmetric(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> InfraredDataset:
    """One image, loaded as the published recipes load SIRST V1."""
    root = tmp_path_factory.mktemp('data')
    save(frame('a', NATIVE).astype(request.param), root / 'mine' / 'images' / 'a.png')
    save(target_mask('a', NATIVE), root / 'mine' / 'masks' / 'a.png')
    published = load_config(find_config('rpcanet_sirstv1')).train_dataloader.dataset.before_resize
    return InfraredDataset('mine', 'all', root, SIDE, before_resize=published)


def outcomes(dataset: InfraredDataset) -> list[tuple[np.ndarray, np.ndarray]]:
    """The authors' rule, plainly: flip up-down, flip left-right, transpose, each or not; then resize, then scale."""
    found = []
    is_8_bit = dataset.stored(0)[0].dtype == np.uint8
    for number in range(8):
        image, mask = frame('a', NATIVE), target_mask('a', NATIVE)
        if not is_8_bit:  # deeper values are scaled first
            image = ((image - float(image.min())) / np.ptp(image)).astype(np.float32)
        if number & 1:
            image, mask = image[::-1], mask[::-1]
        if number & 2:
            image, mask = image[:, ::-1], mask[:, ::-1]
        if number & 4:
            image, mask = image.T, mask.T
        image = resize_image(np.ascontiguousarray(image), (SIDE, SIDE)).astype(np.float64)
        found.append((image / 255 if is_8_bit else image, resize_mask(mask > 0, (SIDE, SIDE))))
    return found


def assert_an_eighth_each(dataset: InfraredDataset, images: np.ndarray, masks: np.ndarray, atol: float) -> None:
    """Every sample is one of the eight outcomes, and each comes as often as the others."""
    close = [np.abs(images - image).max(axis=(1, 2)) <= atol for image, _ in outcomes(dataset)]
    same = np.array(close) & [(masks == mask).all(axis=(1, 2)) for _, mask in outcomes(dataset)]
    assert (same.sum(axis=0) == 1).all()
    assert np.abs(same.sum(axis=1) - DRAWS / 8).max() < 4 * np.sqrt(DRAWS * 7 / 64)


def test_symmetries_of_the_ordinary_loader(symmetric: InfraredDataset) -> None:
    samples = [symmetric[0, seed] for seed in range(DRAWS)]
    images, masks = (np.stack([sample[key][0].numpy() for sample in samples]) for key in ('image', 'gt_mask'))
    assert_an_eighth_each(symmetric, images, masks, atol=1e-6)
    image, mask, original = symmetric.load(0)
    assert (image.shape, mask.shape, original) == ((SIDE, SIDE), (SIDE, SIDE), NATIVE)


def test_symmetries_of_the_loader_on_the_device(symmetric: InfraredDataset) -> None:
    loader = Runner.build_dataloader(
        {'dataset': symmetric, 'sampler': SeededSampler(symmetric, seed=0), 'batch_size': 1, 'num_workers': 0}
    )
    batch = DeviceLoader(loader, 'cpu').batch(torch.zeros(DRAWS, dtype=torch.int64), 0)
    images, masks = (batch[key][:, 0].numpy() for key in ('image', 'gt_mask'))
    assert_an_eighth_each(symmetric, images, masks, atol=1.01 / 255)


def test_behind_resizing_symmetries_move_masks_against_images(symmetric: InfraredDataset) -> None:
    _, mask, _ = symmetric.load(0)
    assert (mask[::-1] != outcomes(symmetric)[1][1]).any()


@pytest.mark.parametrize('model', ['rpcanet', 'rpcanet_plus', 'drpcanet', 'lrrnet', 'rpcanet_plusplus'])
def test_published_augmentation_belongs_to_the_data_set(model: str) -> None:
    def kinds(name: str, dataset: str | None = None) -> list[str]:
        pipelines = load_config(find_config(f'{model}_{name}'), dataset).train_dataloader.dataset
        assert pipelines.pipeline == []
        return [step.type for step in pipelines.before_resize]

    for name, dataset in (('sirstv1', None), ('sirst_aug', None), ('nudt_sirst', 'SIRSTv1'), ('sirstv1', 'mine')):
        assert kinds(name, dataset) == ['RandomFlip', 'RandomTranspose']
    for name, dataset in (('nudt_sirst', None), ('irstd_1k', None), ('sirstv1', 'NUDT-SIRST'), ('nudt_sirst', 'mine')):
        assert kinds(name, dataset) == []
    assert 'before_resize' not in load_config(find_config('acm_nudt_sirst'), 'SIRSTv1').train_dataloader.dataset
