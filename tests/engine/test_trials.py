"""Trials before a training, parts of the data, and the length of a training."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import torch

import drpca
from drpca import progress
from drpca.cli import train as train_command
from drpca.config import LOADERS, find_config, load_config
from drpca.datasets.dataset import InfraredDataset, part_of
from drpca.engine import runs, trial
from drpca.engine.loop import Interrupted
from drpca.engine.runs import TrainingOptions, build_config, plan_runs
from drpca.engine.train import limited
from drpca.errors import UserError
from drpca.models.detector import DetectionModel
from drpca.run_folder import RunFolder, find_runs

SMALL: dict[str, Any] = {
    'model.network.num_stages': 1, 'model.network.channels': 16, 'train_cfg.val_interval': 1,
    **{f'{part}_dataloader.dataset.size': 32 for part in ('train', 'val', 'test')},
}  # fmt: skip
CONFIG = 'rpcanet_plus_synthetic'


@pytest.fixture
def options(data_root: Path, tmp_path: Path) -> dict[str, Any]:
    return {
        'data_root': str(data_root), 'work_dir': str(tmp_path / 'runs'), 'batch_size': 2, 'workers': 0,
        'cfg_options': SMALL,
    }  # fmt: skip


def arguments(options: dict[str, Any], *more: str, **keys: Any) -> list[str]:
    given = {**options, **keys}
    pairs = [f'{key}={value}' for key, value in given.pop('cfg_options').items()]
    words = [word for key, value in given.items() for word in (f'--{key.replace("_", "-")}', str(value))]
    return [CONFIG, *words, *more, '--cfg-options', *pairs]


def test_a_rehearsal_tries_everything_and_keeps_nothing(
    options: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    assert train_command.main(arguments(options, '--fast-dev-run')) == 0
    assert 'All of it works' in capsys.readouterr().out
    assert not (tmp_path / 'runs').exists()


@pytest.mark.parametrize('stage', ['test', 'export'])
def test_a_rehearsal_finds_what_would_fail_later(
    options: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, stage: str
) -> None:
    if stage == 'export':
        monkeypatch.setattr(trial, 'export_model', _refuse)
    else:
        options['cfg_options'] = {**SMALL, f'{stage}_dataloader.dataset.size': -1}
    assert train_command.main(arguments(options, '--fast-dev-run')) in (1, 2)
    out, err = capsys.readouterr()
    assert 'All of it works' not in out
    assert ('the export does not: no such operator' in err) == (stage == 'export')
    assert 'Traceback' not in err


def test_both_memory_orders_are_tried_of_3d_convolutions_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(trial, 'milliseconds', lambda calls, _: {name: call() or 1.0 for name, call in calls.items()})
    config = load_config(find_config('dtum_synthetic_sequence'), fast='cpu', options={'model.network.channels': 4})
    for loader in LOADERS:
        config[loader].dataset.synthetic.update(train=1, val=1, test=1, num_frames=5, size=32)
    config.work_dir = str(tmp_path)
    config.train_dataloader.dataset.limit = 4  # a part of a part of windows
    assert trial.faster_order(config)
    assert 'NHWC 1 ms, NCHW 1 ms a step' in capsys.readouterr().out


def _refuse(*_: Any, **__: Any) -> None:
    raise UserError('no such operator')


def test_a_rehearsal_of_a_data_set_of_ones_own(
    options: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also one that has no ``limit`` of its own."""
    monkeypatch.setattr(trial, 'export_model', lambda *_, **__: None)
    (tmp_path / 'ones_data_of_trials.py').write_text(
        'import torch\nfrom drpca.registry import DATASETS\n\n'
        '@DATASETS.register_module()\nclass OnesOfTrials:\n'
        '    def __init__(self, **_): pass\n    def __len__(self): return 300\n'
        '    def __getitem__(self, i):\n'
        '        assert i < 4\n'
        '        return dict(image=torch.rand(1, 32, 32), gt_mask=torch.ones(1, 32, 32), name=str(i))\n'
    )
    config = tmp_path / 'mine.py'
    config.write_text(
        f"_base_ = '{find_config(CONFIG)}'\ncustom_imports = dict(imports=['ones_data_of_trials'])\n"
        "train_dataloader = dict(dataset=dict(_delete_=True, type='OnesOfTrials'))\n"
    )
    keys = {key: value for key, value in SMALL.items() if 'train_dataloader' not in key}
    result = drpca.train(config, fast_dev_run=True, **{**options, 'cfg_options': keys})
    assert (result.epochs, result.checkpoint) == (2, '')


def test_part_of_a_list() -> None:
    assert part_of(range(10), 3) == [0, 1, 2]
    assert part_of(range(10), 0.3) == [0, 3, 6]
    assert part_of(range(10), 0.01) == [0]
    assert part_of(range(2), 9) == [0, 1]


def test_limit(data_root: Path, options: dict[str, Any]) -> None:
    whole = InfraredDataset('synthetic', 'train', data_root).names
    share = InfraredDataset('synthetic', 'train', data_root, limit=0.5)
    assert share.names == whole[::2][: len(share)]
    assert len(share) == round(len(whole) / 2)
    own = {'type': 'InfraredDataset', 'dataset': 'synthetic', 'split': 'train', 'data_root': data_root, 'limit': 2}
    assert len(limited(own, 0.5)) == 1, 'a share of what the config takes'
    result = drpca.train(CONFIG, limit=4, epochs=1, **options)
    assert result.folder.name == f'{CONFIG}_limit4'
    assert torch.load(result.checkpoint, weights_only=True)['meta']['iter'] == 2
    assert not find_runs(options['work_dir'], CONFIG), 'no run of the whole config'


def test_overfit_validates_what_it_trains_on(options: dict[str, Any]) -> None:
    flip = [{'type': 'RandomFlip'}]
    keys = {**SMALL, **{f'train_dataloader.dataset.{steps}': flip for steps in ('pipeline', 'before_resize')}}
    result = drpca.train(CONFIG, overfit=3, epochs=1, **{**options, 'cfg_options': keys, 'batch_size': 8})
    assert result.folder.name == f'{CONFIG}_overfit3'
    assert result.test is None
    (run,) = plan_runs([CONFIG], options=TrainingOptions(overfit=3, **{**options, 'cfg_options': keys}))
    config = build_config(run)
    assert config.train_dataloader.dataset == config.val_dataloader.dataset
    assert config.train_dataloader.dataset.pipeline == config.train_dataloader.dataset.before_resize == []
    assert config.train_dataloader.images == config.val_dataloader.images == 3


@pytest.mark.parametrize(
    ('given', 'expected'),
    [
        ({'limit': 0.0}, '--limit must be above 0'),
        ({'limit': 2.5}, 'a share below 1 or a whole number of images, got 2.5'),
        ({'overfit': 0}, '--overfit must be at least 1'),
        ({'overfit': 2, 'final': True}, 'leave out --limit and --final'),
        ({'time': -1}, '--time must be above 0'),
        ({'time': 1, 'epochs': 3}, 'leave out --epochs'),
        ({'batch_size': 'car'}, "--batch-size must be a whole number, got 'car'"),
        ({'batch_size': 'auto', 'launcher': 'pytorch'}, '--batch-size auto measures in one process'),
        ({'time': 1, 'launcher': 'slurm'}, '--time measures in one process'),
    ],
)
def test_options_that_do_not_go(given: dict[str, Any], expected: str) -> None:
    with pytest.raises(UserError) as error:
        TrainingOptions(**given)
    assert expected in str(error.value)


def test_search_for_the_largest_batch() -> None:
    tried: list[int] = []

    def fits(size: int) -> bool:
        tried.append(size)
        return size <= 37

    found = trial.search(fits, 1, 300, None, lambda: 0.0)
    assert found is not None
    assert 35 <= found <= 37
    assert tried[:7] == [1, 2, 4, 8, 16, 32, 64]
    assert trial.search(fits, 1, 20, None, lambda: 0.0) == 20, 'all images'
    assert trial.search(fits, 40, 300, None, lambda: 0.0) is None


def test_search_on_a_processor_tries_nothing_beyond_the_room() -> None:
    """Memory of 50 + 10 per image, of which 400 are free."""
    largest = [0]

    def fits(size: int) -> bool:
        largest[0] = max(largest[0], size)
        return True

    found = trial.search(fits, 1, 300, 400.0, lambda: 50.0 + 10.0 * largest[0])
    assert found is not None
    assert 36 <= found <= 40
    assert largest[0] <= 40


def test_the_largest_batch_is_trained_with_and_kept(
    options: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    forward = DetectionModel.forward

    def full(self: DetectionModel, image: torch.Tensor, *rest: Any, mode: str = 'tensor', **more: Any) -> Any:
        if mode == 'loss' and len(image) > 5:
            raise torch.cuda.OutOfMemoryError('CUDA out of memory.')
        return forward(self, image, *rest, mode=mode, **more)

    monkeypatch.setattr(DetectionModel, 'forward', full)
    result = drpca.train(CONFIG, epochs=1, **{**options, 'batch_size': 'auto'})
    assert 'batch size 5: the most that fits, of 13 images' in capsys.readouterr().out
    assert torch.load(result.checkpoint, weights_only=True)['meta']['epoch_length'] == 3
    monkeypatch.setattr(runs, 'largest_batch', None)  # a resumed run does not measure again
    (run,) = plan_runs([CONFIG], options=TrainingOptions(epochs=1, **{**options, 'batch_size': 'auto'}))
    assert runs._settle(run, runs._saved_config(run)).train_dataloader.batch_size == 5


def test_memory_of_this_machine() -> None:
    assert trial.free_memory() > 2**24
    assert trial.resident_peak() > 2**24


def test_as_many_epochs_as_fit(
    options: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    """Half a second per batch: 7 to train on, one to validate, one to test."""
    monkeypatch.setattr(trial, 'read_times', lambda _: {'batch': 0.5, 'validation': 0.5, 'rest': 0.0, 'epochs': 0.0})
    monkeypatch.setattr(trial, 'train', lambda config: None)
    (run,) = plan_runs([CONFIG], options=TrainingOptions(**options))
    config = build_config(run)
    assert trial.epochs_within(config, 100) == 22  # (0.9 · 100 s − 0.5 s for the test) / 4 s
    assert trial.epochs_within(config, 1e9) == 400, 'at most those of the config'
    with pytest.raises(UserError, match='not one epoch fits: it takes about'):
        trial.epochs_within(config, 2)
    assert 's per epoch: ' in capsys.readouterr().out


def test_a_training_within_a_time(
    options: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    """Measured, then trained for as many epochs; the schedule ends with them."""
    within = trial.epochs_within
    monkeypatch.setattr(runs, 'epochs_within', lambda config, seconds: min(within(config, seconds), 2))
    result = drpca.train(CONFIG, time=0.1, limit=4, **options)
    assert result.epochs == 2
    assert result.folder.log()[-1]['lr'] == pytest.approx(1e-4 * 0.25**0.9), 'the last of four'


def test_the_time_is_up(options: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that became slower: it stops, saved, and goes on with the schedule that it has."""
    monkeypatch.setattr(runs, 'epochs_within', lambda config, seconds: 3)
    with pytest.raises(Interrupted):
        drpca.train(CONFIG, time=1e-7, **options)
    folder = RunFolder(Path(options['work_dir']) / CONFIG / 'seed_0')
    assert torch.load(folder.last, weights_only=True)['meta']['iter'] == 1
    monkeypatch.setattr(runs, 'epochs_within', None)
    (run,) = plan_runs([CONFIG], options=TrainingOptions(time=1, **options))
    assert runs._settle(run, runs._saved_config(run)).train_cfg.max_epochs == 3


def test_a_longer_training_is_refused_with_the_command_that_does_it(
    options: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    assert train_command.main(arguments(options, '--epochs', '1', limit=4)) == 0
    capsys.readouterr()
    assert train_command.main(arguments(options, '--epochs', '3', '--resume', limit=4)) == 2
    line = capsys.readouterr().err
    found = re.search(r'from its weights: (python run_configs\.py .*)$', line.strip())
    assert found, line
    command = shlex.split(found[1])[2:]
    assert command[command.index('--epochs') + 1] == '2'
    assert (Path(options['work_dir']) / 'more').as_posix() in command
    assert Path(command[command.index('--load-from') + 1]).is_file()
    assert train_command.main([*command, '--dry-run']) == 0


def test_a_line_now_and_then_without_a_terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    now = [100.0]
    monkeypatch.setattr(progress.time, 'monotonic', lambda: now[0])
    lines = progress.progress_bar(600, 'iteration', 100)
    for _ in range(100):
        now[0] += 1
        lines.set_postfix(epoch=2, loss='0.5', refresh=False)
        lines.update(1)
    assert capsys.readouterr().err == 'iteration 160/600  epoch 2  loss 0.5  1 s each  07:20 left\n'


def test_a_rehearsal_does_not_go_on(options: dict[str, Any]) -> None:
    with pytest.raises(UserError, match='leave out --resume'):
        drpca.train(CONFIG, resume=True, fast_dev_run=True, **options)
