"""Every comparator trains under both of its recipes, and its data come out as the recipe says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from torch.utils.data import default_collate

from drpca.cli import train as train_command
from drpca.config import find_config, list_configs, list_models, load_config
from drpca.datasets.synthetic import generate_dataset
from drpca.errors import UserError
from drpca.registry import DATASETS, MODELS

COMPARATORS = [model for model in list_models() if f'{model}_sirstv1_basicirstd' in list_configs()]
OTHERS = {'l2sknet': ('L2SKNetFPN', 'L2SKNet1D', 'L2SKNet1DFPN')}
RECIPES = [f'{model}_synthetic{variant}' for model in COMPARATORS for variant in ('', '_basicirstd')]


@pytest.fixture(scope='module')
def data_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp('data')
    generate_dataset(root, num_train=10, num_test=2, size=64)
    return root


def batch(config: Config, data_root: Path, **options: Any) -> dict[str, Any]:
    """The first two training images of a config."""
    source = {**config.train_dataloader.dataset, 'data_root': data_root, 'limit': 2, **options}
    dataset = DATASETS.build(source)
    return default_collate([dataset[index] for index in range(2)])


def train_one_step(config: Config, data_root: Path) -> None:
    torch.manual_seed(0)
    model = MODELS.build(config.model).train()
    # The smallest legal size; AGPCNet pads it to 80.
    images = batch(config, data_root, size=32, pipeline=[])
    images['gt_mask'][:, :, 4:7, 4:7] = 1
    wrapper = build_optim_wrapper(model, dict(config.optim_wrapper))
    wrapper.zero_grad = lambda: None  # keeps the gradients to look at
    trainable = {name: value for name, value in model.named_parameters() if value.requires_grad}
    before = {name: value.detach().clone() for name, value in trainable.items()}
    logs = model.train_step(images, wrapper)
    assert set(logs) == {'loss', *(f'loss_{name}' for name in config.model.losses)}
    assert all(value.isfinite() for value in logs.values())
    assert [name for name, value in trainable.items() if value.grad is None] == []
    assert any(not torch.equal(value, before[name]) for name, value in trainable.items())
    assert all(value.isfinite().all() for value in trainable.values())


@pytest.mark.parametrize(
    'name', [pytest.param(n, marks=[pytest.mark.slow] if 'uiunet' in n else []) for n in RECIPES]
)
def test_every_recipe_trains_one_step(name: str, data_root: Path) -> None:
    train_one_step(load_config(find_config(name)), data_root)


@pytest.mark.parametrize('network', OTHERS['l2sknet'])
def test_other_variants_train_by_one_option(network: str, data_root: Path) -> None:
    options = {'model.network.type': network}
    train_one_step(load_config(find_config('l2sknet_synthetic'), options=options), data_root)


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


def arguments(data_root: Path, work: Path, name: str, epochs: int, *options: str) -> list[str]:
    return [
        *(name, '--data-root', str(data_root), '--work-dir', str(work), '--epochs', str(epochs)),
        *('--batch-size', '2', '--workers', '0', '--cfg-options', 'train_dataloader.dataset.pipeline=[]'),
        *(f'{part}_dataloader.dataset.{key}' for part in ('train', 'val', 'test') for key in ('size=32', 'limit=2')),
        *options,
    ]  # fmt: skip


def log(work: Path, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (work / name / 'seed_0' / 'log.jsonl').read_text().splitlines()]


def test_the_warm_up_follows_the_epochs(data_root: Path, tmp_path: Path) -> None:
    """1 − IoU alone is below 1; with the location term of five untrained outputs the loss is far above."""
    option = 'model.losses.sls.warm_epoch=1'
    assert train_command.main(arguments(data_root, tmp_path, 'mshnet_synthetic', 3, option)) == 0
    losses = [line['loss'] for line in log(tmp_path, 'mshnet_synthetic')]
    assert max(losses[:2]) <= 1 < losses[2]


def test_too_few_images_for_a_batch_are_refused(
    data_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    args = arguments(data_root, tmp_path, 'acm_synthetic', 1)
    args[args.index('--batch-size') + 1] = '16'
    assert train_command.main(args) == 2
    assert 'do not fill one batch of 16' in capsys.readouterr().err


def test_a_batch_of_one_says_what_to_do(
    data_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    args = arguments(data_root, tmp_path, 'acm_synthetic', 1)
    args[args.index('--batch-size') + 1] = '1'
    assert train_command.main(args) == 2
    assert 'at least 2 images per batch' in capsys.readouterr().err


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
    warm_up, cosine = load_config(
        find_config('istdunet_synthetic'), options={'train_cfg.max_epochs': 20}
    ).param_scheduler
    assert 0 < warm_up.end == cosine.begin < 10
    assert cosine.end == 20


@pytest.mark.slow
@pytest.mark.parametrize('name', RECIPES)
def test_every_recipe_runs_from_training_to_figures(name: str, data_root: Path, tmp_path: Path) -> None:
    more = ('param_scheduler=[]',) if name == 'istdunet_synthetic' else ()
    assert train_command.main(arguments(data_root, tmp_path, name, 1, *more)) == 0
    summary = json.loads((tmp_path / name / 'seed_0' / 'summary.json').read_text())
    assert 0 <= summary['test']['Fa'] <= 1
