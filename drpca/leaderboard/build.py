"""The leaderboard: what is planned, trained, scored and averaged over seeds."""

from __future__ import annotations

import hashlib
import json
import math
import multiprocessing
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import torch

from drpca.checkpoint import file_hash
from drpca.datasets import Split, open_split
from drpca.errors import UserError, explain
from drpca.evaluation.functional import mean_and_deviation
from drpca.evaluation.protocols import Protocol
from drpca.files import make_folder
from drpca.inference.detector import Detector
from drpca.leaderboard.contenders import (
    Contender,
    LeaderboardOptions,
    command_of,
    config_of,
    contenders,
    cost_of,
    method_name,
)
from drpca.leaderboard.latency import measure_latency
from drpca.leaderboard.rows import KEYS, Cost, Figures, Row, ScoredRun
from drpca.leaderboard.runs import complete_runs, train_at_once
from drpca.options import RECIPE
from drpca.registry import BASELINES
from drpca.reports.plain_tables import text_table
from drpca.results.folder import ResultsFolder, saved_names
from drpca.results.predict import predict
from drpca.results.scoring import score_folder
from drpca.version import __version__


def build_leaderboard(methods: Sequence[str] = (), datasets: Sequence[str] = (), **options: Any) -> list[Row]:
    """Compares methods on data sets, as ``tools/leaderboard.py`` does: trains what is missing, scores, measures.

    Trainings and score maps that are there already are kept, so that the same call goes on where one was stopped.

    >>> rows = build_leaderboard(['tophat', 'rpcanet'], ['SIRSTv1'], seeds=[0, 1, 2])
    >>> rows[0].figures['drpca'].mean['IoU']

    Args:
        methods: Configs, models and classical methods, by name.
        datasets: Names of the data sets.
        **options: See :class:`drpca.leaderboard.contenders.LeaderboardOptions`.

    Returns:
        A row per method and data set, with a :class:`ScoredRun` per seed. What failed or is missing is marked there,
        and the others go on.

    Raises:
        UserError: Bad options; unknown methods, data sets or presets; files that are not there.
        TypeError: A keyword that is no option.
        Interrupted: Stopped by Ctrl-C in a training, whose state was saved.
    """
    asked = LeaderboardOptions(methods, datasets, **options)
    rows = build_rows(contenders(asked), asked)
    return measure_latency(rows, asked.data_root, asked.progress) if asked.latency else rows


def plan(found: Sequence[Contender], options: LeaderboardOptions) -> str:
    """What there is and what would be done, a line per training or scoring."""
    lines = []
    for contender in found:
        for run in contender.runs:
            state, done = run.folder.state, len(run.folder.log())
            what = {'done': 'there', 'resume': f'resume after epoch {done}', 'train': 'to do'}[state]
            maps = '-'
            if state == 'done':
                (described,) = complete_runs([run], may_train=False)
                what = described.message or what
                maps = _maps_state(contender, described, options) if described.state == 'done' else '-'
            lines.append([contender.name, contender.dataset, str(run.seed), what, maps])
        for described in () if contender.runs else _unscored_runs(contender):
            lines.append([contender.name, contender.dataset, '-', '-', _maps_state(contender, described, options)])
    return text_table(['method', 'data set', 'seed', 'training', 'score maps'], lines, left=5)


def _maps_state(contender: Contender, run: ScoredRun, options: LeaderboardOptions) -> str:
    return 'there' if task_of(contender, run, options).is_done() else 'to do'


def build_rows(found: Sequence[Contender], options: LeaderboardOptions) -> list[Row]:
    """Trains, makes score maps and scores.

    Raises:
        Interrupted: Ctrl-C in a training.
        KeyboardInterrupt: Ctrl-C elsewhere.
    """
    everything = [run for contender in found for run in contender.runs]
    ended = train_at_once(everything, options.executor) if options.train and options.executor else None
    runs = [
        complete_runs(contender.runs, options.train, options.progress, ended)
        if contender.runs
        else _unscored_runs(contender)
        for contender in found
    ]
    tasks = {
        (index, number): task_of(found[index], run, options)
        for index, described in enumerate(runs)
        for number, run in enumerate(described)
        if run.state == 'done'
    }
    scored = _score_all(list(tasks.values()), options)
    for ((index, number), task), (figures, message) in zip(tasks.items(), scored):
        changes: dict[str, Any] = {'state': 'failed', 'message': message}
        if not message:
            changes = {'figures': figures, 'maps': str(task.maps)}
        runs[index][number] = replace(runs[index][number], **changes)
    return [_row(contender, described, options) for contender, described in zip(found, runs)]


@dataclass(frozen=True)
class Task:
    """Score maps to be made, unless they are there, and scored.

    Attributes:
        folder: Where they are kept; the name holds the hash of what makes them.
        detector: Arguments of :class:`drpca.inference.detector.Detector`.
        dataset: Data set, with ``split`` and ``data_root``.
        split: Split.
        data_root: Data root, None for the usual one.
        protocols: Presets.
        progress: Say on standard error how far it is.
    """

    folder: Path
    detector: dict[str, Any]
    dataset: str
    split: str
    data_root: str | Path | None
    protocols: tuple[Protocol, ...]
    progress: bool = False

    @property
    def images(self) -> Split:
        """The images."""
        return open_split(self.dataset, self.split, self.data_root)

    @property
    def maps(self) -> Path:
        """The results folder."""
        return self.folder / self.images.dataset

    def is_done(self) -> bool:
        """All maps are there."""
        return saved_names(self.maps, 'mat') == sorted(self.images.names)

    def make_maps(self) -> None:
        """Makes the maps.

        Raises:
            UserError: As :func:`drpca.results.predict.predict`, or some images cannot be read.
        """
        make_folder(self.folder.parent)
        made = predict(
            Detector(**self.detector), out=self.folder, dataset=self.dataset, split=self.split,
            data_root=self.data_root, formats=['mat'], progress=self.progress,
        )  # fmt: skip
        if made.failed:
            count = len(made.failed)
            raise UserError(f'{count} of {made.done + count} inputs gave no score map: {made.failed[0]}')


def task_of(contender: Contender, run: ScoredRun, options: LeaderboardOptions) -> Task:
    """How the score maps of a run are made, and where they are kept.

    The folder's name ends in a hash of weights or parameters, size, options, split and version, so that maps
    of other weights are never taken for these.
    """
    identity: dict[str, Any] = {
        'size': options.size, 'split': options.split, 'dataset': contender.dataset, 'version': __version__,
    }  # fmt: skip
    detector: dict[str, Any] = {'size': RECIPE}
    label = contender.config.stem
    if contender.kind != 'trained':  # a trained network has its config in its checkpoint
        config = config_of(contender)
        identity |= {'model': config.model, 'inference_size': config.get('inference_size')}
        detector |= {'model': str(contender.config), 'options': contender.options}
    if contender.kind == 'classical':
        baseline = BASELINES.build(config.model)
        identity |= {'method': repr(baseline), 'grey': baseline.grey}
    else:
        identity['sha256'] = run.checkpoint_sha256
        label += '_published' if contender.weights else f'_seed_{run.seed}'
        detector |= {'weights': run.checkpoint, 'size': options.size or RECIPE, 'device': options.device}
    digest = hashlib.sha256(json.dumps(identity, sort_keys=True, default=str).encode()).hexdigest()[:12]
    folder = Path(options.maps) / f'{label}-{options.size or "own"}-{digest}'
    told = options.progress and options.jobs == 1  # lines of several at once would say nothing
    presets = tuple(options.presets)
    return Task(folder, detector, contender.dataset, options.split, options.data_root, presets, told)


def score(task: Task) -> tuple[dict[str, dict[str, float]], str]:
    """Makes the maps of a task unless they are there, and scores them.

    Returns:
        Figures by preset, and a message: '' or why there are none.
    """
    try:
        if not task.is_done():
            task.make_maps()
        folder = ResultsFolder(task.maps)
        figures = score_folder(
            folder, task.protocols, task.dataset, task.split, task.data_root, progress=task.progress
        ).figures
        return figures, ''
    except Exception as error:  # the other methods go on
        return {}, explain(error, task.maps.name)[0]


def _score_all(tasks: list[Task], options: LeaderboardOptions) -> Iterator[tuple[dict[str, dict[str, float]], str]]:
    """Figures and message of each task, in order."""
    results: Any = map(score, tasks)
    pool = None
    if options.jobs > 1:
        context = multiprocessing.get_context('spawn')
        pool = ProcessPoolExecutor(options.jobs, mp_context=context, initializer=_use_one_thread)
        results = pool.map(score, tasks)
    try:
        for number, (task, result) in enumerate(zip(tasks, results), start=1):
            if options.progress:
                print(f'[{number}/{len(tasks)}] {task.folder.name}: {result[1] or "scored"}', file=sys.stderr)
            yield result
    finally:
        if pool is not None:
            pool.shutdown(cancel_futures=True)


def _use_one_thread() -> None:
    torch.set_num_threads(1)
    cv2.setNumThreads(1)


def _unscored_runs(contender: Contender) -> list[ScoredRun]:
    """The one run of a method that is not trained."""
    if contender.weights is None:
        return [ScoredRun()]
    return [ScoredRun(checkpoint=str(contender.weights), checkpoint_sha256=file_hash(contender.weights))]


def aggregate(runs: Sequence[ScoredRun], protocols: Sequence[Protocol]) -> dict[str, Figures]:
    """Mean and sample standard deviation over the runs that are done, by preset."""
    done = [run.figures for run in runs if run.state == 'done']
    if not done:
        return {}
    result = {}
    for protocol in protocols:
        pairs = mean_and_deviation([figures[protocol.name] for figures in done])
        kept = {key: pairs[key] for key in KEYS if key in pairs and not math.isnan(pairs[key][0])}
        result[protocol.name] = Figures(
            protocol.size,
            {key: mean for key, (mean, _) in kept.items()},
            {key: std for key, (_, std) in kept.items() if not math.isnan(std)},
        )
    return result


def _row(contender: Contender, runs: Sequence[ScoredRun], options: LeaderboardOptions) -> Row:
    cost = Cost()
    method = contender.name
    try:
        config = config_of(contender)
        method, cost = method_name(contender, config), cost_of(config)
    except UserError as error:
        runs = [replace(run, state='failed', message=str(error), figures={}) for run in runs]
    done = [run for run in runs if run.state == 'done']
    seconds = [run.seconds for run in done if run.seconds is not None]
    return Row(
        method=method,
        model=contender.model,
        config=contender.name,
        kind=contender.kind,
        dataset=contender.dataset,
        split=options.split,
        command=command_of(contender, options),
        input_size=options.size,
        options=contender.options,
        weights=None if contender.weights is None else contender.weights.name,
        seeds=tuple(run.seed for run in done if run.seed is not None),
        selection=next((run.selection for run in done if run.selection), None),
        cost=replace(cost, training_seconds=round(sum(seconds) / len(seconds), 1) if seconds else None),
        figures=aggregate(runs, options.presets),
        runs=tuple(runs),
    )
