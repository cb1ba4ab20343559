"""Training runs: the same weights however a run is interrupted, and clear ends when it cannot go on."""

from __future__ import annotations

import gc
import importlib
import json
import multiprocessing
import os
import signal
import sys
import weakref
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

import drpca
from drpca.cli import train as train_command
from drpca.engine.faults import TrainingDiverged
from drpca.errors import UserError
from drpca.files import in_use
from drpca.run_folder import RunFolder
from tests.support import KILLED_IN_A_STEP, ROOT, train_until_killed

SMALL = {
    'model.network.num_stages': 1, 'train_cfg.val_interval': 1,
    **{f'{part}_dataloader.dataset.size': 32 for part in ('train', 'val', 'test')},
}  # fmt: skip


def keywords(data_root: Path, work: Path, keys: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    """Of a small training, with changed keys of the config and further options."""
    return {
        'model': 'rpcanet_plus', 'dataset': 'synthetic', 'data_root': str(data_root), 'work_dir': str(work),
        'epochs': 2, 'batch_size': 2, 'workers': 0, 'cfg_options': {**SMALL, **(keys or {})}, **more,
    }  # fmt: skip


def arguments(data_root: Path, work: Path, *more: str, options: tuple[str, ...] = ()) -> list[str]:
    """The same for the command."""
    return [
        *('--model', 'rpcanet_plus', '--dataset', 'synthetic', '--data-root', str(data_root)),
        *('--work-dir', str(work), '--epochs', '2', '--batch-size', '2', '--workers', '0', *more),
        *('--cfg-options', *(f'{key}={value}' for key, value in SMALL.items()), *options),
    ]


def run_folder(work: Path, seed: int = 0) -> Path:
    return work / 'rpcanet_plus_synthetic' / f'seed_{seed}'


def load(path: Path) -> dict[str, Any]:
    return torch.load(path, weights_only=True)


def log(work: Path) -> list[dict[str, Any]]:
    return RunFolder(run_folder(work)).log()


def assert_same_run(first: Path, second: Path) -> None:
    a, b = load(run_folder(first) / 'last.pth'), load(run_folder(second) / 'last.pth')
    assert a['meta']['iter'] == b['meta']['iter']
    for part in ('state_dict', 'ema_state_dict'):
        assert (part in a) == (part in b)
        for name, value in a.get(part, {}).items():
            assert torch.equal(value, b[part][name]), f'{part} {name} differs'
    keys = ('epoch', 'iter', 'lr', 'loss', 'val/IoU')
    assert [[line[key] for key in keys] for line in log(first)] == [
        [pytest.approx(line[key], rel=1e-6) for key in keys] for line in log(second)
    ]


@pytest.fixture(scope='module')
def reference(data_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An uninterrupted run with averaged weights, by the command."""
    work = tmp_path_factory.mktemp('reference')
    assert train_command.main(arguments(data_root, work, '--ema', '0.01')) == 0
    return work


def test_a_run_leaves_what_the_readme_says(reference: Path) -> None:
    folder = run_folder(reference)
    assert {'best.pth', 'last.pth', 'log.jsonl', 'summary.json'} <= {path.name for path in folder.iterdir()}
    assert list(folder.glob('*/vis_data/events*')), 'no TensorBoard events'
    lines = log(reference)
    assert [line['epoch'] for line in lines] == [1, 2]
    assert lines[-1]['lr'] == pytest.approx(1e-4 * (1 / 14) ** 0.9), 'the schedule ends with the 14 updates'
    summary = json.loads((folder / 'summary.json').read_text())
    assert summary['best'] == max(line['val/IoU'] for line in lines)
    assert set(summary['test']) >= {'IoU', 'nIoU', 'F1', 'Pd', 'Fa', 'drpca/IoU', 'rpcanet/Fa'}
    assert load(folder / 'best.pth').keys() == {'meta', 'state_dict'}


def test_training_is_a_function(data_root: Path, reference: Path, tmp_path: Path) -> None:
    """The same run as the command's, and what comes back."""
    options = keywords(data_root, tmp_path, ema=0.01)
    result = drpca.train(**options)
    assert result.folder.path == run_folder(tmp_path)
    assert {**result.folder.summary(), 'folder': result.folder} == vars(result)
    assert_same_run(reference, tmp_path)
    with pytest.raises(UserError, match='already holds a run'):
        drpca.train(**options)
    with pytest.raises(UserError, match='Give a config, or model and dataset'):
        drpca.train(**{**options, 'dataset': None})
    with pytest.raises(TypeError, match='epoch'):
        drpca.train('rpcanet_plus_synthetic', epoch=3)


def test_the_test_split_is_scored_with_the_selected_weights(
    data_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also with averaged weights, which a hook would replace by those of the last epoch."""
    from drpca.evaluation.metrics import TargetMetric
    from drpca.models.detector import DetectionModel

    seen: list[dict[str, torch.Tensor]] = []
    original = DetectionModel.forward

    def remember(self: DetectionModel, *args: Any, **kwargs: Any) -> Any:
        if kwargs.get('mode') == 'predict':
            seen.append({name: value.clone() for name, value in self.state_dict().items()})
        return original(self, *args, **kwargs)

    monkeypatch.setattr(DetectionModel, 'forward', remember)
    # The first validation wins: later ones report less.
    figures = iter([0.9, 0.1, 0.1])
    compute = TargetMetric.compute_metrics
    worse = lambda self, results: {**compute(self, results), 'IoU': next(figures)}  # noqa: E731
    monkeypatch.setattr(TargetMetric, 'compute_metrics', worse)
    drpca.train(**keywords(data_root, tmp_path, {'optim_wrapper.optimizer.lr': 0.01}, ema=0.3))
    best, last = load(run_folder(tmp_path) / 'best.pth'), load(run_folder(tmp_path) / 'last.pth')
    assert best['meta']['selection']['best_epoch'] == 1
    assert all(torch.equal(seen[-1][name], value) for name, value in best['state_dict'].items())
    assert not all(torch.equal(seen[-1][name], value) for name, value in last['state_dict'].items())


KILLED = {
    'within an epoch': KILLED_IN_A_STEP,
    'while saving': """
import os, signal, torch
save, saves = torch.save, []
def half(content, file, *args, **kwargs):
    saves.append(1)
    if len(saves) == 5:
        file.write(bytes(1000))
        file.flush()
        os.kill(os.getpid(), signal.SIGKILL)
    return save(content, file, *args, **kwargs)
torch.save = half
""",
}


@pytest.mark.parametrize('moment', list(KILLED))
def test_killed_and_resumed_is_bit_identical(data_root: Path, reference: Path, tmp_path: Path, moment: str) -> None:
    options = keywords(data_root, tmp_path, {'default_hooks.checkpoint.interval_iters': 2}, ema=0.01)
    train_until_killed(options, KILLED[moment])
    folder = run_folder(tmp_path)
    assert bool([*folder.glob('*.partial.pth')]) == (moment == 'while saving')
    assert load(folder / 'last.pth')['meta']['iter'] % 7 != 0, 'the last state lies within an epoch'
    drpca.train(**options, resume=True)
    assert_same_run(reference, tmp_path)
    assert not [*folder.glob('*.partial.pth')]


def test_ctrl_c_saves_and_says_how_to_resume(
    data_root: Path, reference: Path, tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    from drpca.engine.hooks.log import TrainingLogHook

    original = TrainingLogHook.after_train_iter

    def interrupt(self: Any, runner: Any, batch_idx: int, **rest: Any) -> None:
        original(self, runner, batch_idx, **rest)
        if runner.iter == 3:
            signal.raise_signal(signal.SIGINT)

    args = arguments(data_root, tmp_path, '--ema', '0.01')
    with monkeypatch.context() as patched:
        patched.setattr(sys, 'argv', ['../my runs/run_configs.py'])
        patched.setattr(TrainingLogHook, 'after_train_iter', interrupt)
        assert train_command.main(args) == 130
    assert "Saved. Go on with: python '../my runs/run_configs.py' --model" in capsys.readouterr().err
    assert load(run_folder(tmp_path) / 'last.pth')['meta']['iter'] == 4
    assert train_command.main(['--resume', *args]) == 0
    assert_same_run(reference, tmp_path)


def test_a_run_is_not_written_over(data_root: Path, reference: Path) -> None:
    before = (run_folder(reference) / 'last.pth').read_bytes()
    with pytest.raises(UserError, match='Continue it with --resume'):
        drpca.train(**keywords(data_root, reference))
    assert (run_folder(reference) / 'last.pth').read_bytes() == before


def test_a_run_that_another_process_trains_is_left_alone(data_root: Path, tmp_path: Path) -> None:
    options = keywords(data_root, tmp_path)
    for resume in (False, True):
        with in_use(run_folder(tmp_path)), pytest.raises(UserError, match=f'in use by process {os.getpid()}'):
            drpca.train(**options, resume=resume)
    assert [path.name for path in run_folder(tmp_path).iterdir()] == ['.lock']
    (tmp_path / 'file').touch()
    with pytest.raises(UserError, match=r'Cannot write .*: Not a directory; name another one'):
        drpca.train(**{**options, 'work_dir': tmp_path / 'file'})


def test_resuming_with_another_architecture_is_refused(data_root: Path, reference: Path) -> None:
    options = keywords(data_root, reference, {'model.network.bottleneck': 8}, ema=0.01)
    with pytest.raises(UserError, match='same architecture'):
        drpca.train(**options, resume=True)


def test_nan_stops_with_the_names_of_the_batch(data_root: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingDiverged, match='The loss became'):
        drpca.train(**keywords(data_root, tmp_path, {'optim_wrapper.optimizer.lr': 1e30}))
    record = json.loads((run_folder(tmp_path) / 'diverged.json').read_text())
    assert len(record['images']) == 2
    assert record['loss'] in ('nan', 'inf')


def test_a_failing_run_does_not_stop_the_others(data_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    args = arguments(data_root, tmp_path, '--seeds', '0', '1')
    (run_folder(tmp_path) / 'last.pth').parent.mkdir(parents=True)
    (run_folder(tmp_path) / 'last.pth').write_bytes(b'taken')
    assert train_command.main(args) == 2
    out, err = capsys.readouterr()
    assert 'already holds a run' in err
    assert [line.split()[3] for line in out.splitlines() if line.startswith('rpcanet_plus_synthetic seed')][:2] == [
        'failed', 'done',
    ]  # fmt: skip
    assert (run_folder(tmp_path, 1) / 'best.pth').exists()


def test_a_fault_of_the_program_does_not_stop_the_others(
    data_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv('TMPDIR', str(tmp_path))
    monkeypatch.setattr('tempfile.tempdir', None)
    figures = {'IoU': 0.25, 'Pd': 1.0, 'Fa': 0.123456}
    result = SimpleNamespace(epochs=2, best=0.5, checkpoint='best.pth', test=figures, seconds=3)

    def train_run(run: Any, resume: bool) -> Any:
        if run.seed == 0:
            raise ZeroDivisionError('ours')
        return result

    monkeypatch.setattr('drpca.engine.runs.train_run', train_run)
    assert train_command.main(arguments(data_root, tmp_path, '--seeds', '0', '1', '--final')) == 70
    out, err = capsys.readouterr()
    (line,) = err.splitlines()
    assert line.startswith('error: rpcanet_plus_synthetic_final seed 0: A fault in drpca')
    assert 'ZeroDivisionError: ours' in line
    assert 'Traceback' in next(tmp_path.glob('drpca-fault-*')).read_text()
    done = next(line for line in out.splitlines() if line.startswith('rpcanet_plus_synthetic_final seed 1 '))
    assert 'weights after the last epoch' in out
    assert done.split()[3:] == ['done', '2', '50.00', '25.00', '-', '-', '100.00', '123456.00', '3.00']
    assert ['nIoU', 'F1', 'Pd', 'Fa', 'e-6'] in [line.split()[-7:-2] for line in out.splitlines()]


def test_of_several_runs_none_stays_in_memory(data_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor its loader processes and open files, whether it was done or failed, and though nothing collects garbage."""
    engine: Any = importlib.import_module('drpca.engine.train')
    built: list[Any] = []
    build, test = engine.build_runner, engine.DetectionRunner.test

    def left() -> list[Any]:
        numbers = [number for number in os.listdir('/proc/self/fd') if os.path.exists(f'/proc/self/fd/{number}')]
        files = [os.readlink(f'/proc/self/fd/{number}') for number in numbers]
        alive = [part for parts in built for part in (ref() for ref in parts) if part is not None]
        written = [name for name in files if f'{tmp_path}/' in name and not name.endswith('.lock')]
        return [*alive, *multiprocessing.active_children(), *written]

    def watched(config: Any) -> Any:
        assert left() == []
        runner = build(config)
        assert runner.train_dataloader.persistent_workers
        built.append([weakref.ref(part) for part in (runner, runner.model, runner.train_dataloader, runner.visualizer)])
        return runner

    def fails_once(self: Any) -> Any:
        if len(built) == 1:
            assert len(multiprocessing.active_children()) == 1
            raise OSError(28, 'No space left on device', 'file')
        return test(self)

    monkeypatch.setattr(engine, 'build_runner', watched)
    monkeypatch.setattr(engine.DetectionRunner, 'test', fails_once)
    args = arguments(data_root, tmp_path, '--seeds', '0', '1', '--workers', '1', '--epochs', '1')
    gc.disable()
    try:
        assert train_command.main([*args, 'train_dataloader.dataset.limit=2', 'train_cfg.val_interval=9']) == 1
        assert len(built) == 2
        assert left() == []
    finally:
        gc.enable()


def test_early_stopping_and_resuming_a_stopped_run(data_root: Path, tmp_path: Path) -> None:
    options = keywords(data_root, tmp_path, {'default_hooks.checkpoint.min_delta': 2}, epochs=6, patience=1)
    assert drpca.train(**options).epochs == 2, 'one validation without improvement, then stop'
    assert drpca.train(**options, resume=True).epochs == 2
    assert [line['epoch'] for line in log(tmp_path)] == [1, 2]


@pytest.mark.parametrize('schedule', ['cosine_400e', 'step_400e'])
def test_other_schedules(data_root: Path, tmp_path: Path, schedule: str) -> None:
    config = tmp_path / 'rpcanet_plus_mine.py'
    bases = ['models/rpcanet_plus', 'datasets/synthetic', f'schedules/{schedule}', 'default_runtime']
    config.write_text(f'_base_ = {[str(ROOT / "configs" / "_base_" / f"{base}.py") for base in bases]}\n')
    short = {'train_dataloader.dataset.limit': 2, 'train_cfg.val_interval': 30}
    options = keywords(data_root, tmp_path / 'runs', short, epochs=30, clip_grad=1, amp='bf16')
    drpca.train(**{**options, 'config': config, 'model': None, 'dataset': None})
    rates = [line['lr'] for line in RunFolder(tmp_path / 'runs' / 'rpcanet_plus_mine' / 'seed_0').log()]
    if schedule == 'cosine_400e':
        assert max(rates[:3]) == pytest.approx(1e-4), 'the warm-up ends although epochs have one iteration'
        assert rates[-1] < 0.02 * max(rates)
    else:
        assert rates[0] == pytest.approx(1e-4)
        assert rates[-1] == pytest.approx(1e-6), 'both milestones lie within the shorter training'


@pytest.mark.parametrize('name', ['rpcanet', 'drpcanet', 'lrrnet'])
def test_every_network_trains_one_step(data_root: Path, tmp_path: Path, name: str) -> None:
    options = keywords(data_root, tmp_path, {'train_dataloader.dataset.limit': 2}, model=name, epochs=1)
    if name == 'lrrnet':
        del options['cfg_options']['model.network.num_stages']
    assert drpca.train(**options).epochs == 1


@pytest.mark.slow
def test_compiled_training_equals_eager(data_root: Path, tmp_path: Path) -> None:
    drpca.train(**keywords(data_root, tmp_path / 'eager'))
    drpca.train(**keywords(data_root, tmp_path / 'compiled', compile=True))
    eager, compiled = log(tmp_path / 'eager'), log(tmp_path / 'compiled')
    assert [line['loss'] for line in compiled] == pytest.approx([line['loss'] for line in eager], rel=1e-3)
