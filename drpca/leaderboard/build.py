"""The leaderboard: what is planned, trained, scored and read back."""

from __future__ import annotations

import argparse
import dataclasses
import multiprocessing
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import torch

from drpca.datasets import open_split
from drpca.datasets.splits import spread
from drpca.errors import UserError
from drpca.evaluation.protocols import Protocol
from drpca.json_file import read_json
from drpca.leaderboard import contenders as C
from drpca.leaderboard import runs as R
from drpca.leaderboard.latency import keep_latency, measure_latency
from drpca.leaderboard.rows import (
    Cost,
    Row,
    Run,
    aggregate,
    from_json,
)
from drpca.reports.plain_tables import text_table


def plan(found: Sequence[C.Contender], args: argparse.Namespace, protocols: Sequence[Protocol]) -> str:
    """What there is and what would be done, a line per training or scoring."""
    lines = []
    for contender in found:
        for run in contender.runs:
            state, done = run.folder.state, len(run.folder.log())
            what = {'done': 'there', 'resume': f'resume after epoch {done}', 'train': 'to do'}[state]
            maps = '-'
            if state == 'done':
                described = R.complete_runs(dataclasses.replace(contender, runs=(run,)), False)[0]
                what = described.message or what
                maps = (
                    _maps_state(contender, described, args, protocols) if described.state == 'done' else '-'
                )
            lines.append([contender.name, contender.dataset, str(run.seed), what, maps])
        for described in () if contender.runs else R.unscored_runs(contender):
            maps = _maps_state(contender, described, args, protocols)
            lines.append([contender.name, contender.dataset, '-', '-', maps])
    return text_table(['method', 'data set', 'seed', 'training', 'score maps'], lines, left=5)


def _maps_state(
    contender: C.Contender, run: Run, args: argparse.Namespace, protocols: Sequence[Protocol]
) -> str:
    return 'there' if R.task_of(contender, run, args, protocols).is_done() else 'to do'


def build_rows(
    found: Sequence[C.Contender], args: argparse.Namespace, protocols: Sequence[Protocol]
) -> list[Row]:
    """Trains, makes score maps and scores.

    Raises:
        Interrupted: Ctrl-C in a training.
        KeyboardInterrupt: Ctrl-C elsewhere.
    """
    runs = {
        index: R.complete_runs(contender, not args.no_train) if contender.runs else R.unscored_runs(contender)
        for index, contender in enumerate(found)
    }
    tasks = {
        (index, number): R.task_of(found[index], run, args, protocols)
        for index, described in runs.items()
        for number, run in enumerate(described)
        if run.state == 'done'
    }
    for (index, number), task, (figures, message) in zip(
        tasks, tasks.values(), _score_all(list(tasks.values()), args)
    ):
        run = runs[index][number]
        state = 'failed' if message else 'done'
        runs[index][number] = dataclasses.replace(
            run, state=state, message=message, figures=figures, maps=None if message else str(task.maps)
        )
    return [_row(contender, runs[index], args, protocols) for index, contender in enumerate(found)]


def _score_all(tasks: list[R.Task], args: argparse.Namespace) -> Any:
    """Figures and message of each task, in order, with a line on standard error per task."""
    if args.jobs == 1:
        results: Any = map(R.score, tasks)
        pool = None
    else:
        context = multiprocessing.get_context('spawn')
        pool = ProcessPoolExecutor(args.jobs, mp_context=context, initializer=_use_one_thread)
        results = pool.map(R.score, tasks)
    try:
        for number, (task, result) in enumerate(zip(tasks, results), start=1):
            print(f'[{number}/{len(tasks)}] {task.folder.name}: {result[1] or "scored"}', file=sys.stderr)
            yield result
    finally:
        if pool is not None:
            pool.shutdown(cancel_futures=True)


def _use_one_thread() -> None:
    torch.set_num_threads(1)
    cv2.setNumThreads(1)


def _row(
    contender: C.Contender, runs: list[Run], args: argparse.Namespace, protocols: Sequence[Protocol]
) -> Row:
    cost = Cost()
    method = contender.name
    try:
        config = C.config_of(contender)
        method, cost = C.method_name(contender, config), C.cost_of(config)
    except UserError as error:
        runs = [dataclasses.replace(run, state='failed', message=str(error), figures={}) for run in runs]
    done = [run for run in runs if run.state == 'done']
    return Row(
        method=method,
        model=contender.model,
        config=contender.name,
        kind=contender.kind,
        dataset=contender.dataset,
        split=args.split,
        command=C.command_of(contender, args),
        input_size=args.size,
        options=contender.options,
        weights=None if contender.weights is None else contender.weights.name,
        seeds=tuple(run.seed for run in done if run.seed is not None),
        selection=next((run.selection for run in done if run.selection), None),
        cost=R.with_seconds(cost, runs),
        figures=aggregate(runs, protocols),
        runs=tuple(runs),
    )


def load_table(path: Path) -> tuple[list[Row], list[Protocol]]:
    """Rows and presets of a ``--json`` file.

    Raises:
        UserError: There is none, or it is something else.
    """
    rows, protocols = from_json(read_json(path, dict[str, Any], 'name a file that --json wrote'), path)
    if not rows:
        raise UserError(f'{path} holds no rows; name a file that --json wrote.')
    return rows, protocols


def load_tables(paths: Sequence[Path]) -> tuple[list[Row], list[Protocol]]:
    """Rows of several ``--json`` files, and their presets.

    Raises:
        UserError: One cannot be read, or they differ in their presets.
    """
    tables = [load_table(path) for path in paths]
    _, protocols = tables[0]
    for path, (_, others) in zip(paths, tables):
        if others != protocols:
            raise UserError(f'{path} has other presets than {paths[0]}: score both under the same ones.')
    return [row for rows, _ in tables for row in rows], protocols


LATENCY_FRAMES = 8


def _latencies(rows: list[Row], args: argparse.Namespace) -> list[Row]:
    if args.no_latency:
        earlier = load_table(args.json)[0] if args.json and args.json.is_file() and not args.source else rows
        return keep_latency(rows, earlier)
    split = open_split(rows[0].dataset, rows[0].split, args.data_root)
    names = spread(split.names, LATENCY_FRAMES)
    print(f'latency: {len(names)} images, {torch.get_num_threads()} threads', file=sys.stderr)
    return measure_latency(rows, [split.read_image(name) for name in names])
