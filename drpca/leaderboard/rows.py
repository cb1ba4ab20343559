"""The table over methods: rows, their file, published figures beside measured ones.

A :class:`Row` is a method on a data set: a network trained here with one or more seeds, a published weight file
scored here, or a classical method. A :class:`Published` is what a paper says about one. The two are never mixed; a
published figure is set beside a measured one only if both are of the same data set, split, preset and scoring
size.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from drpca.errors import UserError, unknown_name
from drpca.evaluation.curves import CURVE_FIGURES
from drpca.evaluation.functional import mean_and_deviation
from drpca.evaluation.protocols import Protocol
from drpca.json_file import read_json
from drpca.options import called
from drpca.reports.tables import shown

Kind = Literal['trained', 'weights', 'classical']

KEYS = ('IoU', 'nIoU', 'F1', 'Pd', 'Fa', 'AUC', *CURVE_FIGURES, 'hIoU')
"""Figures that are kept of a preset; hIoU under ``opdc`` only."""
MAIN = 'drpca'
"""Preset of the main table: the one of the published leaderboard."""

RULE = (
    'Published figures are of the method, not always of the same weights. ≠ marks one that the measured figure does '
    'not confirm: off by more than 0.3 points (Fa: 3 %), or, for networks trained here, by more than 1 point (Fa: '
    '10 %) and two standard deviations over seeds.'
)
_TOLERANCE = {'trained': (0.01, 0.10), 'weights': (0.003, 0.03), 'classical': (0.003, 0.03)}


@dataclass(frozen=True)
class Figures:
    """Figures of a row under one preset, as ratios; what is undefined is not there.

    Attributes:
        size: Side of the square they were scored at, None for the size of each mask.
        mean: By the names in ``KEYS``: mean over runs.
        std: Sample standard deviation over runs; empty for a single one.
    """

    size: int | None
    mean: dict[str, float]
    std: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class ScoredRun:
    """One training, or the one scoring of a method without seeds.

    Attributes:
        seed: None without training.
        state: 'done'; 'failed', with ``message``; 'missing' for a run that is not there or not complete.
        message: Why it failed or what is missing.
        checkpoint: The weights scored.
        checkpoint_sha256: Their hash.
        selection: How the weights were chosen: 'val' (best on the validation split) or 'final'.
        epochs: Epochs trained.
        seconds: Time spent in training epochs.
        best_on_test: The published convention: best IoU among looks at the test split while training; None if
            it was not logged. It selects nothing.
        maps: Folder of the score maps.
        figures: Preset → figure → value.
    """

    seed: int | None = None
    state: str = 'done'
    message: str = ''
    checkpoint: str | None = None
    checkpoint_sha256: str | None = None
    selection: str | None = None
    epochs: int | None = None
    seconds: float | None = None
    best_on_test: float | None = None
    maps: str | None = None
    figures: dict[str, dict[str, float]] = field(default_factory=dict)


@dataclass(frozen=True)
class Cost:
    """What a method costs; None where it does not apply or was not measured.

    Attributes:
        parameters: All of the network.
        used_parameters: Without those it owns but never uses.
        gflop: Per image of 256 × 256, a multiplication and an addition counted as two.
        training_seconds: Mean over runs of the time spent in training epochs.
        latency_ms: Median time from an image in memory to its score map, on a CPU.
        threads: Threads that took.
        machine: Where it was measured, in words; without it a latency is not shown.
    """

    parameters: int | None = None
    used_parameters: int | None = None
    gflop: float | None = None
    training_seconds: float | None = None
    latency_ms: float | None = None
    threads: int | None = None
    machine: str | None = None

    @property
    def shown_ms(self) -> float | None:
        """The latency, if it is known where it was measured."""
        return None if self.machine is None else self.latency_ms


@dataclass(frozen=True)
class Row:
    """A method on a data set.

    Attributes:
        method: Name for people, 'RPCANet'.
        model: Folder under ``configs/``; '' for a config from elsewhere.
        config: Name or path of the config.
        kind: 'trained' here, published 'weights', or 'classical'.
        dataset: Canonical name.
        split: Usually 'test'.
        command: Makes this row again.
        input_size: What ``--size`` said ('native' or a side), None for the config's own.
        options: Changed keys of the config.
        weights: File name of published weights.
        seeds: Of the runs that are done.
        selection: See :class:`ScoredRun`.
        cost: What it costs.
        figures: By preset.
        runs: One per seed, failed ones included; empty for rows read from a metafile.
    """

    method: str
    model: str
    config: str
    kind: Kind
    dataset: str
    split: str
    command: str
    input_size: int | str | None = None
    options: dict[str, Any] = field(default_factory=dict)
    weights: str | None = None
    seeds: tuple[int, ...] = ()
    selection: str | None = None
    cost: Cost = Cost()
    figures: dict[str, Figures] = field(default_factory=dict)
    runs: tuple[ScoredRun, ...] = ()

    def with_latency(self, of: Cost) -> Row:
        """The same with the latency of another cost, measured now or earlier."""
        return replace(self, cost=replace(self.cost, latency_ms=of.latency_ms, threads=of.threads, machine=of.machine))

    @property
    def source(self) -> str:
        """Where the weights come from, in words."""
        if self.kind != 'trained':
            failed = ', **failed**' if any(run.state == 'failed' for run in self.runs) else ''
            return ('classical' if self.weights is None else f'published weights: `{self.weights}`') + failed
        asked = len(self.runs) or len(self.seeds)
        parts = [f'`{self.config}`', f'{len(self.seeds)} seed{"" if len(self.seeds) == 1 else "s"}']
        if len(self.seeds) != asked:
            parts[1] = f'{len(self.seeds)} of {asked} seeds'
        for state in ('failed', 'missing'):
            count = sum(run.state == state for run in self.runs)
            parts += [f'**{count} {state}**'] if count else []
        if self.selection == 'final':
            parts.append('weights of the last epoch')
        return f'trained here: {", ".join(parts)}'


@dataclass(frozen=True)
class Published:
    """Figures as their authors, or others, give them.

    Attributes:
        model: Folder under ``configs/``.
        method: Classical method that they are of; '' for networks.
        source: Who published them.
        dataset: Canonical name.
        split: Split they are of.
        protocol: Preset; None where the source does not say how it counts.
        size: Scoring size, None for the size of each mask.
        figures: Figure → ratio.
    """

    model: str
    method: str
    source: str
    dataset: str
    split: str
    protocol: str | None
    size: int | None
    figures: dict[str, float]


def is_comparable(row: Row, published: Published) -> bool:
    """Both are of the same method, data set, split, preset and scoring size."""
    return (
        published.model == row.model
        and published.method in ('', row.method)
        and (published.dataset, published.split) == (row.dataset, row.split)
        and published.protocol in row.figures
        and row.figures[published.protocol].size == published.size
    )


def disagreements(row: Row, published: Published) -> set[str]:
    """The published figures that the measured ones do not confirm; see ``RULE``.

    Args:
        row: Comparable with ``published``.
        published: What a source says.
    """
    assert published.protocol is not None
    measured = row.figures[published.protocol]
    points, share = _TOLERANCE[row.kind]
    found = set()
    for key, value in published.figures.items():
        if key not in measured.mean:
            continue
        tolerance = share * value if key == 'Fa' else points
        if abs(measured.mean[key] - value) > max(tolerance, 2 * measured.std.get(key, 0)) + 1e-12:
            found.add(key)
    return found


def ranked(rows: Iterable[Row], protocol: str = MAIN) -> list[Row]:
    """By IoU under a preset, the best first; those without one last."""
    return sorted(rows, key=lambda row: -row.figures[protocol].mean.get('IoU', -1) if protocol in row.figures else 1)


def relative_rows(rows: Sequence[Row], name: str, protocol: str) -> list[list[str]]:
    """Difference of each row to one of them, in the units of the tables.

    Over the seeds that both have, the differences of equal seeds are averaged; otherwise it is the difference
    of the means.

    Args:
        rows: Of one data set.
        name: Config or method of the row to compare with.
        protocol: Preset.

    Returns:
        Cells under :data:`RELATIVE_HEADER`.

    Raises:
        UserError: No row is called ``name``.
    """
    base = next((row for row in rows if name.lower() in (row.config.lower(), row.method.lower())), None)
    if base is None:
        raise unknown_name('method to compare with (--relative-to)', name, [row.config for row in rows])
    return [[row.method, row.source, *_differences(row, base, protocol)] for row in rows if row is not base]


RELATIVE_KEYS = ('IoU', 'nIoU', 'F1', 'Pd', 'Fa')
RELATIVE_HEADER = ('method', 'source', 'Δ IoU', 'Δ nIoU', 'Δ F1', 'Δ Pd', 'Δ Fa ×1e-6')


def _differences(row: Row, base: Row, protocol: str) -> list[str]:
    ours, theirs = ({run.seed: run.figures for run in r.runs if run.state == 'done'} for r in (row, base))
    paired = [seed for seed in ours if seed is not None and seed in theirs]
    cells = []
    for key in RELATIVE_KEYS:
        if paired:
            changes = [
                {key: ours[seed][protocol].get(key, math.nan) - theirs[seed][protocol].get(key, math.nan)}
                for seed in paired
            ]
            mean, std = mean_and_deviation(changes)[key]
        else:
            values = [r.figures[protocol].mean.get(key, math.nan) if r.figures else math.nan for r in (row, base)]
            mean, std = values[0] - values[1], math.nan
        text = shown(key, mean)
        sign = '+' if mean > 0 else ''
        cells.append(sign + text + ('' if math.isnan(std) else f' ± {shown(key, std)}'))
    return cells


def to_json(rows: Sequence[Row], protocols: Sequence[Protocol], about: Mapping[str, Any]) -> dict[str, Any]:
    """Everything, as written to ``--json``.

    Returns:
        ``about`` (command, versions), ``protocols`` (full definition by name) and ``rows``, each a
        :class:`Row` with its :class:`Cost`, :class:`Figures` by preset and :class:`ScoredRun` per seed. Figures are
        plain ratios; undefined ones are left out.
    """
    content = [dataclasses.asdict(row) for row in rows]
    for row in content:
        for run in row['runs']:
            run['figures'] = {name: _defined(values) for name, values in run['figures'].items()}
    return {
        **about,
        'protocols': {protocol.name: dataclasses.asdict(protocol) for protocol in protocols},
        'rows': content,
    }


def _defined(figures: Mapping[str, float]) -> dict[str, float]:
    return {key: value for key, value in figures.items() if not math.isnan(value)}


@dataclass(frozen=True)
class Table:
    """What is read of a ``--json`` file."""

    protocols: dict[str, Protocol]
    rows: list[Row]


def load_table(path: Path) -> tuple[list[Row], list[Protocol]]:
    """Rows and presets of a ``--json`` file, as :func:`to_json` made it.

    Raises:
        UserError: There is none, or it is something else.
    """
    table = read_json(path, Table, f'name a table that {called("leaderboard")} wrote with --json')
    if not table.rows:
        raise UserError(f'{path} holds no rows; name a file that --json wrote.')
    return table.rows, list(table.protocols.values())


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
