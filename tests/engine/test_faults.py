"""Runs that cannot go on say why in one line, and what they saved is there."""

from __future__ import annotations

import os
import re
import signal
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import torch

from drpca.cli import train as train_command
from drpca.datasets.synthetic import generate_dataset
from drpca.engine.faults import describe
from drpca.engine.hooks import selection as hooks
from drpca.engine.hooks.log import TrainingLogHook
from drpca.errors import UserError
from drpca.models.detector import DetectionModel
from drpca.run_folder import RunFolder
from tests.support import limited_files


def arguments(
    data_root: Path, work: Path, *more: str, options: tuple[str, ...] = (), model: str = 'rpcanet_plus'
) -> list[str]:
    parts = (f'{part}_dataloader.dataset.size=32' for part in ('train', 'val', 'test'))
    return [
        *('--model', model, '--dataset', 'synthetic', '--data-root', str(data_root), '--work-dir', str(work)),
        *('--epochs', '2', '--workers', '0', *more),
        *('--cfg-options', 'model.network.num_stages=1', *parts, 'train_cfg.val_interval=1', *options),
    ]  # fmt: skip


def folder(work: Path, model: str = 'rpcanet_plus') -> Path:
    return work / f'{model}_synthetic' / 'seed_0'


def epochs(work: Path) -> list[float]:
    return [line['epoch'] for line in RunFolder(folder(work)).log()]


def fails(args: list[str], capsys: pytest.CaptureFixture) -> str:
    """The error line of a run that ends with code 1."""
    assert train_command.main(args) == 1
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith('error: ')]
    assert len(lines) == 1
    return lines[0]


def limited(monkeypatch: pytest.MonkeyPatch, fits: Any) -> None:
    """A device whose memory is full where ``fits(batch, checkpointed)`` says no."""
    forward = DetectionModel.forward

    def full(self: DetectionModel, image: torch.Tensor, *rest: Any, mode: str = 'tensor', **more: Any) -> Any:
        if not fits(len(image), getattr(self.network, 'checkpoint_stages', False), mode):
            raise torch.cuda.OutOfMemoryError('CUDA out of memory. Tried to allocate 20.00 GiB.')
        return forward(self, image, *rest, mode=mode, **more)

    monkeypatch.setattr(DetectionModel, 'forward', full)


def test_out_of_memory_answers_with_what_fits(
    data_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    limited(monkeypatch, lambda batch, checkpointed, mode: mode != 'loss' or batch <= (8 if checkpointed else 3))
    line = fails(arguments(data_root, tmp_path, '--batch-size', '8'), capsys)
    assert 'Batch 8 of 32 × 32 does not fit in the memory of cpu' in line
    assert '2 fits: --batch-size 2 --accumulate 4' in line
    assert 'With --checkpoint-stages, 8 fits:' in line
    assert 'Nothing had been saved yet.' in line
    advised = ['--batch-size', '2', '--accumulate', '4', '--epochs', '1']
    assert train_command.main(arguments(data_root, tmp_path / 'smaller', *advised)) == 0
    advised = ['--batch-size', '8', '--checkpoint-stages', '--epochs', '1']
    assert train_command.main(arguments(data_root, tmp_path / 'checkpointed', *advised)) == 0


def test_out_of_memory_of_a_network_without_stages(
    data_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    limited(monkeypatch, lambda *_: False)
    args = arguments(data_root, tmp_path, '--batch-size', '2', model='lrrnet')
    args.remove('model.network.num_stages=1')
    line = fails(args, capsys)
    assert 'and no smaller one does: choose a smaller size' in line
    assert '--checkpoint-stages' not in line


def test_looking_for_a_batch_changes_nothing(
    data_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Memory that fills up in the fifth step: the model is as the fourth left it."""
    states: list[dict[str, Any]] = []
    engine = sys.modules['drpca.engine.train']
    explain = engine.explain_out_of_memory

    def watched(runner: Any) -> str:
        states.extend([{k: v.clone() for k, v in runner.model.state_dict().items()}])
        text = explain(runner)
        states.append(runner.model.state_dict())
        assert all(p.grad is None for p in runner.model.parameters())
        return text

    steps = iter(range(1, 100))
    limited(monkeypatch, lambda batch, checkpointed, mode: batch < 4 or next(steps) < 3 or mode != 'loss')
    monkeypatch.setattr(engine, 'explain_out_of_memory', watched)
    options = ('default_hooks.checkpoint.interval_iters=1',)
    line = fails(arguments(data_root, tmp_path, '--batch-size', '4', options=options), capsys)
    assert f'The last checkpoint, {folder(tmp_path) / "last.pth"}, is intact' in line
    assert len(states) == 2
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())
    assert torch.load(folder(tmp_path) / 'last.pth', weights_only=True)['meta']['iter'] == 2


def test_out_of_memory_in_validation(
    data_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    limited(monkeypatch, lambda batch, checkpointed, mode: mode == 'loss')
    assert 'val_dataloader.batch_size=1' in fails(arguments(data_root, tmp_path), capsys)


def test_a_vanished_file(data_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """Deleted after the first epoch of a run that keeps nothing in memory; then it comes back."""
    own = tmp_path / 'data'
    generate_dataset(own, num_train=16, num_test=4, size=64)
    victim = own / 'synthetic/trainval/images/000003.png'
    victim = victim if victim.exists() else sorted(victim.parent.iterdir())[0]
    options = (*(f'{p}_dataloader.dataset.cache=False' for p in ('train', 'val')), 'train_cfg.val_interval=9')
    args = arguments(own, tmp_path, '--final', options=options)
    content = victim.read_bytes()

    def vanish(self: Any, runner: Any) -> None:
        victim.unlink(missing_ok=True)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(hooks.SelectionHook, 'after_train_epoch', vanish)
        line = fails(args, capsys)
    assert f'Cannot read image {victim}: no such file. The last checkpoint' in line
    victim.write_bytes(content)
    assert train_command.main(['--resume', *args]) == 0


def test_a_file_that_vanished_in_a_loader_process(
    data_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    from drpca.datasets import io as dataset_io

    def gone(path: Path) -> None:
        raise UserError(f'Cannot read image {path}: no such file.')

    args = arguments(data_root, tmp_path, options=('train_dataloader.dataset.cache=False',))
    args[args.index('--workers') + 1] = '1'
    monkeypatch.setattr(dataset_io, '_checked', gone)
    monkeypatch.setattr('drpca.engine.hooks.pictures.DecompositionGridHook.before_train', lambda *_: None)
    options = ('val_dataloader.dataset.cache=False', 'test_dataloader.dataset.cache=False')
    assert train_command.main([*args, *options]) == 2, 'nothing was trained yet: bad input'
    lines = capsys.readouterr().err.splitlines()
    line = next(line for line in lines if line.startswith('error: '))
    assert 'seed 0: Cannot read image' in line
    assert 'Traceback' not in line


@pytest.mark.skipif(not hasattr(os, 'fork'), reason='needs fork')
def test_a_killed_loader_process(
    data_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    from drpca.datasets import InfraredDataset

    main, load = os.getpid(), InfraredDataset.__getitem__
    marker = tmp_path / 'epoch_1_done'

    def dies(self: InfraredDataset, index: Any) -> Any:
        if os.getpid() != main and marker.exists():
            os.kill(os.getpid(), signal.SIGKILL)
        return load(self, index)

    monkeypatch.setattr(InfraredDataset, '__getitem__', dies)
    monkeypatch.setattr(hooks.SelectionHook, 'after_train_epoch', lambda *_: marker.touch(), raising=False)
    args = arguments(data_root, tmp_path)
    args[args.index('--workers') + 1] = '1'
    line = fails(args, capsys)
    assert 'A loader process died: it ' in line
    assert '--workers 0' in line
    assert 'last.pth, is intact' in line
    monkeypatch.setattr(InfraredDataset, '__getitem__', load)
    assert train_command.main(['--resume', *args]) == 0


def test_a_full_disk(
    data_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No file may grow beyond half of what the second checkpoint needs: as on a full disk, writing fails."""
    monkeypatch.setattr(sys, 'argv', ['run_configs.py'])
    args = arguments(data_root, tmp_path, '--epochs', '3', options=('train_dataloader.dataset.limit=2',))
    after = hooks.SelectionHook.after_epoch
    with ExitStack() as full, monkeypatch.context() as patched:

        def fill(self: Any, runner: Any) -> None:
            if runner.epoch == 2:
                full.enter_context(limited_files((folder(tmp_path) / 'last.pth').stat().st_size // 2))
            after(self, runner)

        patched.setattr(hooks.SelectionHook, 'after_epoch', fill)
        assert train_command.main(args) == 1
    errors = capsys.readouterr().err
    line = next(line for line in errors.splitlines() if line.startswith('error: '))
    assert 'Cannot write' in line
    assert 'Go on with: python run_configs.py' in errors
    last = torch.load(folder(tmp_path) / 'last.pth', weights_only=True)
    assert last['meta']['epoch'] == 1
    assert not list(folder(tmp_path).glob('*.partial*'))
    assert train_command.main(['--resume', *args]) == 0
    assert epochs(tmp_path) == [1, 2, 3]


def test_a_log_that_was_cut_off_is_mended(data_root: Path, tmp_path: Path) -> None:
    args = [*arguments(data_root, tmp_path), 'train_dataloader.dataset.limit=2']
    assert train_command.main(args) == 0
    log = folder(tmp_path) / 'log.jsonl'
    before = epochs(tmp_path)
    log.write_text(log.read_text() + '{"epoch": 9, "it')
    assert train_command.main(['--resume', *args]) == 0
    assert epochs(tmp_path) == before


@pytest.mark.parametrize(
    ('option', 'value', 'message'),
    [
        ('--epochs', '5', 'not 5, and its learning rate ends with them'),
        ('--batch-size', '1', 'begun with 1 batches per epoch and would go on with 2'),
    ],
)
def test_resuming_with_another_schedule_or_batch_size_is_refused(
    data_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture, option: str, value: str, message: str
) -> None:
    args = [*arguments(data_root, tmp_path, '--batch-size', '2'), 'train_dataloader.dataset.limit=2']
    assert train_command.main(args) == 0
    args[args.index(option) + 1] = value
    assert train_command.main(['--resume', *args]) == 2
    assert message in capsys.readouterr().err


def test_a_run_killed_before_its_first_save_begins_again(data_root: Path, tmp_path: Path) -> None:
    args = [*arguments(data_root, tmp_path), 'train_dataloader.dataset.limit=2']
    assert train_command.main(args) == 0
    (folder(tmp_path) / 'last.pth').unlink()
    before = epochs(tmp_path)
    assert train_command.main(['--resume', *args]) == 0
    assert epochs(tmp_path) == before


def test_weights_that_are_no_numbers_are_not_saved(
    data_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    args = [*arguments(data_root, tmp_path), 'train_dataloader.dataset.limit=2', 'train_cfg.val_interval=9']
    after_epoch = TrainingLogHook.after_epoch

    def spoil(self: TrainingLogHook, runner: Any) -> None:
        after_epoch(self, runner)
        if runner.epoch == 2:
            next(runner.model.parameters()).data.fill_(float('nan'))

    monkeypatch.setattr(TrainingLogHook, 'after_epoch', spoil)
    assert train_command.main(args) == 1
    err = capsys.readouterr().err
    assert 'The weights are no numbers any more after epoch 2' in err
    assert 'Go on with' not in err, 'the same command would meet the same numbers'
    last = torch.load(folder(tmp_path) / 'last.pth', weights_only=True)
    assert last['meta']['epoch'] == 1
    assert all(value.isfinite().all() for value in last['state_dict'].values())


def test_empty_predictions_are_pointed_out(
    data_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    args = [*arguments(data_root, tmp_path), 'train_dataloader.dataset.limit=2']
    monkeypatch.setattr(DetectionModel, 'detect', lambda self, image: torch.full_like(image, -30.0))
    assert train_command.main(args) == 0
    assert 'Nothing is predicted' in capsys.readouterr().out


def test_ctrl_c_in_the_last_validation_stops(data_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    args = [*arguments(data_root, tmp_path), 'train_dataloader.dataset.limit=2', 'train_cfg.val_interval=9']
    after_val_epoch = TrainingLogHook.after_val_epoch

    def press(self: TrainingLogHook, runner: Any, metrics: Any = None) -> None:
        after_val_epoch(self, runner, metrics)
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(TrainingLogHook, 'after_val_epoch', press)
    assert train_command.main([*args[:2], '--seeds', '0', '1', *args[2:]]) == 130
    assert (folder(tmp_path) / 'last.pth').exists()
    assert not folder(tmp_path).with_name('seed_1').exists()
    monkeypatch.undo()
    assert train_command.main(['--resume', *args]) == 0


@pytest.mark.parametrize(
    ('error', 'expected'),
    [
        (RuntimeError('DataLoader worker (pid 12) is killed by signal: Bus error.'), 'limit of /dev/shm'),
        (RuntimeError('DataLoader worker (pid(s) 12, 13) exited unexpectedly'), 'it exited unexpectedly. Usually'),
        (OSError(28, 'No space left on device', 'log.jsonl'), r'The disk is full \(log.jsonl\)'),
    ],
)  # fmt: skip
def test_texts(error: Exception, expected: str) -> None:
    text = describe(error)
    assert text is not None
    assert re.search(expected, text), text


def test_other_errors_stay_what_they_are() -> None:
    assert describe(RuntimeError('mat1 and mat2 shapes cannot be multiplied')) is None
    assert describe(FileNotFoundError(2, 'No such file', 'x')) is None
