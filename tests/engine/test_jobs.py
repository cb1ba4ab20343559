"""Several trainings at once: all are accounted for, and the same command goes on."""

from __future__ import annotations

import io
import json
import os
import pickle
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
import submitit

from drpca.cli import train as train_command
from drpca.config import find_config
from drpca.engine import job_board, jobs, runs
from drpca.engine.faults import TrainingFailed
from drpca.engine.jobs import JobOptions, run_jobs
from drpca.engine.loop import Interrupted
from drpca.engine.runs import Outcome, Run, TrainingOptions, TrainingResult, plan_runs
from drpca.errors import UserError
from drpca.files import in_use

CONFIG = 'rpcanet_plus_synthetic'
DEBUG = JobOptions('debug')


def planned(data_root: Path, work: Path, seeds: int = 4) -> list[Run]:
    options = TrainingOptions(data_root=data_root, work_dir=work, epochs=1, workers=0)
    return plan_runs([CONFIG], seeds=range(seeds), options=options)


def result_of(run: Run) -> TrainingResult:
    return TrainingResult(run.folder, CONFIG, run.seed, 1, 'val', 1, 0.5, 1000, 2.0, 'best.pth', {'IoU': 0.25})


@pytest.fixture
def pretended(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, bool]]:
    """Trainings that take no time: seed 1 fails, seed 2 has a fault, seed 3 was done before, the others are done."""
    begun: list[tuple[int, bool]] = []

    def train_run(run: Run, resume: bool) -> TrainingResult:
        begun.append((run.seed, resume))
        if run.seed == 1:
            raise TrainingFailed('The disk is full.')
        if run.seed == 2:
            raise ZeroDivisionError('ours')
        return finish(run)

    monkeypatch.setattr(runs, 'train_run', train_run)
    monkeypatch.setattr(runs, 'check_same_training', lambda run, checkpoint: None)
    return begun


def finish(run: Run) -> TrainingResult:
    result = result_of(run)
    run.folder.path.mkdir(parents=True, exist_ok=True)
    (run.folder.path / 'summary.json').write_text(json.dumps({k: v for k, v in vars(result).items() if k != 'folder'}))
    return result


def test_all_are_accounted_for(
    data_root: Path, tmp_path: Path, pretended: list[tuple[int, bool]], capsys: pytest.CaptureFixture
) -> None:
    args = [CONFIG, '--data-root', str(data_root), '--work-dir', str(tmp_path), '--executor', 'debug']
    finish(planned(data_root, tmp_path)[3])
    assert train_command.main([*args, '--seeds', '0', '1', '2', '3']) == 70
    out, err = capsys.readouterr()
    assert pretended == [(0, True), (1, True), (2, True)]
    assert states(out) == ['done', 'failed', 'failed', 'done']
    assert f'{CONFIG} seed 1: failed The disk is full.' in out
    assert f'error: {CONFIG} seed 2: A fault in drpca' in err
    assert 'ZeroDivisionError: ours' in err
    pretended.clear()
    assert train_command.main([*args, '--seeds', '0', '3']) == 0
    assert pretended == [], 'both are done'
    assert capsys.readouterr().out.count('25.00') == 2


def test_ctrl_c_stops_them_all(data_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(run: Run, resume: bool) -> Any:
        raise Interrupted

    monkeypatch.setattr(runs, 'train_run', stopped)
    outcomes = run_jobs(planned(data_root, tmp_path, 2), DEBUG)
    assert [outcome.state for outcome in outcomes] == ['interrupted', 'interrupted']
    assert outcomes[0].code == 130


def test_what_another_process_does_is_awaited(
    data_root: Path, tmp_path: Path, pretended: list[tuple[int, bool]], capsys: pytest.CaptureFixture
) -> None:
    (run,) = planned(data_root, tmp_path, 1)
    queue = jobs._Jobs([run], DEBUG, 'training')
    with in_use(run.folder.path):
        queue.advance()
        job_board.Board(queue.places).show()
        assert capsys.readouterr().out.rstrip().endswith('runs another process')
    finish(run)
    queue.places[0].holds_seat, queue._free = True, []  # as after the end of its supervisor
    queue.advance()
    assert queue._free == [None], 'for the next one'
    assert queue.places[0].outcome is not None
    assert queue.places[0].outcome.state == 'done'
    assert not pretended


def test_a_run_of_other_options_is_not_taken_for_this_one(
    data_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (run,) = planned(data_root, tmp_path, 1)
    finish(run)
    (outcome,) = run_jobs([run], DEBUG)
    assert outcome.state == 'failed'
    assert outcome.code == 2
    assert 'best.pth' in outcome.message


@pytest.mark.parametrize(
    ('given', 'expected'),
    [
        ({'executor': 'pbs'}, "Unknown executor 'pbs'"),
        ({'partition': 'gpu'}, 'are of a cluster: give --executor slurm'),
        ({'hours': 2.0}, 'are of a cluster'),
        ({'executor': 'slurm', 'gpus': [0]}, '--gpus names those of this machine'),
        ({'gpus': [0, 0]}, '--gpus: expected different numbers from 0 on, got 0 0'),
        ({'at_once': 0}, '--at-once must be at least 1'),
        ({'executor': 'slurm', 'hours': 0.0}, '--hours must be above 0'),
    ],
)
def test_options_that_do_not_go(given: dict[str, Any], expected: str) -> None:
    with pytest.raises(UserError) as error:
        JobOptions(**given)
    assert expected in str(error.value)


def test_seats() -> None:
    assert JobOptions(gpus=[2, 3]).seats(5) == [2, 3]
    assert JobOptions(gpus=[2, 3], at_once=4).seats(5) == [2, 3, 2, 3]
    assert JobOptions('slurm').seats(5) == [None] * 5
    assert JobOptions('slurm', at_once=2).seats(5) == [None] * 2


def test_settings_need_an_executor(capsys: pytest.CaptureFixture) -> None:
    assert train_command.main([CONFIG, '--gpus', '0']) == 2
    assert 'need --executor local or slurm' in capsys.readouterr().err


def test_without_submitit(data_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, 'submitit', None)
    with pytest.raises(UserError, match=r"--executor needs submitit: pip install 'drpca\[cluster\]'"):
        run_jobs(planned(data_root, tmp_path), DEBUG)


def test_what_is_unpickled_lies_where_no_one_else_writes(data_root: Path, tmp_path: Path) -> None:
    folder = tmp_path / '.jobs'
    jobs._Jobs(planned(data_root, tmp_path), DEBUG, '')
    assert folder.stat().st_mode & 0o777 == 0o700
    folder.chmod(0o770)
    with pytest.raises(UserError, match='others than you may write to it'):
        run_jobs(planned(data_root, tmp_path), DEBUG)


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Commands of a cluster that queues jobs and begins none; sbatch keeps the names of its files."""
    commands = tmp_path / 'bin'
    commands.mkdir()
    texts = {
        'srun': '', 'sacct': 'echo "JobID|State"; echo "12|PENDING"', 'scancel': '',
        'sbatch': f'echo "$1" >> {tmp_path}/submitted; echo "Submitted batch job 12"',
    }  # fmt: skip
    for name, text in texts.items():
        (commands / name).write_text(f'#!/bin/sh\n{text}\n')
        (commands / name).chmod(0o755)
    monkeypatch.setenv('PATH', f'{commands}{os.pathsep}{os.environ["PATH"]}')
    return tmp_path / 'submitted'


def test_a_cluster(data_root: Path, tmp_path: Path, cluster: Path) -> None:
    (run,) = planned(data_root, tmp_path / 'runs', 1)
    options = JobOptions('slurm', partition='gpu', hours=1.5, slurm={'account': 'lab'})
    queue = jobs._Jobs([run], options, 'training')
    queue.advance()
    (place,) = queue.places
    assert (place.state, place.where) == ('waits', 'job 12')
    (text,) = (path.read_text() for path in (tmp_path / 'runs' / '.jobs').glob('12_submission.sh'))
    for line in ('--partition=gpu', '--time=90', '--account=lab', '--gpus-per-node=1', f'--job-name={CONFIG}'):
        assert f'#SBATCH {line}\n' in text
    again = jobs._Jobs([run], options, 'training')
    again.advance()
    assert again.places[0].where == 'job 12'
    assert len(cluster.read_text().splitlines()) == 1, 'it is not submitted twice'
    job = submitit.SlurmJob(folder=tmp_path / 'runs' / '.jobs', job_id='12').submission().function
    assert job.run.seed == run.seed
    assert isinstance(job.checkpoint(), submitit.helpers.DelayedSubmission), 'it can be queued again'
    result = ('success', Outcome('done', result_of(run)))
    place.job.paths.result_pickle.write_bytes(pickle.dumps(result))
    again.advance()
    assert again.places[0].outcome == result[1]


@pytest.mark.parametrize('training', [True, False])
def test_a_job_whose_time_is_up_saves_before_it_is_queued_again(
    data_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, training: bool
) -> None:
    """Submitit's signal reaches a training, which stops as at a scheduler's own, or what does not train yet."""
    events: list[str] = []

    def train_run(run: Run, resume: bool) -> TrainingResult:
        if training:
            signal.signal(signal.SIGUSR1, lambda *_: events.append('saved'))
        os.kill(os.getpid(), signal.SIGUSR2)
        events.append('ended')
        raise Interrupted(75)

    monkeypatch.setattr(runs, 'train_run', train_run)
    before = [signal.getsignal(number) for number in (signal.SIGUSR1, signal.SIGUSR2)]
    signal.signal(signal.SIGUSR2, lambda *_: events.append('queued'))
    try:
        jobs.TrainingJob(planned(data_root, tmp_path, 1)[0], '')()
    finally:
        for number, handler in zip((signal.SIGUSR1, signal.SIGUSR2), before):
            signal.signal(number, handler)
    assert events == (['saved', 'ended', 'queued'] if training else ['queued', 'ended'])


def test_a_cluster_that_is_not_there(data_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('PATH', str(tmp_path))
    with pytest.raises(UserError, match='--executor slurm: Could not detect "srun"'):
        run_jobs(planned(data_root, tmp_path, 1), JobOptions('slurm'))


def test_a_table_on_a_terminal(data_root: Path, tmp_path: Path) -> None:
    from rich.console import Console

    places = [job_board.Place(run) for run in planned(data_root, tmp_path, 2)]
    places[0].finish(Outcome('failed', None, 'The disk is full.'))
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(job_board.Board(places)._table())
    text = console.export_text()
    assert '1 failed, 1 waits' in text
    assert f'{CONFIG} seed 0' in text
    assert 'The disk is full.' in text


# Data whose fifth sample kills the process, the first time, or raises an error, as the config says.
_DATA = """
import os, pathlib, signal
import torch
from drpca.registry import DATASETS


@DATASETS.register_module()
class FaultyImages:
    def __init__(self, fault=None, marker='', data_root=None):
        self.fault, self.marker = fault, pathlib.Path(marker)

    def __len__(self):
        return 8

    def __getitem__(self, index):
        if index == 5 and self.fault == 'crash':
            raise ZeroDivisionError('of the data')
        if index == 5 and self.fault == 'kill' and not self.marker.exists():
            self.marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return dict(image=torch.rand(1, 32, 32), gt_mask=torch.ones(1, 32, 32), name=str(index))
"""


def states(out: str) -> list[str]:
    """Of the runs in the table at the end."""
    lines = map(str.split, out.rpartition('\nrun ')[2].splitlines()[1:])
    return [words[3] for words in lines if words[1:2] == ['seed'] and words[2].isdigit()]


@pytest.mark.slow
def test_four_processes_one_killed_one_crashing(
    data_root: Path, tmp_path: Path, capfd: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv('OMP_NUM_THREADS', '1')
    (tmp_path / 'faulty_images.py').write_text(_DATA)
    names = []
    for name, fault in (('first', None), ('killed', 'kill'), ('crashing', 'crash'), ('last', None)):
        names.append(str(tmp_path / f'{name}.py'))
        source = {'_delete_': True, 'type': 'FaultyImages', 'fault': fault, 'marker': str(tmp_path / 'killed')}
        Path(names[-1]).write_text(
            f"_base_ = '{find_config(CONFIG)}'\ncustom_imports = dict(imports=['faulty_images'])\n"
            f'train_dataloader = dict(batch_size=2, num_workers=0, persistent_workers=False, dataset={source})\n'
            'model = dict(network=dict(num_stages=1, channels=16))\n'
        )
    args = [
        *names, '--data-root', str(data_root), '--work-dir', str(tmp_path / 'runs'), '--epochs', '2',
        '--executor', 'local', '--at-once', '2',
    ]  # fmt: skip
    assert train_command.main(args) == 70
    out, err = capfd.readouterr()
    assert states(out) == ['done', 'failed', 'failed', 'done']
    assert 'error: killed seed 0: its process was ended' in err
    assert 'ZeroDivisionError: of the data' in err
    assert train_command.main(args) == 70
    assert states(capfd.readouterr().out) == ['done', 'done', 'failed', 'done']
