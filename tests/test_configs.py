"""Every config in the tree loads, builds and keeps to the naming."""

from __future__ import annotations

import inspect
import re
import sys
from pathlib import Path

import pytest
import torch
from mmengine.registry import PARAM_SCHEDULERS, DefaultScope
from mmengine.runner import Runner

from drpca.config import KNOWN_KEYS, config_folder, config_for, find_config, list_configs, list_models, load_config
from drpca.errors import UserError
from drpca.registry import BASELINES, MODELS, TRANSFORMS
from tests.support import python

CONFIGS = list_configs()
ABLATIONS = {name: path for name, path in CONFIGS.items() if path.parent.name == 'ablations'}
CLASSICAL = {name: path for name, path in CONFIGS.items() if path.parent.name == 'classical'}
TRAINABLE = {name: path for name, path in CONFIGS.items() if name not in {*ABLATIONS, *CLASSICAL}}
UNFOLDED = sorted(model for model in list_models() if f'{model}_sirstv1_best' in CONFIGS)
COMPARATORS = sorted(model for model in list_models() if f'{model}_sirstv1_basicirstd' in CONFIGS)
DATASETS = ('sirstv1', 'sirstv2', 'nudt_sirst', 'irstd_1k', 'sirst_aug', 'synthetic')
SEQUENCES = ('synthetic_sequence', 'nudt_mirsdt', 'irdst_simulation')


@pytest.mark.parametrize('name', sorted(name for name, path in CONFIGS.items() if path.is_file()))
def test_config_builds(name: str) -> None:
    path = CONFIGS[name]
    config = load_config(path)
    if name in CLASSICAL:
        assert hasattr(BASELINES.build(config.model), 'scores')
        return
    if name in TRAINABLE:
        grammar = rf'{path.parent.name}_({"|".join((*DATASETS, *SEQUENCES))})(_[a-z]+\d?)?'
        assert re.fullmatch(grammar, name), 'names are <model>_<data set>[_variant]'
    with torch.device('meta'):
        model = MODELS.build(config.model)
    assert 'target' in model.network.outputs
    source = config.train_dataloader.dataset
    for step in (*source.pipeline, *source.get('before_resize', ())):
        TRANSFORMS.build(step)
    for schedule in config.param_scheduler:
        assert schedule.get('end', config.train_cfg.max_epochs) <= config.train_cfg.max_epochs


def poly(t: int) -> float:
    return (1 - t / 200) ** 0.9


def steps(t: int) -> float:
    return 0.1 ** ((t >= 100) + (t >= 150))


# Learning rate of update t of 200 (20 epochs of 10), of the first one's; where it is stepped by epoch, t // 10 counts.
SCHEDULES = {
    'rpcanet_sirstv1': (1e-4, poly),
    'rpcanet_sirst_aug': (1e-4, poly),
    'rpcanet_plus_sirst_aug': (1e-4, poly),
    'rpcanet_plus_nudt_sirst': (1e-4, poly),
    'rpcanet_plus_irstd_1k': (1e-4, poly),
    'drpcanet_sirstv1': (1e-4, poly),
    'lrrnet_irstd_1k': (1e-4, poly),
    'rpcanet_plusplus_sirstv1': (1e-4, poly),
    'agpcnet_sirst_aug': (0.05, poly),
    'rdian_sirstv1': (0.005, lambda t: ((0.005 - 1e-6) * (1 - t // 10 / 20) ** 0.9 + 1e-6) / 0.005),
    'acm_sirstv1_basicirstd': (5e-4, steps),
    'l2sknet_sirstv1': (5e-4, steps),
    'dnanet_sirstv1': (0.05, lambda t: 1.0),
}


@pytest.mark.parametrize('name', SCHEDULES)
def test_learning_rates_are_the_published_ones(name: str) -> None:
    first, formula = SCHEDULES[name]
    config = load_config(find_config(name), options={'train_cfg.max_epochs': 20})
    assert config.optim_wrapper.optimizer.lr == first
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=first)
    with DefaultScope.overwrite_default_scope('drpca'):
        schedules = [
            PARAM_SCHEDULERS.build(dict(schedule), default_args={'optimizer': optimizer, 'epoch_length': 10})
            for schedule in config.param_scheduler
        ]
    rates = []
    for t in range(200):
        rates.append(optimizer.param_groups[0]['lr'])
        optimizer.step()
        for schedule in schedules:
            if not schedule.by_epoch or t % 10 == 9:
                schedule.step()
    assert rates == pytest.approx([first * formula(t) for t in range(200)], rel=1e-9)


def test_names_are_unique() -> None:
    """A config is found, and its runs are kept, by its name alone."""
    names = [path.stem for path in config_folder().glob('[!_]*/*.py')]
    assert sorted(names) == sorted(set(names))


def test_every_ablation_is_listed() -> None:
    text = (config_folder() / 'ablations' / 'README.md').read_text()
    assert sorted(re.findall(r'^\| `(\w+)`', text, re.MULTILINE)) == sorted(ABLATIONS)


@pytest.mark.parametrize('model', list_models())
def test_two_ways_of_naming_a_training_are_the_same(model: str) -> None:
    """The config of a data set, and ``--dataset`` with the model's own."""
    homes = [name for name in CONFIGS if re.fullmatch(rf'{model}_sirstv1(_[a-z]+)?', name)]
    assert f'{model}_sirstv1' in homes
    for number, home in enumerate(homes, list_models().index(model)):
        paths = [CONFIGS[home.replace('sirstv1', dataset)] for dataset in DATASETS[1:]]
        paths = [path for path in paths if not path.is_file()]
        for path in paths[number % len(paths) :][:1]:  # of each a data set in turn
            one = load_config(path)
            assert one.test_dataloader.dataset.dataset == one.dataset != 'SIRSTv1'
            assert one.to_dict() == load_config(CONFIGS[home], one.dataset).to_dict()


def test_a_config_without_a_file_answers_by_name_and_path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = config_folder() / 'acm' / 'acm_irstd_1k.py'
    monkeypatch.chdir(config_folder().parent)
    for name in ('acm_irstd_1k', 'acm_irstd_1k.py', 'configs/acm/acm_irstd_1k.py', path, Path('acm_irstd_1k'),
                 'configs/../' + str(path.relative_to(Path.cwd()))):  # fmt: skip
        assert find_config(name) == path
    assert not path.exists()
    monkeypatch.chdir(tmp_path)
    assert find_config('configs/acm/acm_irstd_1k.py') == path
    for name in ('elsewhere/acm_irstd_1k.py', str(tmp_path / 'acm_irstd_1k.py'), 'acm_irstd_1k_bets'):
        with pytest.raises(UserError, match='Unknown config'):
            find_config(name)


def test_normalisation_belongs_to_the_data_set() -> None:
    def means(name: str, dataset: str | None = None) -> float:
        return 255 * load_config(find_config(name), dataset).model.mean

    assert means('acm_irstd_1k') == means('acm_sirstv1', 'irstd-1K') == pytest.approx(87.4662)
    assert means('acm_sirstv1', 'NUDT') == pytest.approx(107.8091)
    assert means('acm_irstd_1k', 'my_own_frames') == pytest.approx(87.4662)
    assert means('acm_irstd_1k_lesps') == means('acm_sirstv1_lesps', 'IRSTD-1k') == pytest.approx(95.010)
    assert 'mean' not in load_config(find_config('lrrnet_irstd_1k')).model


def test_joined_data_sets_are_normalised_each_as_its_own() -> None:
    config = load_config(find_config('acm_sirstv1'), 'NUDT+irstd_1k+mine')
    assert 255 * config.model.mean == pytest.approx(107.8091)
    source = config.train_dataloader.dataset
    assert source.dataset == 'NUDT-SIRST+IRSTD-1k+mine'
    means = {name: 255 * pair['mean'] for name, pair in source.normalisation.items()}
    assert means == pytest.approx({'network': 107.8091, 'NUDT-SIRST': 107.8091, 'IRSTD-1k': 87.4662})
    options = {'val_dataloader.dataset.dataset': ['SIRSTv1', 'IRSTD-1k']}
    listed = load_config(find_config('acm_sirstv1'), options=options)
    assert 255 * listed.val_dataloader.dataset.normalisation['IRSTD-1k'].mean == pytest.approx(87.4662)
    assert listed.train_dataloader.dataset.normalisation == listed.val_dataloader.dataset.normalisation
    unnormalised = load_config(find_config('lrrnet_sirstv1'), ['SIRSTv1', 'IRSTD-1k'])
    assert 'normalisation' not in unnormalised.train_dataloader.dataset


def test_own_mean_is_kept(tmp_path: Path) -> None:
    file = tmp_path / 'mine.py'
    file.write_text(f'_base_ = {str(find_config("acm_irstd_1k"))!r}\nmodel = dict(mean=0.5)\n')
    config = load_config(file, 'NUDT-SIRST')
    assert (config.model.mean, config.model.std) == (0.5, pytest.approx(39.7195 / 255))
    assert config.train_dataloader.dataset.dataset == 'NUDT-SIRST'


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
    judged = [name for name in detector.network.outputs if name.startswith(('target', 'aux'))]
    assert list(soft_iou.get('on', ['target'])) == judged


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
    old, new = published.model.network, best.model.network
    assert old.keys() <= new.keys()
    changed = {key: value for key, value in new.items() if key not in old or value != old[key]}
    assert changed in ({}, {'signed_subtraction': True})


@pytest.mark.parametrize(
    ('model', 'dataset', 'expected'),
    [
        ('DRPCA-Net', 'SIRSTv1', 'drpcanet_sirstv1'),
        ('rpcanet+', 'NUDT-SIRST', 'rpcanet_plus_nudt_sirst'),
        ('LRRNet', 'irstd-1K', 'lrrnet_irstd_1k'),
        ('RPCANet', 'my_own_frames', 'rpcanet_sirstv1'),
        ('TensorRPCANet', 'NUDT-MIRSDT', 'tensor_rpcanet_nudt_mirsdt'),
        ('dtum', 'my_own_sequences', 'dtum_synthetic_sequence'),
    ],
)
def test_config_is_found_by_the_names_people_use(model: str, dataset: str, expected: str) -> None:
    assert config_for(model, dataset, windows=True).stem == expected


def test_unknown_names_list_the_known_ones() -> None:
    with pytest.raises(UserError, match=r'Known: .*drpcanet'):
        config_for('drpcanett', 'SIRSTv1')
    with pytest.raises(UserError, match='Unknown model'):
        config_for('dtum', 'SIRSTv1')
    with pytest.raises(UserError, match="Did you mean 'rpcanet_sirstv1'") as caught:
        find_config('rpcanet_sirst1')
    assert len(str(caught.value)) < 250  # the nearest alone


@pytest.mark.parametrize('key', ['optimizer_wrapper.lr', 'train_cfgs', 'train_cfg.max_epochs.x', 'optim_wraper'])
def test_an_option_that_nothing_reads_is_refused(key: str) -> None:
    with pytest.raises(UserError, match='Unknown config key'):
        load_config(find_config('rpcanet_sirstv1'), options={key: 1})


def test_options_reach_schedules_and_lists() -> None:
    options = {'train_cfg.max_epochs': 7, 'param_scheduler.0.power': 2.0}
    config = load_config(find_config('rpcanet_sirstv1'), options=options)
    assert (config.param_scheduler[0].end, config.param_scheduler[0].power) == (7, 2.0)


@pytest.mark.parametrize(
    ('text', 'reason'),
    [
        ('model = dict(type=', 'SyntaxError'),
        ('raise SystemExit(0)', 'SystemExit'),
        ("_base_ = './broken.py'", r'broken\.py is below itself'),
        ("_base_ = './other.py'", r'broken\.py is below itself'),
    ],
)
def test_a_broken_config_is_one_line(tmp_path: Path, text: str, reason: str) -> None:
    (tmp_path / 'broken.py').write_text(text)
    (tmp_path / 'other.py').write_text("_base_ = './broken.py'")
    with pytest.raises(UserError, match=f'Cannot read config .*{reason}'):
        load_config(tmp_path / 'broken.py')


def write(folder: Path, **files: str) -> Path:
    """Files by their names without ``.py``; returns the last one."""
    folder.mkdir(exist_ok=True)
    for name, text in files.items():
        (folder / f'{name}.py').write_text(text.replace('HOME', str(find_config('lrrnet_synthetic'))))
    return folder / f'{name}.py'


@pytest.mark.parametrize(
    ('text', 'error'),
    [
        ("_base_ = 'HOME'\noptim_wraper = dict()", "key 'optim_wraper'.*mean 'optim_wrapper'.*mine.py"),
        ("_base_ = 'HOME'\nsize = 128", 'size in .*mine.py only helps to write the config'),
        ("model = dict(type='IPI')\nbatch_size = 4", "Unknown config key 'batch_size'"),
        ("model = dict(type='IPI')\ntrain_dataloader = dict(size=4)", 'train_dataloader: expected dict'),
    ],
)
def test_a_key_that_nothing_reads_is_refused(tmp_path: Path, text: str, error: str) -> None:
    with pytest.raises(UserError, match=error):
        load_config(write(tmp_path, mine=text), 'SIRSTv1')


def test_names_that_are_read_or_private_are_fine(tmp_path: Path) -> None:
    base = "_base_ = 'HOME'\nepochs = 7\n_note = 'mine'\nloop = dict(max_epochs=epochs)\n"
    child = "_base_ = './base.py'\ntrain_cfg = _base_.loop\n"
    assert load_config(write(tmp_path, base=base, child=child)).train_cfg.max_epochs == 7
    whole = tmp_path / 'whole.py'
    load_config(find_config('acm_nudt_sirst')).dump(whole)  # as a run keeps it
    assert load_config(whole).to_dict() == load_config(find_config('acm_nudt_sirst')).to_dict()


def test_known_keys_hold_all_of_the_runner() -> None:
    assert set(inspect.signature(Runner.__init__).parameters) - {'self'} <= KNOWN_KEYS


def test_custom_imports_add_up_and_find_their_neighbours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, 'path', list(sys.path))
    here = tmp_path / 'here'
    write(tmp_path / 'there', there_part='loaded = True', there="custom_imports = dict(imports='there_part')")
    write(here, own_part='', more_part='', more="custom_imports = dict(imports=['more_part'])")
    bases = "_base_ = ['HOME', '../there/there.py', 'more.py']\n"
    config = load_config(write(here, mine=f"{bases}custom_imports = dict(imports=['own_part'])"))
    assert config.custom_imports.imports == ['there_part', 'more_part', 'own_part']
    assert sys.modules['there_part'].loaded
    idiom = "_base_ = 'mine.py'\ncustom_imports = dict(imports=[*_base_.custom_imports.imports, 'json'])"
    assert load_config(write(here, idiom=idiom)).custom_imports.imports[2:] == ['own_part', 'json']


@pytest.mark.parametrize(
    ('imports', 'error'),
    [
        ("dict(imports=['not_there'])", r'Cannot import not_there \(custom_imports of .*mine.py\): ModuleNotF'),
        ("dict(imports=['falls_over'])", 'Cannot import falls_over .*: ValueError: no'),
        ("dict(imports=['conftest'])", 'conftest.py has the name of .*, which is imported already'),
        ('dict(import_=[])', 'custom_imports in .*: expected dict'),
    ],
)
def test_a_custom_import_that_fails_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, imports: str, error: str
) -> None:
    monkeypatch.setattr(sys, 'path', list(sys.path))
    monkeypatch.setitem(sys.modules, 'conftest', re)
    mine = f"model = dict(type='IPI')\ncustom_imports = {imports}"
    with pytest.raises(UserError, match=error):
        load_config(write(tmp_path, conftest='', falls_over="raise ValueError('no')", mine=mine))


def test_reading_a_config_imports_no_torch() -> None:
    code = 'import sys, drpca.config as c; c.load_config(c.find_config("acm_irstd_1k")); '
    code += 'assert "torch" not in sys.modules'
    assert python(code).returncode == 0
