"""Values and options that no training can use are refused in one line; those that it can use are used."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from drpca.cli import train as train_command
from drpca.config import find_config, list_configs, load_config
from drpca.engine import precision
from drpca.engine.hooks.empty_maps import EmptyMapsHook
from drpca.engine.runs import TrainingOptions, build_config, plan_runs
from drpca.errors import UserError
from drpca.models.detector import DetectionModel
from drpca.run_folder import RunFolder

CONFIG = 'rpcanet_plus_synthetic'


def arguments(data_root: Path, work: Path, *more: str, config: str = CONFIG) -> list[str]:
    small = (f'{part}_dataloader.dataset.size=32' for part in ('train', 'val', 'test'))
    return [
        *(config, '--data-root', str(data_root), '--work-dir', str(work), '--workers', '0', *more),
        *('--cfg-options', 'model.network.num_stages=1', 'train_dataloader.batch_size=2', *small),
    ]


@pytest.mark.parametrize(
    ('value', 'expected'),
    [
        ('train_cfg.max_epochs=abc', "max_epochs: expected a whole number of epochs, at least 1, got 'abc'"),
        ('train_cfg.val_interval=0', 'train_cfg.val_interval: expected a whole number'),
        ('optim_wrapper.optimizer.lr=abc', 'cannot be used'),
        ('optim_wrapper.optimizer.type=NoOpt', 'The optimizer is not known'),
        ('train_dataloader.batch_size=abc', 'cannot be used'),
        ('model.precision=float99', "Unknown precision 'float99'"),
        ('model=5', 'model: expected dict(type=…), got 5'),
        ('model.network.num_stages=abc', 'cannot be used'),
        ('model.losses.soft_iou.weight=None', 'SoftIoULoss: expected a number or dict(type=…) as weight, got None'),
        ('model.losses.fidelity.weight=abc', "as weight, got 'abc'"),
        ('default_hooks.checkpoint.interval=0', 'interval must be at least 1, got 0'),
        ('default_hooks.checkpoint.monitor=F2', "Unknown validation figure (monitor) 'F2'"),
        ('size=64', 'size only helps to write the config'),
        ('sync_bn=torch', 'sync_bn needs GPUs: leave it out'),
        ('train_cfg.max_epoch.x=3', "Unknown config key 'train_cfg.max_epoch'"),
    ],
)  # fmt: skip
def test_bad_config_values(
    data_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture, value: str, expected: str
) -> None:
    args = arguments(data_root, tmp_path, *([] if 'epoch' in value else ['--epochs', '1']))
    assert train_command.main([*args, 'train_dataloader.dataset.limit=2', value]) in (1, 2)
    errors = capsys.readouterr().err
    (line,) = [line for line in errors.splitlines() if line.startswith('error: ')]
    assert expected in line
    assert 'Traceback' not in errors


@pytest.mark.parametrize(
    ('options', 'expected'),
    [
        ({'clip_grad': -1}, '--clip-grad must be above 0, got -1'),
        ({'clip_grad': 'high'}, "--clip-grad must be a number, got 'high'"),
        ({'patience': 0}, '--patience must be at least 1, got 0'),
        ({'epochs': 2.5}, '--epochs must be a whole number, got 2.5'),
        ({'batch_size': True}, '--batch-size must be a whole number'),
        ({'ema': 2}, '--ema must lie between 0 and 1, got 2'),
        ({'workers': -1}, '--workers must be at least 0, got -1'),
        ({'amp': 'fp8'}, "Unknown precision (--amp) 'fp8'. Did you mean 'fp16'?"),
        ({'launcher': 'torchrun'}, "Unknown launcher 'torchrun'"),
        ({'cfg_options': ['a=1']}, "--cfg-options: expected dotted keys and values, got ['a=1']"),
        ({'cfg_options': {'randomness.seed': 7}}, 'randomness is set for every run: give --seeds'),
        ({'cfg_options': {'work_dir': 'here'}}, 'give --work-dir'),
    ],
)
def test_bad_options(options: dict[str, Any], expected: str) -> None:
    with pytest.raises(UserError) as error:
        TrainingOptions(**options)
    assert expected in str(error.value)


@pytest.mark.parametrize('seeds', [[-1], [0, 0], ['a']])
def test_bad_seeds(seeds: list[Any]) -> None:
    with pytest.raises(UserError, match='--seeds: expected different whole numbers from 0 on, got'):
        plan_runs([CONFIG], seeds=seeds)


def test_bad_options_of_the_command(data_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert train_command.main(arguments(data_root, tmp_path, '--clip-grad', '-1')) == 2
    assert capsys.readouterr().err == 'error: --clip-grad must be above 0, got -1.\n'


def test_names_and_folders_of_runs(data_root: Path) -> None:
    options = TrainingOptions(data_root=data_root, work_dir='runs', final=True)
    runs = plan_runs([], ['RPCANet+', 'lrrnet'], ['synthetic', 'mine'], [0, 3], options)
    names = ('rpcanet_plus_synthetic', 'rpcanet_plus_mine', 'lrrnet_synthetic', 'lrrnet_mine')
    assert [run.folder.path for run in runs] == [
        Path('runs', f'{name}_final', f'seed_{seed}') for name in names for seed in (0, 3)
    ]
    (run,) = plan_runs(['rpcanet_sirstv1'], datasets=['IRSTD-1k'])
    assert run.folder.path == Path('checkpoints', 'rpcanet_sirstv1_on_irstd1k', 'seed_0')
    assert [run.name for run in plan_runs(options=options)] == ['drpcanet_synthetic_final']
    with pytest.raises(UserError, match='not both'):
        plan_runs(['rpcanet_sirstv1'], ['rpcanet'])


def test_an_option_without_a_value(capsys: pytest.CaptureFixture) -> None:
    assert train_command.main([CONFIG, '--cfg-options', 'foo']) == 2
    assert "expected KEY=VALUE, got 'foo'" in capsys.readouterr().err


@pytest.mark.parametrize('option', ['--overfit', '--limit'])
def test_more_images_than_there_are(
    option: str, data_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    assert train_command.main(arguments(data_root, tmp_path, option, '9999', '--dry-run')) == 2
    assert f'{option}: expected at most ' in capsys.readouterr().err


def test_keys_that_only_help_to_write_a_config() -> None:
    with pytest.raises(UserError, match='train_loader only helps to write the config'):
        load_config(find_config('rpcanet_plus_sirstv1_best'), options={'train_loader.batch_size': 2})


def test_a_weight_without_its_end(data_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    config = tmp_path / 'mine.py'
    config.write_text(
        f"_base_ = '{find_config(CONFIG)}'\n"
        "model = dict(losses=dict(fidelity=dict(weight=dict(_delete_=True, type='ScheduledWeight', start=1.0))))\n"
    )
    assert train_command.main(arguments(data_root, tmp_path, '--epochs', '1', config=str(config))) == 2
    assert "ScheduledWeight needs 'end'" in capsys.readouterr().err


@pytest.mark.parametrize('name', ['mshnet_sirstv1_basicirstd', 'rpcanet_plus_sirstv1'])
def test_milestones_keep_their_places(name: str) -> None:
    whole, short = (load_config(find_config(name), options=o) for o in ({}, {'train_cfg.max_epochs': 40}))
    for before, after in zip(whole.param_scheduler, short.param_scheduler):
        places = [[m / epochs for m in part.get('milestones', [])] for part, epochs in ((before, 400), (after, 40))]
        assert places[0] == places[1]
    assert ('milestones' in whole.param_scheduler[0]) == name.endswith('basicirstd')


def test_a_config_that_was_read_can_be_trained_with_other_options() -> None:
    read = load_config(find_config('lrrnet_sirstv1_cpu'), options={'model.network.dropout': 0.5})
    (run,) = plan_runs([read], datasets=['synthetic'], options=TrainingOptions(epochs=10))
    assert (run.config, run.name) == (read, 'lrrnet_sirstv1_cpu_on_synthetic')
    options = {'train_cfg.max_epochs': 10}
    changed, fresh = (load_config(source, 'synthetic', options=options) for source in (read, read.filename))
    assert changed.model.network.dropout == 0.5
    assert read.train_cfg.max_epochs != 10, 'what was handed over stays as it is'
    assert changed.param_scheduler == fresh.param_scheduler, 'schedules follow'


@pytest.mark.parametrize(
    ('config', 'options', 'native', 'expected', 'said'),
    [
        ('rpcanet_plus_synthetic_best', {}, True, 'bfloat16', ''),
        ('rpcanet_plus_synthetic_best', {}, False, 'float32', 'so the training runs in float32'),
        ('rpcanet_plus_synthetic', {'fast': True}, False, 'float32', 'so the training runs in float32'),
        ('rpcanet_plus_synthetic', {'amp': 'bf16'}, False, 'bfloat16', 'as asked for'),
        ('rpcanet_plus_synthetic', {'cfg_options': {'model.precision': 'bfloat16'}}, False, 'bfloat16', 'as asked for'),
        ('rpcanet_plus_synthetic_best', {'cfg_options': {'model.precision': 'float32'}}, False, 'float32', ''),
    ],
)
def test_precision_follows_the_processor(
    data_root: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    config: str,
    options: dict[str, Any],
    native: bool,
    expected: str,
    said: str,
) -> None:
    monkeypatch.setattr(precision, 'computes_bfloat16', lambda device: native)
    (run,) = plan_runs([config], options=TrainingOptions(data_root=data_root, **options))
    assert build_config(run).model.get('precision', 'float32') == expected
    assert [said in record.getMessage() for record in caplog.records] == ([True] if said else [])


def test_empty_maps_are_said_once_with_an_option_that_works(
    data_root: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def words(losses: dict[str, Any], *recalls: float) -> str:
        optimizer = torch.optim.SGD([torch.zeros(1)], lr=1e-3)
        model = DetectionModel({'type': 'RPCANet', 'num_stages': 1, 'channels': 2}, losses)
        runner = SimpleNamespace(model=model, optim_wrapper=SimpleNamespace(optimizer=optimizer))
        hook = EmptyMapsHook(patience=3)
        for recall in recalls:
            hook.after_val_epoch(runner, {'recall': recall, 'Fa': recall})
            saved: dict[str, Any] = {}
            hook.before_save_checkpoint(runner, saved)
            hook = EmptyMapsHook(patience=3)
            hook.after_load_checkpoint(runner, saved)
            for _ in range(2):  # an epoch without validation behind it
                hook.after_epoch(runner)
        return capsys.readouterr().out

    soft_iou = {'soft_iou': {'type': 'SoftIoULoss'}}
    assert words(soft_iou, 0, 0, 0.1, 0, 0) == ''
    said = words(soft_iou, 0.1, 0, 0, 0, 0, 0)
    assert said.count('Nothing was predicted in 3 validations in a row') == 1
    offered = [word for word in said.split() if word.startswith('model.losses')]
    args = train_command.build_parser().parse_args([CONFIG, '--cfg-options', *offered])
    (run,) = plan_runs([CONFIG], options=TrainingOptions(data_root=data_root, cfg_options=args.cfg_options))
    model = build_config(run).model
    assert DetectionModel(model.network, model.losses).losses['bce'].weight == 20
    said = words({**soft_iou, 'bce': {'type': 'BCELoss'}}, 0, 0, 0)
    assert 'optim_wrapper.optimizer.lr=2e-04' in said
    assert 'BCELoss' not in said


RECOMMENDED = [
    name for name, path in list_configs().items() if re.search('_(cpu|best|whole)$', name) and path.is_file()
]


@pytest.mark.parametrize('name', RECOMMENDED)
def test_recommended_recipes_keep_a_gradient_in_empty_maps(name: str) -> None:
    losses = load_config(find_config(name)).model.losses
    assert [term.weight for term in losses.values() if term.type == 'BCELoss'] == [20], 'docs/training.md says why'


def test_averaging_changes_no_training_loss(data_root: Path, tmp_path: Path) -> None:
    """A config that averages already must not do so twice: validation would swap averages into the training."""
    logs = []
    for folder, options in (('own', []), ('other', ['--ema', '0.1'])):
        args = arguments(data_root, tmp_path / folder, '--epochs', '3', *options, config=f'{CONFIG}_best')
        assert train_command.main([*args, 'train_cfg.val_interval=1', 'model.precision=float32']) == 0
        logs.append(RunFolder(tmp_path / folder / f'{CONFIG}_best' / 'seed_0').log())
    own, other = logs
    assert [line['loss'] for line in own] == [line['loss'] for line in other]
    assert own[-1]['val/AUC'] != other[-1]['val/AUC']


def test_averages_count_updates_when_batches_are_accumulated(data_root: Path) -> None:
    (run,) = plan_runs([f'{CONFIG}_best'], options=TrainingOptions(data_root=data_root, accumulate=2))
    (hook,) = [hook for hook in build_config(run).custom_hooks if hook['type'] == 'EMAHook']
    assert (hook['interval'], hook['gamma']) == (2, 20)


def test_scheduled_weights_move_in_the_cpu_recipes(data_root: Path, tmp_path: Path) -> None:
    for name in ('lrrnet_sirstv1_cpu', 'lrrnet_synthetic_cpu', 'rpcanet_plus_sirstv1_cpu'):
        hooks = [hook['type'] for hook in load_config(find_config(name)).custom_hooks]
        assert 'LossEpochHook' in hooks, name
