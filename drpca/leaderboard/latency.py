"""Latency of the methods of a leaderboard, measured in turn so that the figures can be compared."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from drpca.datasets.splits import open_split, spread
from drpca.deploy.processor import machine
from drpca.errors import counted
from drpca.inference.mappers import BaselineMapper, ScoreMapper, build_baseline, is_baseline, network_mapper
from drpca.leaderboard.contenders import config_of
from drpca.leaderboard.rows import Cost, Row
from drpca.options import NATIVE
from drpca.registry import MODELS

FRAMES = 8
_LOOK = 0.2
"""Seconds in which it is seen what else the machine does."""


def measure_latency(rows: Sequence[Row], data_root: str | Path | None = None, progress: bool = False) -> list[Row]:
    """Times all methods in turn on the same images of the first row's split, on the CPU, as ``inference.py`` runs them.

    What is timed goes from an image in memory to its score map: resizing, the network or the method. Every
    method sees each frame once per round, so that a busy machine slows all alike; the median counts.

    Args:
        rows: Their weights do not matter here and are not loaded; those without figures are left alone.
        data_root: Of the data set.
        progress: Say so on standard error.
    """
    split = open_split(rows[0].dataset, rows[0].split, data_root)
    frames = [split.read_image(name) for name in spread(split.names, FRAMES)]
    here = machine(_LOOK)
    if progress:
        print(f'latency: {counted(len(frames), "image")}, {here}', file=sys.stderr)
    mappers: dict[tuple[Any, ...], ScoreMapper] = {}
    times: dict[tuple[Any, ...], list[float]] = {}
    timed = [row for row in rows if row.figures]
    for row in timed:
        key = _timed(row)
        if key not in mappers:
            config = config_of(row)
            asked = config.get('inference_size', 256) if row.input_size is None else row.input_size
            size = None if asked in (None, NATIVE) else int(asked)
            if is_baseline(config):
                mappers[key] = BaselineMapper(build_baseline(config))
            else:
                mappers[key] = network_mapper(MODELS.build(config.model).eval(), size, 'cpu')
            times[key] = []
    for number, frame in enumerate([frames[0], *frames]):
        for key, mapper in mappers.items():
            started = time.perf_counter()
            list(mapper.score_maps([('frame', frame)]))
            if number:  # the first round warms up
                times[key].append(1e3 * (time.perf_counter() - started))
    measured = Cost(threads=here.threads, machine=str(here))
    costs = {key: replace(measured, latency_ms=float(np.median(took))) for key, took in times.items()}
    return [row.with_latency(costs[_timed(row)]) if row.figures else row for row in rows]


def _timed(row: Row) -> tuple[Any, ...]:
    """Rows with the same key take the same time."""
    return row.config, str(row.input_size), json.dumps(row.options, sort_keys=True, default=str)


def keep_latency(rows: Sequence[Row], earlier: Sequence[Row]) -> list[Row]:
    """The rows with the latencies of an earlier table, where it has them."""
    known = {_timed(row): row.cost for row in earlier}
    return [row.with_latency(known.get(_timed(row), Cost())) for row in rows]
