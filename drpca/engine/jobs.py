"""Many trainings at once, one a job: on every GPU of this machine, or on a cluster, through submitit.

Submitit pickles what a job runs, and what it gives back, into a folder of its own, ``<work dir>/.jobs``, which only its
owner may enter: whoever can write there can run code as you.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from drpca.engine.job_board import Board, Place
from drpca.engine.runs import Outcome, Run, already_done, attempt
from drpca.errors import EXIT_FAILED, EXIT_INTERRUPTED, UserError, unknown_name
from drpca.files import LOCK, in_use, save_text
from drpca.json_file import read_json

EXECUTORS = ('local', 'slurm', 'debug')
_FILE = 'jobs.json'
_POLL = {'local': 0.5, 'slurm': 5.0, 'debug': 0.0}  # seconds
_WAITS, _ENDS = ('PENDING', 'REQUEUED', 'PREEMPTED'), ('RUNNING', 'COMPLETING')  # states of Slurm


@dataclass(frozen=True)
class JobOptions:
    """Where the trainings of a command run.

    Attributes:
        executor: ``'local'``: processes of this machine, one per GPU; ``'slurm'``: jobs of a cluster; ``'debug'``: one
            after another in this process.
        gpus: Of this machine, for ``'local'``; none named: all there are, without any the processor.
        at_once: Trainings at a time; None: one per GPU, on a processor one, on a cluster all.
        partition: Of the cluster.
        hours: Time limit of a job on the cluster; one that reaches it is queued again and goes on, up to three times.
        slurm: Further settings of the cluster's jobs: ``account``, ``qos``, ``cpus_per_task``, ``mem``, ….

    Raises:
        UserError: An unknown executor, or settings of another one.
    """

    executor: str = 'local'
    gpus: Sequence[int] = ()
    at_once: int | None = None
    partition: str | None = None
    hours: float | None = None
    slurm: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.executor not in EXECUTORS:
            raise unknown_name('executor', str(self.executor), EXECUTORS)
        if self.executor != 'slurm' and (self.partition or self.hours is not None or self.slurm):
            raise UserError('--partition, --hours and --slurm are of a cluster: give --executor slurm.')
        if self.executor != 'local' and self.gpus:
            raise UserError('--gpus names those of this machine: give --executor local.')
        if len(set(self.gpus)) < len(self.gpus) or any(gpu < 0 for gpu in self.gpus):
            raise UserError(f'--gpus: expected different numbers from 0 on, got {" ".join(map(str, self.gpus))}.')
        if self.at_once is not None and self.at_once < 1:
            raise UserError(f'--at-once must be at least 1, got {self.at_once}.')
        if self.hours is not None and not 0 < self.hours < 24 * 365:
            raise UserError(f'--hours must be above 0 and less than a year, got {self.hours:g}.')

    def seats(self, runs: int) -> list[int | None]:
        """A place per training at a time, each with its GPU or None."""
        if self.executor == 'debug':
            return [None]
        gpus = list(self.gpus or (range(torch.cuda.device_count()) if self.executor == 'local' else ()))
        if not gpus:
            return [None] * (self.at_once or (runs if self.executor == 'slurm' else 1))
        count = self.at_once or len(gpus)
        return [gpus[number % len(gpus)] for number in range(count)]


@dataclass
class TrainingJob:
    """What a job runs: a training, which goes on where it was.

    Attributes:
        run: The training.
        doing: For the message about a fault.
    """

    run: Run
    doing: str

    def __call__(self) -> Outcome:
        if os.environ.get('SUBMITIT_EXECUTOR') == 'local':
            os.setpgrp()  # Ctrl-C is for the process that began this one, which then asks this one to save
            signal.signal(signal.SIGTERM, signal.default_int_handler)  # the training has its own
        with _saved_before_requeue():
            return attempt(self.run, resume=True, doing=self.doing)

    def checkpoint(self) -> Any:
        """What a cluster runs when the time is up or the job has to make room: the same, from ``last.pth``."""
        return _submitit().helpers.DelayedSubmission(self)


@contextmanager
def _saved_before_requeue() -> Iterator[None]:
    """Has a training save before submitit queues it again, which it does at SIGUSR2."""
    number: Any = getattr(signal, 'SIGUSR2', None)
    queue_again: Any = number and signal.getsignal(number)
    if not callable(queue_again):
        yield
        return
    asked = False

    def stop(number: int, frame: Any) -> None:
        nonlocal asked
        asked = callable(signal.getsignal(signal.SIGUSR1))  # of the training
        if asked:
            os.kill(os.getpid(), signal.SIGUSR1)
        else:
            queue_again(number, frame)

    signal.signal(number, stop)
    yield
    signal.signal(number, queue_again)
    if asked:
        queue_again(number, None)


def _submitit() -> Any:
    try:
        import submitit
    except ImportError:
        raise UserError("--executor needs submitit: pip install 'drpca[cluster]' (or submitit).") from None
    return submitit


def run_jobs(runs: Sequence[Run], options: JobOptions, doing: str = 'training') -> list[Outcome]:
    """Does trainings at once. What is done is kept, what was begun goes on, what another process does is awaited.

    A table on the terminal, or a line per change elsewhere, says what runs, waits and failed. One that fails does not
    stop the others.

    Args:
        runs: Of one work directory.
        options: Where.
        doing: For the message about a fault.

    Returns:
        How each ended. After Ctrl-C, those of this machine are stopped, saved, and ``'interrupted'``; those of a
        cluster go on.

    Raises:
        UserError: submitit, or the cluster's commands, are not there; a job folder that others may write to.
    """
    if runs[0].options.launcher != 'none':
        raise UserError('--executor starts one process per training: leave out --launcher.')
    jobs = _Jobs(runs, options, doing)
    with Board(jobs.places) as board:
        try:
            while not all(place.outcome for place in jobs.places):
                jobs.advance()
                board.show()
                time.sleep(_POLL[options.executor])
        except KeyboardInterrupt:
            jobs.stop()
            board.show()
    return [place.outcome or Outcome('interrupted', code=EXIT_INTERRUPTED) for place in jobs.places]


class _Jobs:
    def __init__(self, runs: Sequence[Run], options: JobOptions, doing: str) -> None:
        self._package, self._options, self._doing = _submitit(), options, doing
        self._folder = _private_folder(Path(runs[0].options.work_dir) / '.jobs')
        self._free = options.seats(len(runs))
        self.places = [Place(run) for run in runs]
        if options.executor == 'slurm':
            self._find_again()

    def _find_again(self) -> None:
        """Jobs of an earlier command that the cluster still has."""
        for place in self.places:
            number = self._numbers().get(str(place.run.folder.path.absolute()))
            if number is not None and place.run.folder.state != 'done':
                job = self._package.SlurmJob(folder=self._folder, job_id=number)
                if job.state.split()[0] in (*_WAITS, *_ENDS):
                    place.job, place.where = job, f'job {number}'

    def _numbers(self) -> dict[str, str]:
        file = self._folder / _FILE
        return read_json(file, dict[str, str]) if file.is_file() else {}

    def advance(self) -> None:
        """Looks at every training once."""
        for place in self.places:
            if place.outcome is None and place.job is None:
                self._begin(place)
            elif place.outcome is None and place.job.done():
                self._finish(place)
            elif place.outcome is None and self._options.executor == 'slurm':
                place.state = 'waits' if place.job.state.split()[0] in _WAITS else 'runs'

    def _begin(self, place: Place) -> None:
        folder = place.run.folder
        if _is_busy(folder.path):
            place.state, place.where = 'runs', 'another process'
            return
        if place.holds_seat:
            self._free.append(place.seat)
            place.holds_seat = False
        if folder.state == 'done':
            place.finish(already_done(place.run, self._doing))
        elif not self._free:
            place.state = 'waits'
        else:
            place.seat = self._free.pop(0)
            place.job = self._submit(TrainingJob(place.run, self._doing), place)
            place.state, place.where = 'runs', f'GPU {place.seat}' if place.seat is not None else ''
            if self._options.executor == 'slurm':
                place.state, place.where = 'waits', f'job {place.job.job_id}'
                numbers = {**self._numbers(), str(folder.path.absolute()): place.job.job_id}
                save_text(self._folder / _FILE, json.dumps(numbers), overwrite=True)

    def _submit(self, job: TrainingJob, place: Place) -> Any:
        options, kind = self._options, self._options.executor
        if kind == 'debug':
            return self._package.DebugExecutor(self._folder).submit(job)
        try:
            executor = getattr(self._package, f'{kind.capitalize()}Executor')(self._folder)
            if kind == 'local':
                gpus = {} if place.seat is None else {'gpus_per_node': 1, 'visible_gpus': (place.seat,)}
                executor.update_parameters(timeout_min=60 * 24 * 365, **gpus)
            else:
                hours = {} if options.hours is None else {'time': max(round(60 * options.hours), 1)}
                partition = {} if options.partition is None else {'partition': options.partition}
                given = {'gpus_per_node': 1, 'job_name': place.run.name, **partition, **hours, **options.slurm}
                executor.update_parameters(**given)
            with _environment_of_jobs(len(options.seats(1)) if kind == 'local' else 1):
                return executor.submit(job)
        except (RuntimeError, ValueError, OSError, self._package.core.utils.FailedJobError) as error:
            raise UserError(f'--executor {kind}: {error}') from None

    def _finish(self, place: Place) -> None:
        paths = place.job.paths
        try:
            if self._options.executor == 'local' and not paths.result_pickle.exists():
                raise self._package.core.utils.UncompletedJobError
            outcome = place.job.result()
        except Exception:  # whatever ended it: what it was is in its log
            if _is_busy(place.run.folder.path):  # its supervisor was killed, and it goes on
                place.job, place.where, place.holds_seat = None, 'another process', True
                return
            last = (_lines(paths.stderr) or ['no word'])[-1]
            outcome = Outcome(
                'failed', None, f'its process was ended ({last[:160]}); {paths.stderr}', EXIT_FAILED, True
            )
        self._free.append(place.seat)
        place.finish(outcome)
        if outcome.state == 'interrupted' and self._options.executor == 'debug':
            raise KeyboardInterrupt

    def stop(self) -> None:
        """Has the jobs of this machine save and end; those of a cluster go on."""
        running = [place for place in self.places if place.outcome is None and place.job is not None]
        if self._options.executor == 'slurm':
            print(f'{len(running)} jobs go on; the same command shows them again, scancel ends them.', file=sys.stderr)
            return
        for place in running if self._options.executor == 'local' else ():
            with suppress(ProcessLookupError):
                os.kill(int(place.job.job_id), signal.SIGTERM)
        while self._options.executor == 'local' and not all(place.job.done() for place in running):
            time.sleep(_POLL['local'])
        for place in self.places:
            if place.outcome is None:
                place.finish(Outcome('interrupted', code=EXIT_INTERRUPTED, resumable=True))


def _is_busy(folder: Path) -> bool:
    """Whether another process trains there."""
    if not (folder / LOCK).exists():
        return False
    try:
        with in_use(folder):
            return False
    except UserError:
        return True


def _private_folder(path: Path) -> Path:
    """A folder that only its owner may enter, for what is unpickled.

    Raises:
        UserError: Others may write to one that is there.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    path.mkdir(mode=0o700, exist_ok=True)
    status = path.stat()
    if status.st_uid != os.getuid() or status.st_mode & 0o022:
        raise UserError(
            f'{path} holds what jobs run, and others than you may write to it: remove it, or choose another --work-dir.'
        )
    return path.absolute()


@contextmanager
def _environment_of_jobs(at_once: int) -> Iterator[None]:
    """What a process begun meanwhile finds: this package, its share of the processor's cores, and no Ctrl-C."""
    paths = [str(Path(__file__).parents[2]), *os.environ.get('PYTHONPATH', '').split(os.pathsep)]
    threads = str(max((os.cpu_count() or 1) // at_once, 1))
    changes = {'PYTHONPATH': os.pathsep.join(filter(None, paths))}
    changes |= {'OMP_NUM_THREADS': threads} if at_once > 1 and 'OMP_NUM_THREADS' not in os.environ else {}
    before = {name: os.environ.get(name) for name in changes}
    os.environ.update(changes)
    handler = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.__setitem__(name, value)


def _lines(path: Path) -> list[str]:
    try:
        return [line for line in path.read_text(errors='replace').splitlines() if line.strip()]
    except OSError:
        return []
