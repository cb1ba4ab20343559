"""Every config in the tree loads, builds and keeps to the naming."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from drpca.config import (
    config_folder,
    config_for,
    find_config,
    list_configs,
    list_models,
    load_config,
)
from drpca.errors import UserError
from drpca.registry import BASELINES, MODELS, TRANSFORMS

ABLATIONS = {name: path for name, path in list_configs().items() if path.parent.name == 'ablations'}
TRAINABLE = {
    name: path for name, path in list_configs().items() if path.parent.name not in ('classical', 'ablations')
}
CLASSICAL = {name: path for name, path in list_configs().items() if path.parent.name == 'classical'}
UNFOLDED = ('rpcanet', 'rpcanet_plus', 'drpcanet', 'lrrnet')
COMPARATORS = (
    'acm', 'alcnet', 'rdian', 'resunet', 'istdunet', 'mshnet', 'rpcanet_plusplus', 'dnanet', 'uiunet',
    'agpcnet', 'mtunet', 'isnet', 'l2sknet',
)  # fmt: skip
DATASETS = ('sirstv1', 'sirstv2', 'nudt_sirst', 'irstd_1k', 'sirst_aug', 'synthetic')


@pytest.mark.parametrize('name', [*sorted(TRAINABLE), *sorted(ABLATIONS)])
def test_config_builds(name: str) -> None:
    path = list_configs()[name]
    if name in TRAINABLE:
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


def test_names_are_unique() -> None:
    """A config is found, and its runs are kept, by its name alone."""
    names = [path.stem for path in config_folder().glob('[!_]*/*.py')]
    assert sorted(names) == sorted(set(names))


def test_every_ablation_is_listed() -> None:
    text = (config_folder() / 'ablations' / 'README.md').read_text()
    assert sorted(re.findall(r'^\| `(\w+)`', text, re.MULTILINE)) == sorted(ABLATIONS)


@pytest.mark.parametrize('name', sorted(CLASSICAL))
def test_classical_config_builds(name: str) -> None:
    assert hasattr(BASELINES.build(load_config(CLASSICAL[name]).model), 'scores')


def test_every_network_has_a_config_for_every_data_set() -> None:
    wanted = [f'{model}_{data}' for model in (*UNFOLDED, *COMPARATORS) for data in DATASETS]
    wanted += [f'{model}_{data}_basicirstd' for model in COMPARATORS for data in DATASETS]
    wanted += [f'{model}_{data}_best' for model in UNFOLDED for data in DATASETS]
    assert sorted(set(wanted) - set(TRAINABLE)) == []
    assert set(list_models()) == {*UNFOLDED, *COMPARATORS}


@pytest.mark.parametrize('model', COMPARATORS)
def test_common_recipe_is_common(model: str) -> None:
    config = load_config(find_config(f'{model}_nudt_sirst_basicirstd'))
    loader = config.train_dataloader
    assert (loader.batch_size, config.train_cfg.max_epochs, config.inference_size) == (16, 400, None)
    assert config.optim_wrapper.optimizer == {'type': 'Adam', 'lr': 5e-4}
    assert (config.param_scheduler[0].milestones, config.param_scheduler[0].gamma) == ([200, 300], 0.1)
    assert [step.type for step in loader.dataset.pipeline] == ['RandomCrop', 'RandomFlip', 'RandomTranspose']
    assert loader.dataset['size'] is config.test_dataloader.dataset['size'] is None
    assert (255 * config.model.mean, 255 * config.model.std) == pytest.approx((107.8091, 33.0227))
    soft_iou = config.model.losses.soft_iou
    assert (soft_iou.type, soft_iou.per_image) == ('SoftIoULoss', False)
    detector = MODELS.build(config.model)
    assert detector.in_channels == 1
    assert list(soft_iou.get('on', ['target'])) == [
        name for name in detector.network.outputs if name.startswith(('target', 'aux'))
    ]


def test_authors_recipes_of_comparators() -> None:
    """A figure or two of each that nothing else would give."""
    mshnet = load_config(find_config('mshnet_irstd_1k'))
    assert mshnet.model.losses.sls.warm_on == 'aux1'
    assert mshnet.optim_wrapper.optimizer == {'type': 'Adagrad', 'lr': 0.05}
    assert mshnet.param_scheduler == []
    assert load_config(find_config('dnanet_nudt_sirst')).train_cfg.max_epochs == 1500
    assert load_config(find_config('uiunet_sirstv1')).train_dataloader.sampler.shuffle is False
    assert load_config(find_config('agpcnet_sirst_aug')).optim_wrapper.optimizer.type == 'SGD'
    assert load_config(find_config('isnet_sirstv1')).param_scheduler[0].T_max == 30
    assert load_config(find_config('l2sknet_irstd_1k')).train_dataloader.dataset['size'] == 512
    assert load_config(find_config('rpcanet_plusplus_sirst_aug')).train_cfg.max_epochs == 400
    assert load_config(find_config('istdunet_sirstv1')).model.network.centre_head is True
    assert load_config(find_config('mtunet_sirstv1')).inference_size == 1024
    assert 255 * load_config(find_config('acm_nudt_sirst_lesps')).model.mean == pytest.approx(95.010)


def test_published_recipes() -> None:
    rpcanet, lrrnet = load_config(find_config('rpcanet_sirstv1')), load_config(find_config('lrrnet_irstd_1k'))
    assert rpcanet.train_cfg.max_epochs == 800
    assert rpcanet.model.losses.fidelity.weight == 0.01
    assert rpcanet.optim_wrapper.optimizer == {'type': 'Adam', 'lr': 1e-4}
    assert rpcanet.param_scheduler[0].end == 800
    assert lrrnet.train_dataloader.dataset['size'] == lrrnet.inference_size == 512
    assert load_config(find_config('drpcanet_sirstv1')).train_dataloader.batch_size == 8


@pytest.mark.parametrize('model', UNFOLDED)
@pytest.mark.parametrize('dataset', DATASETS)
def test_recommended_recipe(model: str, dataset: str) -> None:
    """Size, evaluation and network are the published recipe's, so that figures can be compared."""
    best, published = (load_config(find_config(f'{model}_{dataset}{suffix}')) for suffix in ('_best', ''))
    side = 512 if model == 'lrrnet' else 256
    assert best.inference_size == published.inference_size == side
    assert best.train_dataloader.dataset['size'] == best.test_dataloader.dataset['size'] == side
    assert best.train_dataloader.dataset.dataset == published.test_dataloader.dataset.dataset
    assert (best.train_dataloader.batch_size, best.train_cfg.max_epochs) == (8, 400)
    assert [step.type for step in best.train_dataloader.dataset.pipeline] == ['TargetCopyPaste']
    assert best.model.losses.bce.type == 'BCELoss'
    assert best.optim_wrapper.optimizer.type == 'AdamW'
    assert [schedule.type for schedule in best.param_scheduler] == ['LinearLR', 'CosineAnnealingLR']
    assert [hook.type for hook in best.custom_hooks][-2:] == ['DecompositionGridHook', 'EMAHook']
    switched = {'signed_subtraction': True}
    added = {key: value for key, value in best.model.network.items() if key not in published.model.network}
    changed = {
        key: best.model.network[key]
        for key, value in published.model.network.items()
        if best.model.network[key] != value
    }
    assert (added | changed).items() <= switched.items()


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
