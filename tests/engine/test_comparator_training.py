"""Every comparator trains under both of its recipes, and its data come out as the recipe says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from mmengine.config import Config
from torch.utils.data import default_collate

import drpca
from drpca.config import find_config, list_configs, list_models, load_config
from drpca.engine.runs import TrainingResult
from drpca.errors import UserError
from drpca.registry import DATASETS, MODELS
from tests.support import train_one_step

COMPARATORS = [model for model in list_models() if f'{model}_sirstv1_basicirstd' in list_configs()]
RECIPES = [f'{model}_synthetic{variant}' for model in COMPARATORS for variant in ('', '_basicirstd')]


def batch(config: Config, data_root: Path, **options: Any) -> dict[str, Any]:
    """The first two training images of a config."""
    dataset = DATASETS.build({**config.train_dataloader.dataset, 'data_root': data_root, 'limit': 2, **options})
    return default_collate([dataset[index] for index in range(2)])


def train_on_smallest(config: Config, data_root: Path) -> None:
    """A step on the smallest legal size; AGPCNet pads it to 80."""
    images = batch(config, data_root, size=32, pipeline=[])
    images['gt_mask'][:, :, 4:7, 4:7] = 1
    train_one_step(config, images)


@pytest.mark.parametrize('name', [pytest.param(n, marks=[pytest.mark.slow] if 'uiunet' in n else []) for n in RECIPES])
def test_every_recipe_trains_one_step(name: str, data_root: Path) -> None:
    train_on_smallest(load_config(find_config(name)), data_root)


@pytest.mark.parametrize('network', ['L2SKNetFPN', 'L2SKNet1D', 'L2SKNet1DFPN'])
def test_other_variants_train_by_one_option(network: str, data_root: Path) -> None:
    options = {'model.network.type': network}
    train_on_smallest(load_config(find_config('l2sknet_synthetic'), options=options), data_root)


@pytest.mark.parametrize('name', RECIPES)
def test_training_images_come_out_as_the_recipe_says(name: str, data_root: Path) -> None:
    config = load_config(find_config(name))
    sizes = {'rdian': 480, 'istdunet': 512, 'uiunet': 288, 'mtunet': 1024, 'isnet': 480}
    side = 256 if name.endswith('_basicirstd') else sizes.get(name.removesuffix('_synthetic'), 256)
    images = batch(config, data_root)
    assert images['image'].shape == images['gt_mask'].shape == (2, 1, side, side)
    assert 0 <= images['image'].min() < images['image'].max() <= 1
    smallest = MODELS.build(config.model).network.min_train_batch
    if smallest > 1:
        assert config.train_dataloader.drop_last, 'a last batch of one image could not be trained on'
        assert config.train_dataloader.batch_size >= smallest


def train(data_root: Path, work: Path, name: str, **changes: Any) -> TrainingResult:
    """A training on two small images, with changed keys of the config."""
    keys = {'train_dataloader.dataset.pipeline': [], **changes.pop('keys', {})}
    for part in ('train', 'val', 'test'):
        keys |= {f'{part}_dataloader.dataset.size': 32, f'{part}_dataloader.dataset.limit': 2}
    options = {'epochs': 1, 'batch_size': 2, 'workers': 0, **changes}
    return drpca.train(name, data_root=data_root, work_dir=work, cfg_options=keys, **options)


def test_the_warm_up_follows_the_epochs(data_root: Path, tmp_path: Path) -> None:
    """1 − IoU alone is below 1; with the location term of five untrained outputs the loss is far above."""
    keys = {'model.losses.sls.warm_epoch': 1}
    result = train(data_root, tmp_path, 'mshnet_synthetic', epochs=3, keys=keys)
    losses = [line['loss'] for line in result.folder.log()]
    assert max(losses[:2]) <= 1 < losses[2]


@pytest.mark.parametrize(
    ('batch_size', 'message'), [(16, 'do not fill one batch of 16'), (1, 'at least 2 images per batch')]
)
def test_a_batch_that_cannot_be_trained_is_refused(
    data_root: Path, tmp_path: Path, batch_size: int, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        train(data_root, tmp_path, 'acm_synthetic', batch_size=batch_size)


def test_a_schedule_that_begins_after_the_training_is_refused(tmp_path: Path) -> None:
    config = tmp_path / 'mine.py'
    config.write_text(
        f"_base_ = '{find_config('istdunet_synthetic')}'\n"
        'train_cfg = dict(max_epochs=20)\n'
        "param_scheduler = [dict(type='CosineAnnealingLR', begin=50, by_epoch=True)]\n"
    )
    with pytest.raises(UserError, match='begins in epoch 50'):
        load_config(config)


def test_a_warm_up_shrinks_with_the_training() -> None:
    config = load_config(find_config('istdunet_synthetic'), options={'train_cfg.max_epochs': 20})
    warm_up, cosine = config.param_scheduler
    assert 0 < warm_up.end == cosine.begin < 10
    assert cosine.end == 20


@pytest.mark.slow
@pytest.mark.parametrize('name', RECIPES)
def test_every_recipe_runs_from_training_to_figures(name: str, data_root: Path, tmp_path: Path) -> None:
    keys = {'param_scheduler': []} if name == 'istdunet_synthetic' else {}
    test = train(data_root, tmp_path, name, keys=keys).test
    assert test is not None
    assert 0 <= test['Fa'] <= 1
