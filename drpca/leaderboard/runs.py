"""The trainings behind the leaderboard: what is missing is trained, what is half done goes on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from drpca.checkpoint import file_hash
from drpca.engine.jobs import JobOptions, run_jobs
from drpca.engine.loop import Interrupted
from drpca.engine.runs import Outcome, Run, attempt, check_same_training
from drpca.errors import explain
from drpca.leaderboard.rows import ScoredRun
from drpca.run_folder import BEST, BEST_ON_TEST


def train_at_once(runs: Sequence[Run], jobs: JobOptions) -> dict[Path, Outcome]:
    """Trains what is missing and resumes what is half done, one a job; how each ended, by its folder.

    Raises:
        Interrupted: Stopped by Ctrl-C; what was done is saved.
    """
    missing = [run for run in runs if run.folder.state != 'done']
    outcomes = run_jobs(missing, jobs) if missing else []
    if any(outcome.state == 'interrupted' for outcome in outcomes):
        raise Interrupted
    return {run.folder.path: outcome for run, outcome in zip(missing, outcomes)}


def complete_runs(
    runs: Sequence[Run], may_train: bool, progress: bool = False, ended: Mapping[Path, Outcome] | None = None
) -> list[ScoredRun]:
    """Trains what is missing, resumes what is half done, and describes all runs.

    A run that fails is marked as such; the others go on.

    Args:
        runs: Trainings.
        may_train: False only marks what is missing.
        progress: Print a line for each that is trained.
        ended: What :func:`train_at_once` has tried: it is not tried again.

    Raises:
        Interrupted: Stopped by Ctrl-C; what was done is saved.
    """
    return [_complete(run, may_train, progress, (ended or {}).get(run.folder.path)) for run in runs]


def _complete(run: Run, may_train: bool, progress: bool, outcome: Outcome | None) -> ScoredRun:
    folder, doing = run.folder, f'{run.name} seed {run.seed}'
    try:
        state = folder.state
        if state != 'done' and outcome is None:
            if not may_train:
                what = 'not trained' if state == 'train' else f'stopped after epoch {len(folder.log())}'
                return ScoredRun(run.seed, 'missing', f'{folder.path}: {what}')
            if progress:
                print(f'{state} {doing} -> {folder.path}', flush=True)
            outcome = attempt(run, state == 'resume', doing)
            if outcome.state == 'interrupted':
                raise Interrupted(outcome.code)
        if outcome is not None and outcome.state != 'done':
            return ScoredRun(run.seed, 'failed', outcome.message)
        return _describe(run)
    except Interrupted:
        raise
    except Exception as error:  # the other runs go on
        return ScoredRun(run.seed, 'failed', explain(error, doing)[0])


def _describe(run: Run) -> ScoredRun:
    """A run that is done, from its files.

    Raises:
        UserError: A file is missing or damaged, or the run was made with other options than those given now.
    """
    summary, log = run.folder.summary(), run.folder.log()
    checkpoint = run.folder.path / Path(summary.get('checkpoint', BEST)).name
    check_same_training(run, checkpoint)
    return ScoredRun(
        run.seed,
        checkpoint=str(checkpoint),
        checkpoint_sha256=file_hash(checkpoint),
        selection=summary.get('selection', 'val'),
        epochs=summary.get('epochs'),
        seconds=round(sum(line['seconds'] for line in log), 1) if log else summary.get('seconds'),
        best_on_test=next((line[BEST_ON_TEST] for line in reversed(log) if BEST_ON_TEST in line), None),
    )
