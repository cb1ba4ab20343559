"""A run that was stopped and resumed ends with the weights of one that was not, whatever loads its images."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from drpca.cli import train as train_command
from drpca.engine.hooks.log import TrainingLogHook
from drpca.engine.hooks.selection import SelectionHook
from drpca.evaluation.metrics import TargetMetric

EXIT_REQUEUE = 75
SIZES = [f'{part}_dataloader.dataset.size=32' for part in ('train', 'val', 'test')]
SIZES += ['train_dataloader.dataset.limit=8']
NETWORKS = {
    'lrrnet': [
        f'model.network.{option}'
        for option in ('base_channels=16', 'channel_mults=(1,1)', 'num_res_blocks=1', 'dropout=0.5')
    ],
    'rpcanet': ['model.network.num_stages=1'],
    'rpcanet_plus': ['model.network.num_stages=1'],
    'drpcanet': ['model.network.num_stages=1'],
}
LOADERS = {'none': (0, False), 'new': (2, False), 'persistent': (2, True)}
# Where SIGTERM comes: class and method, and in which of its calls; an epoch has four iterations.
MOMENTS: dict[str, tuple[type, str, int]] = {
    'at a boundary': (SelectionHook, 'after_epoch', 1),
    'inside': (TrainingLogHook, 'after_train_iter', 6),
    'in validation': (TargetMetric, 'process', 1),
}


def weights(network: str, loader: str, data_root: Path, work: Path, *more: str) -> tuple[int, dict[str, Any]]:
    """Trains two epochs (or goes on); exit code and last weights."""
    workers, persistent = LOADERS[loader]
    code = train_command.main([
        *('--model', network, '--dataset', 'synthetic', '--data-root', str(data_root), '--work-dir', str(work)),
        *('--epochs', '2', '--batch-size', '2', '--workers', str(workers), *more, '--cfg-options', *SIZES),
        *NETWORKS[network],
        *('train_cfg.val_interval=1', f'train_dataloader.persistent_workers={persistent}'),
    ])  # fmt: skip
    (last,) = work.glob('*/seed_0/last.pth')
    return code, torch.load(last, weights_only=True)['state_dict']


def stop_in_call(monkeypatch: pytest.MonkeyPatch, owner: type, name: str, number: int) -> None:
    """SIGTERM to this process after the given call of a method."""
    original: Callable[..., Any] = getattr(owner, name)
    calls = []

    def stop(*args: Any, **kwargs: Any) -> Any:
        result = original(*args, **kwargs)
        calls.append(1)
        if len(calls) == number:
            os.kill(os.getpid(), signal.SIGTERM)
        return result

    monkeypatch.setattr(owner, name, stop)


@pytest.fixture(scope='module')
def uninterrupted(data_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], dict[str, Any]]:
    """Weights of a network trained in one go; made once each."""
    made: dict[tuple[str, str], dict[str, Any]] = {}

    def get(network: str, loader: str) -> dict[str, Any]:
        if (network, loader) not in made:
            code, found = weights(network, loader, data_root, tmp_path_factory.mktemp(network))
            assert code == 0
            made[network, loader] = found
        return made[network, loader]

    return get


def differing(first: dict[str, Any], second: dict[str, Any]) -> list[str]:
    return [name for name, value in first.items() if not torch.equal(value, second[name])]


QUICK = [
    ('lrrnet', 'persistent', 'at a boundary'),
    ('lrrnet', 'persistent', 'in validation'),
    ('lrrnet', 'new', 'inside'),
]
CASES = [('lrrnet', loader, moment) for loader in LOADERS for moment in MOMENTS]
CASES += [(network, 'persistent', 'at a boundary') for network in NETWORKS if network != 'lrrnet']
CASES = [case if case in QUICK else pytest.param(*case, marks=pytest.mark.slow) for case in CASES]


@pytest.mark.parametrize(('network', 'loader', 'moment'), CASES)
def test_stopped_and_resumed_is_bit_identical(
    network: str, loader: str, moment: str, data_root: Path, tmp_path: Path,
    uninterrupted: Callable[[str, str], dict[str, Any]], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    with monkeypatch.context() as stopping:
        stop_in_call(stopping, *MOMENTS[moment])
        code, _ = weights(network, loader, data_root, tmp_path)
        assert code == EXIT_REQUEUE
    code, resumed = weights(network, loader, data_root, tmp_path, '--resume')
    assert code == 0
    different = differing(uninterrupted(network, loader), resumed)
    assert not different, f'{len(different)} of {len(resumed)} tensors differ'


def test_loader_processes_change_nothing(uninterrupted: Callable[[str, str], dict[str, Any]]) -> None:
    alone = uninterrupted('lrrnet', 'none')
    assert not any(differing(alone, uninterrupted('lrrnet', loader)) for loader in LOADERS)
