"""Several processes train as one: they stop, diverge and save together, log means, and resume each where it was.

Processes are forked from this one, which spares them half a minute of imports, and talk through gloo.
"""

from __future__ import annotations

import json
import math
import multiprocessing
import os
import signal
import socket
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt  # noqa: F401 - this and the next two: what a training imports late, here once for all
import pytest
import torch
import torch._dynamo
import torch.utils.tensorboard
from torch import Tensor, nn

import drpca
from drpca.config import find_config
from drpca.engine import processes
from drpca.engine.faults import TrainingDiverged, TrainingFailed
from drpca.engine.hooks import selection
from drpca.engine.hooks.log import TrainingLogHook
from drpca.engine.loop import Interrupted
from drpca.errors import DiskFull, UserError
from drpca.models.detector import DetectionModel
from drpca.registry import MODELS
from drpca.run_folder import RunFolder

pytestmark = pytest.mark.skipif(
    torch.cuda.is_available() or not hasattr(os, 'fork'), reason='forks, and a GPU does not outlast that'
)
COUNT = 2


class Tiny(nn.Module):
    """Statistics, random numbers and the two outputs of an unfolded network."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.Dropout(0.3), nn.Conv2d(4, 2, 3, padding=1)
        )

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        reconstruction, target = self.body(image).chunk(2, 1)
        return image + reconstruction, target


def _one(rank: int, count: int, port: int, names: tuple[str, str], body: Callable[[int], int | None]) -> None:
    code = 99
    try:
        ranks = dict(zip(names, (rank, count)))
        os.environ.update(
            {key: str(value) for key, value in (ranks | {'MASTER_PORT': port, 'LOCAL_RANK': rank}).items()}
        )
        os.environ['MASTER_ADDR'] = '127.0.0.1'
        MODELS.register_module(module=Tiny)
        code = body(rank) or 0
        processes.leave_processes()
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def together(
    body: Callable[[int], int | None], count: int = COUNT, names: tuple[str, str] = ('RANK', 'WORLD_SIZE')
) -> list[int | None]:
    """Calls a function with 0, 1, … in processes of one group each; what they return, 99 for an error."""
    with socket.socket() as found:
        found.bind(('127.0.0.1', 0))
        port = found.getsockname()[1]
    fork = multiprocessing.get_context('fork')
    begun = [fork.Process(target=_one, args=(rank, count, port, names, body)) for rank in range(count)]
    for process in begun:
        process.start()
    for process in begun:
        process.join(60)
        process.kill()  # where it hangs
    return [process.exitcode for process in begun]


@pytest.fixture(scope='module')
def config(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp('config') / 'tiny.py'
    path.write_text(
        f'_base_ = {str(find_config("rpcanet_plus_synthetic"))!r}\n'
        "model = dict(network=dict(_delete_=True, type='Tiny'))\n"
    )
    return str(path)


def options(
    config: str, data_root: Path, work: Path, keys: dict[str, Any] | None = None, **more: Any
) -> dict[str, Any]:
    sizes = {f'{part}_dataloader.dataset.size': 32 for part in ('train', 'val', 'test')}
    return {
        'config': config, 'data_root': str(data_root), 'work_dir': str(work), 'epochs': 2, 'batch_size': 1,
        'workers': 0, 'launcher': 'pytorch', 'accumulate': 3, 'ema': 0.1,
        'cfg_options': {'train_cfg.val_interval': 1, **sizes, **(keys or {})}, **more,
    }  # fmt: skip


def trains(rank: int, keywords: dict[str, Any]) -> int:
    try:
        drpca.train(**keywords)
    except Interrupted as stop:
        return stop.exit_code
    return 0


def after_iteration(action: Callable[[Any, dict[str, Tensor]], None]) -> None:
    """Has something done after every iteration of this process, with the runner and the losses."""
    original = TrainingLogHook.after_train_iter

    def then(self: Any, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        action(runner, outputs)
        original(self, runner, batch_idx, data_batch, outputs)

    TrainingLogHook.after_train_iter = then  # type: ignore[method-assign]


def statistics(model: nn.Module) -> dict[str, list[float]]:
    return {name: value.tolist() for name, value in model.named_buffers() if 'running' in name}


@pytest.fixture(scope='module')
def reference(config: str, data_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An uninterrupted run; every process has noted its losses and with which statistics it validates."""
    work = tmp_path_factory.mktemp('reference')

    def body(rank: int) -> int:
        losses: list[float] = []
        seen: list[Any] = []
        after_iteration(lambda runner, outputs: losses.append(outputs['loss'].item()))
        predict = DetectionModel.detect

        def watched(self: DetectionModel, image: Tensor) -> Tensor:
            seen.append(statistics(self))
            return predict(self, image)

        DetectionModel.detect = watched  # type: ignore[method-assign]
        code = trains(rank, options(config, data_root, work))
        (work / f'{rank}.json').write_text(json.dumps({'losses': losses, 'seen': seen}))
        return code

    assert together(body) == [0] * COUNT
    return work


def folder(work: Path) -> RunFolder:
    return RunFolder(work / 'tiny' / 'seed_0')


def last(work: Path) -> dict[str, Any]:
    return torch.load(folder(work).last, weights_only=True)


def notes(reference: Path) -> list[dict[str, Any]]:
    return [json.loads((reference / f'{rank}.json').read_text()) for rank in range(COUNT)]


def test_logged_losses_are_means_over_processes(reference: Path) -> None:
    first, second = (note['losses'] for note in notes(reference))
    assert len(first) == len(second) == 14
    assert first != second
    for epoch, line in enumerate(folder(reference).log()):
        own = [sum(losses[7 * epoch : 7 * epoch + 7]) / 7 for losses in (first, second)]
        assert line['loss'] == pytest.approx(sum(own) / 2, rel=1e-5)
        assert line['loss'] != pytest.approx(own[0], rel=1e-5)


def test_statistics_are_the_same_in_validation_and_in_the_file(reference: Path) -> None:
    """Those of the average, which is what is validated, and those of the weights themselves."""
    first, second = (note['seen'][-2] for note in notes(reference))  # the last of all is of the test
    assert first == second
    content = last(reference)
    saved = {name: value.tolist() for name, value in content['state_dict'].items() if 'running' in name}
    assert saved == first
    for key, prefix in (('state_dict', ''), ('ema_state_dict', 'module.')):
        for part in content['processes']:
            assert all(torch.equal(value, content[key][name]) for name, value in part[key].items())
            assert f'{prefix}network.body.1.running_var' in part[key]


@pytest.mark.parametrize(
    ('number', 'code', 'moments'), [(signal.SIGUSR1, 75, {1: 4}), (signal.SIGINT, 130, {0: 10, 1: 9})]
)
def test_a_signal_stops_all_processes_and_resuming_is_exact(
    config: str, data_root: Path, tmp_path: Path, reference: Path, number: int, code: int, moments: dict[int, int]
) -> None:
    """It reaches them in different iterations, or one alone, between two updates of accumulated gradients."""

    def stopped(rank: int) -> int:
        def stop(runner: Any, outputs: Any) -> None:
            if runner.iter + 1 == moments.get(rank):
                os.kill(os.getpid(), number)

        after_iteration(stop)
        return trains(rank, options(config, data_root, tmp_path))

    assert together(stopped) == [code] * COUNT
    content = last(tmp_path)
    assert content['meta']['iter'] == min(moments.values())
    assert ('gradients' in content) == (content['meta']['iter'] % 3 > 0)
    if content['meta']['iter'] % 7:
        parts = content['processes']
        name = 'network.body.1.running_mean'
        own = [part['ema_state_dict'][f'module.{name}'] for part in parts]
        assert not torch.equal(*own)
        torch.testing.assert_close(content['ema_state_dict'][f'module.{name}'], sum(own) / COUNT)
    assert together(lambda rank: trains(rank, options(config, data_root, tmp_path, resume=True))) == [0] * COUNT
    resumed, whole = last(tmp_path), last(reference)
    for key in ('state_dict', 'ema_state_dict'):
        assert all(torch.equal(value, resumed[key][name]) for name, value in whole[key].items()), key
    losses = [[line['loss'] for line in folder(work).log()] for work in (tmp_path, reference)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)


def test_all_processes_end_when_one_diverges(config: str, data_root: Path, tmp_path: Path) -> None:
    def body(rank: int) -> int:
        def spoil(runner: Any, outputs: dict[str, Tensor]) -> None:
            if rank == 1 and runner.iter == 2:
                outputs['loss'] = torch.tensor(math.nan)

        after_iteration(spoil)
        with pytest.raises(TrainingDiverged, match='The loss became nan in epoch 1'):
            drpca.train(**options(config, data_root, tmp_path))
        return 0

    assert together(body) == [0] * COUNT
    record = json.loads((folder(tmp_path).path / 'diverged.json').read_text())
    assert len(record['images']) == 1


def test_all_processes_end_when_the_first_cannot_save(config: str, data_root: Path, tmp_path: Path) -> None:
    def full(content: Any, path: Path) -> None:
        raise DiskFull(f'Cannot write {path}: the disk is full.')

    def body(rank: int) -> int:
        selection.save_checkpoint = full
        text = 'the disk is full' if rank == 0 else 'The first process could not save; it says why'
        with pytest.raises(TrainingFailed, match=text):
            drpca.train(**options(config, data_root, tmp_path))
        return 0

    assert together(body) == [0] * COUNT


def test_a_process_that_ends_is_named_by_the_others(
    config: str, data_root: Path, tmp_path: Path, capfd: pytest.CaptureFixture
) -> None:
    def body(rank: int) -> int:
        def leave(runner: Any, outputs: Any) -> None:
            if rank == 1:
                os._exit(3)

        after_iteration(leave)
        with pytest.raises(TrainingFailed, match='Another process of this training has ended'):
            drpca.train(**options(config, data_root, tmp_path))
        return 5

    assert together(body) == [5, 3]


def test_another_number_of_processes_goes_on_between_epochs_alone() -> None:
    def checkpoint(iteration: int) -> dict[str, Any]:
        return {'meta': {'iter': iteration, 'epoch_length': 7}, 'state_dict': {}, 'processes': [{}, {}]}

    assert 'processes' not in processes.take_part(checkpoint(14))
    with pytest.raises(UserError, match='of 2 processes and would go on with 1: resume it with as many'):
        processes.take_part(checkpoint(15))
    with pytest.raises(UserError, match='resume it with as many'):
        processes.take_part(checkpoint(14) | {'gradients': {}})


@pytest.mark.parametrize('launcher', ['pytorch', 'slurm', 'mpi'])
def test_a_launcher_has_to_be_there(launcher: str, data_root: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f'--launcher {launcher} expects to be started by .*run '):
        drpca.train('lrrnet_synthetic', data_root=data_root, work_dir=tmp_path, launcher=launcher)


def test_every_network_trains_under_slurm(data_root: Path, tmp_path: Path) -> None:
    """With the names that Slurm gives its processes; they share the images that one would take in batches of 2."""
    small = {'lrrnet': {'base_channels': 16, 'channel_mults': (1, 1), 'num_res_blocks': 1}}
    networks = ('rpcanet', 'rpcanet_plus', 'drpcanet', 'lrrnet')

    def body(rank: int) -> int:
        for name in networks:
            keys = {f'model.network.{key}': value for key, value in small.get(name, {'num_stages': 1}).items()}
            keys |= {'train_dataloader.dataset.limit': 5, 'val_dataloader.dataset.limit': 3}
            drpca.train(**options(f'{name}_synthetic', data_root, tmp_path, keys, epochs=1, launcher='slurm', ema=None))
        return 0

    assert together(body, names=('SLURM_PROCID', 'SLURM_NTASKS')) == [0] * COUNT
    for name in networks:
        iterations = [line['iter'] for line in RunFolder(tmp_path / f'{name}_synthetic' / 'seed_0').log()]
        assert iterations == [3], 'half of the 5 training images, rounded up'
