"""Every config in the tree loads, builds and keeps to the naming."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from drpca.engine.config import config_for, find_config, list_configs, list_models, load_config
from drpca.errors import UserError
from drpca.registry import BASELINES, MODELS, TRANSFORMS

TRAINABLE = {name: path for name, path in list_configs().items() if path.parent.name != 'classical'}
CLASSICAL = {name: path for name, path in list_configs().items() if path.parent.name == 'classical'}
UNFOLDED = ('rpcanet', 'rpcanet_plus', 'drpcanet', 'lrrnet')
DATASETS = ('sirstv1', 'sirstv2', 'nudt_sirst', 'irstd_1k', 'sirst_aug', 'synthetic')


@pytest.mark.parametrize('name', sorted(TRAINABLE))
def test_config_builds(name: str) -> None:
    path = TRAINABLE[name]
    grammar = rf'{path.parent.name}_({"|".join(DATASETS)})(_[a-z]+)?'
    assert re.fullmatch(grammar, name), 'names are <model>_<data set>[_variant]'
    config = load_config(path)
    with torch.device('meta'):
        model = MODELS.build(config.model)
    assert 'target' in model.network.outputs
    for step in config.train_dataloader.dataset.pipeline:
        TRANSFORMS.build(step)
    for schedule in config.param_scheduler:
        assert schedule.get('end', config.train_cfg.max_epochs) <= config.train_cfg.max_epochs


@pytest.mark.parametrize('name', sorted(CLASSICAL))
def test_classical_config_builds(name: str) -> None:
    assert hasattr(BASELINES.build(load_config(CLASSICAL[name]).model), 'scores')


def test_every_unfolded_network_has_a_config_for_every_data_set() -> None:
    missing = [f'{m}_{d}' for m in UNFOLDED for d in DATASETS if f'{m}_{d}' not in TRAINABLE]
    assert missing == []


def test_published_recipes() -> None:
    rpcanet, lrrnet = load_config(find_config('rpcanet_sirstv1')), load_config(find_config('lrrnet_irstd_1k'))
    assert rpcanet.train_cfg.max_epochs == 800
    assert rpcanet.model.losses.fidelity.weight == 0.01
    assert rpcanet.optim_wrapper.optimizer == {'type': 'Adam', 'lr': 1e-4}
    assert rpcanet.param_scheduler[0].end == 800
    assert lrrnet.train_dataloader.dataset['size'] == lrrnet.inference_size == 512
    assert load_config(find_config('drpcanet_sirstv1')).train_dataloader.batch_size == 8


@pytest.mark.parametrize(
    ('model', 'dataset', 'expected'),
    [
        ('DRPCA-Net', 'SIRSTv1', 'drpcanet_sirstv1'),
        ('rpcanet+', 'NUDT-SIRST', 'rpcanet_plus_nudt_sirst'),
        ('LRRNet', 'irstd-1K', 'lrrnet_irstd_1k'),
        ('RPCANet', 'my_own_frames', 'rpcanet_sirstv1'),
    ],
)
def test_config_is_found_by_the_names_people_use(model: str, dataset: str, expected: str) -> None:
    assert config_for(model, dataset).stem == expected


def test_unknown_names_list_the_known_ones() -> None:
    with pytest.raises(UserError, match=r'Known: .*drpcanet'):
        config_for('drpcanett', 'SIRSTv1')
    with pytest.raises(UserError, match="Did you mean 'rpcanet_sirstv1'"):
        find_config('rpcanet_sirst1')
    assert set(UNFOLDED) <= set(list_models())


@pytest.mark.parametrize(
    'key', ['optimizer_wrapper.lr', 'train_cfgs', 'train_cfg.max_epochs.more', 'optim_wraper']
)
def test_an_option_that_nothing_reads_is_refused(key: str) -> None:
    with pytest.raises(UserError, match='Unknown config key'):
        load_config(find_config('rpcanet_sirstv1'), options={key: 1})


def test_options_reach_schedules_and_lists() -> None:
    config = load_config(
        find_config('rpcanet_sirstv1'), options={'train_cfg.max_epochs': 7, 'param_scheduler.0.power': 2.0}
    )
    assert (config.param_scheduler[0].end, config.param_scheduler[0].power) == (7, 2.0)


def test_a_broken_config_is_one_line(tmp_path: Path) -> None:
    (tmp_path / 'broken.py').write_text('model = dict(type=')
    with pytest.raises(UserError, match='Cannot read config'):
        load_config(tmp_path / 'broken.py')
