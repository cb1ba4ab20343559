"""Sweeps: a training for each of several values of a config, then a table and a plot, published figures beside ours."""

from __future__ import annotations

import inspect
import itertools
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from mmengine.config import DictAction

from drpca.config import evaluation_data, load_config
from drpca.engine.runs import Outcome, Run
from drpca.errors import UserError, unknown_name
from drpca.evaluation.functional import mean_and_deviation
from drpca.files import make_folder, save_text
from drpca.inference.detector import Detector
from drpca.json_file import plain
from drpca.leaderboard.metafiles import published_figures
from drpca.leaderboard.rows import Published
from drpca.names import canonical_name
from drpca.options import RECIPE
from drpca.registry import MODELS
from drpca.reports.plain_tables import markdown_table, text_table
from drpca.studies.corruptions import KINDS, parse_corruptions
from drpca.studies.robustness import robustness
from drpca.visualization.charts import decades_axis, line_style, panel_grid, save_figure

KEYS = ('IoU', 'nIoU', 'F1', 'Pd', 'Fa')
_PLOTTED = ('IoU', 'nIoU', 'Pd', 'Fa')
_DEFAULT = 'basicirstd'  # whose figures a summary has without prefix


@dataclass(frozen=True)
class Sweep:
    """What is varied.

    Attributes:
        name: Of its files.
        axes: Dotted key of the config → its values; several keys: every combination.
        options: Dotted key → value that all trainings have.
        corruption: Instead of axes: disturbances of the test images, as of ``tools/robustness.py``; each run is trained
            once.
        parameters: First value → published number of parameters.
    """

    name: str
    axes: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    corruption: str = ''
    parameters: Mapping[Any, float] = field(default_factory=dict)

    @property
    def header(self) -> list[str]:
        """What the values are called."""
        if self.corruption:
            kind = KINDS[self.corruption.partition('=')[0]]
            return [f'{kind.title} ({kind.unit})']
        return [key.rpartition('.')[2] for key in self.axes]


# The ablations of RPCANet+ (2025): stages, bottleneck, channels, noise of the test images. Its parameters are published
# for the ends of the first; its figures stand in the metafile, for the values of the configs.
_NETWORK = 'model.network.'
NAMED = {
    sweep.name: sweep
    for sweep in (
        Sweep(
            'rpcanet_plus_stages', {f'{_NETWORK}num_stages': (1, 2, 3, 4, 5, 6, 7)},
            {f'{_NETWORK}bottleneck': 4, f'{_NETWORK}channels': 32, f'{_NETWORK}noise_depth': 6},
            parameters={1: 0.0360e6, 7: 0.2519e6},
        ),
        Sweep('rpcanet_plus_bottleneck', {f'{_NETWORK}bottleneck': (4, 8, 16)}, {f'{_NETWORK}channels': 32}),
        Sweep('rpcanet_plus_channels', {f'{_NETWORK}channels': (32, 48, 64)}, {f'{_NETWORK}bottleneck': 4}),
        Sweep('gaussian', corruption='gaussian=10,20,30'),
        Sweep('salt_pepper', corruption='salt_pepper=1,3,5'),
    )
}  # fmt: skip


def parse_sweep(texts: Sequence[str]) -> Sweep:
    """``['rpcanet_plus_stages']``, or ``['model.network.num_stages=1,2,3', …]``.

    Raises:
        UserError: An unknown name, or a key without values.
    """
    if len(texts) == 1 and '=' not in texts[0]:
        if texts[0] not in NAMED:
            raise UserError(f'{unknown_name("sweep", texts[0], list(NAMED))} Or give KEY=VALUE,VALUE,….')
        return NAMED[texts[0]]
    axes: dict[str, tuple[Any, ...]] = {}
    for text in texts:
        key, equals, values = text.partition('=')
        try:
            parsed = DictAction._parse_iterable(values)
        except (AssertionError, ValueError, SyntaxError):
            parsed = ()
        listed = tuple(parsed) if isinstance(parsed, (list, tuple)) else (parsed,)
        if not key or not equals or not listed or '' in listed:
            raise UserError(f'--sweep {text}: expected KEY=VALUE,VALUE,…, or one of {", ".join(NAMED)}.')
        if key in axes or len(set(map(str, listed))) < len(listed):
            raise UserError(f'--sweep {text}: {"the key" if key in axes else "a value"} is named twice.')
        axes[key] = listed
    return Sweep('_'.join(key.rpartition('.')[2] for key in axes), axes)


@dataclass(frozen=True)
class Point:
    """The trainings of one combination of values.

    Attributes:
        base: Name of the runs that were varied.
        values: One per key, in their order; of a corruption none.
        runs: One per seed.
        published: Published figures of a network of these values on this data set, None if there are none.
    """

    base: str
    values: tuple[Any, ...]
    runs: tuple[Run, ...]
    published: Published | None


def plan_sweep(runs: Sequence[Run], sweep: Sweep) -> list[Point]:
    """Every combination of values for every config, each with the seeds of its runs.

    The runs of a combination are kept in ``<name>_<key>=<value>/seed_<n>``.

    Raises:
        UserError: A key that the config or its network does not have.
    """
    if len(set(sweep.header)) < len(sweep.axes):
        raise UserError('--sweep: two keys end in the same word: sweep them one after the other.')
    points = []
    for base, group in itertools.groupby(runs, key=lambda run: run.name):
        seeds = list(group)
        published = _published(seeds[0])
        _check_network(seeds[0], sweep)
        for values in itertools.product(*sweep.axes.values()):
            changes = {**sweep.options, **dict(zip(sweep.axes, values))}
            parts = [f'{name}={_word(value)}' for name, value in zip(sweep.header, values)] if sweep.axes else []
            varied = [
                replace(
                    run, name='_'.join([base, *parts]),
                    options=replace(run.options, cfg_options={**run.options.cfg_options, **changes}),
                )
                for run in seeds
            ]  # fmt: skip
            points.append(Point(base, values, tuple(varied), published(changes)))
    return points


def _check_network(run: Run, sweep: Sweep) -> None:
    """Refuses what every run would fail of."""
    options = {**run.options.cfg_options, **sweep.options, **{key: values[0] for key, values in sweep.axes.items()}}
    network = load_config(run.config, run.dataset, options=options).model.get('network', {})
    known = inspect.signature(MODELS.get(network['type'])).parameters if network else {}
    for key in network if known and all(p.kind is not p.VAR_KEYWORD for p in known.values()) else ():
        if key not in (*known, 'type'):
            raise unknown_name(f'parameter of {network["type"]}', key, list(known))


def _word(value: Any) -> str:
    return ''.join(letter if letter.isalnum() or letter in '.+-' else '_' for letter in str(value))


def _published(run: Run) -> Callable[[Mapping[str, Any]], Published | None]:
    """Changes of a config → what is published for its network, unless they change it."""
    plain = load_config(run.config, run.dataset)
    data = evaluation_data(plain)
    wanted = Path(plain.filename or '').parent.name, canonical_name(data.get('dataset', '')), data.get('split', 'test')
    found = [p for p in published_figures() if (p.model, p.dataset, p.split) == wanted]
    best = next((p for p in found if p.source == 'authors'), next(iter(found), None))
    asked = load_config(run.config, run.dataset, options=run.options.cfg_options).to_dict()

    def figures(changes: Mapping[str, Any]) -> Published | None:
        config = load_config(run.config, run.dataset, options={**run.options.cfg_options, **changes}).to_dict()
        same = _whole(config['model'].pop('network', {})) == _whole(plain.model.get('network', {}))
        return best if same and config == asked else None

    asked['model'].pop('network', None)
    return figures


def _whole(network: Mapping[str, Any]) -> dict[str, Any]:
    """A network's keywords with those that are not given."""
    known = inspect.signature(MODELS.get(network['type'])).parameters if network else {}
    return {**{name: parameter.default for name, parameter in known.items()}, **network}


@dataclass(frozen=True)
class SweepRow:
    """A line of the table.

    Attributes:
        values: One per column of the sweep's header.
        seeds: Seeds that are done.
        missing: Number of runs that are not.
        parameters: Of the network; None if no run is done.
        figures: Figure → mean and standard deviation over seeds, ratios.
        published: Figure → ratio.
        published_parameters: As published, None where not.
    """

    values: tuple[Any, ...]
    seeds: tuple[int, ...]
    missing: int
    parameters: int | None
    figures: dict[str, tuple[float, float]]
    published: dict[str, float]
    published_parameters: float | None

    def as_json(self) -> dict[str, Any]:
        """Plain ratios; a deviation of fewer than two seeds is null."""
        pairs = {key: {'mean': mean, 'std': deviation} for key, (mean, deviation) in self.figures.items()}
        return plain({**vars(self), 'figures': pairs})


@dataclass(frozen=True)
class SweepTable:
    """What a sweep of one config came to.

    Attributes:
        name: Of the config and the sweep.
        header: What is varied.
        preset: Of the figures: that of the published ones, or basicirstd.
        rows: In the order of the values.
        files: Table, figures and plot.
    """

    name: str
    header: list[str]
    preset: str
    rows: list[SweepRow]
    files: list[Path] = field(default_factory=list)

    @property
    def heading(self) -> str:
        """What was scored, in a line."""
        return f'{self.name}, test split, preset {self.preset}'

    def as_text(self) -> str:
        """An aligned table."""
        return f'{self.heading}\n{text_table(*self._cells())}'

    def as_markdown(self) -> str:
        """A Markdown table."""
        return f'**{self.heading}**\n\n{markdown_table(*self._cells())}'

    def _cells(self) -> tuple[list[str], list[list[str]], int]:
        header = [*self.header, 'seeds', 'M parameters', *(f'{k} {"×1e-6" if k == "Fa" else "%"}' for k in KEYS)]
        published = any(row.published or row.published_parameters for row in self.rows)
        lines = []
        for row in self.rows:
            seeds = f'{len(row.seeds)}{f" of {len(row.seeds) + row.missing}" if row.missing else ""}'
            cells = [*map(str, row.values), seeds, _millions(row.parameters)]
            cells += [_shown(key, *row.figures[key]) if key in row.figures else '–' for key in KEYS]
            if published:
                shown = ' / '.join(_shown(k, row.published[k]) for k in ('IoU', 'F1', 'Pd', 'Fa') if k in row.published)
                cells += [_millions(row.published_parameters), shown or '–']
            lines.append(cells)
        return [*header, *(['published M', 'IoU / F1 / Pd / Fa'] if published else [])], lines, len(self.header)


def _millions(count: float | None) -> str:
    return '–' if count is None else f'{count / 1e6:.4f}'


def _shown(key: str, mean: float, deviation: float = math.nan) -> str:
    factor = 1e6 if key == 'Fa' else 100
    return f'{factor * mean:.2f}' + ('' if math.isnan(deviation) else f' ± {factor * deviation:.2f}')


def report_sweep(sweep: Sweep, points: Sequence[Point], outcomes: Mapping[Path, Outcome]) -> list[SweepTable]:
    """A table and a plot per config, in ``<work dir>/sweeps``; files of an earlier time are replaced.

    Args:
        sweep: What was varied.
        points: Of :func:`plan_sweep`.
        outcomes: How the runs ended, by their folders.

    Raises:
        UserError: A file cannot be written, or noisy images cannot be scored.
    """
    tables = []
    for base, group in itertools.groupby(points, key=lambda point: point.base):
        of_base = list(group)
        presets = [p.published.protocol for p in of_base if p.published and p.published.protocol]
        preset = presets[0] if presets else _DEFAULT
        rows = [row for point in of_base for row in _rows(sweep, point, outcomes, preset)]
        folder = make_folder(make_folder(Path(of_base[0].runs[0].options.work_dir)) / 'sweeps')
        stem = folder / f'{base}_{sweep.name}'
        table = SweepTable(f'{base} {sweep.name}', sweep.header, preset, rows)
        content = {
            'name': table.name,
            'header': table.header,
            'preset': preset,
            'rows': [row.as_json() for row in rows],
        }
        text = json.dumps(content, indent=1)
        files = [
            save_text(stem.with_name(f'{stem.name}.md'), table.as_markdown(), overwrite=True),
            save_text(stem.with_name(f'{stem.name}.json'), f'{text}\n', overwrite=True),
            *_plot(table, stem),
        ]
        tables.append(replace(table, files=files))
    return tables


def _rows(sweep: Sweep, point: Point, outcomes: Mapping[Path, Outcome], preset: str) -> list[SweepRow]:
    found = [outcome.result for run in point.runs if (outcome := outcomes.get(run.folder.path))]
    done = [result for result in found if result is not None and result.test is not None]
    seeds, missing = tuple(result.seed for result in done), len(point.runs) - len(done)
    parameters = done[0].parameters if done else None
    if not sweep.corruption:
        prefix = '' if preset == _DEFAULT else f'{preset}/'
        figures = [{key: (r.test or {})[prefix + key] for key in KEYS if prefix + key in (r.test or {})} for r in done]
        summed = mean_and_deviation(figures) if figures else {}
        published_here = point.published.figures if point.published else {}
        known = {key: published_here[key] for key in KEYS if key in published_here}
        published = sweep.parameters.get(point.values[0])
        return [SweepRow(point.values, seeds, missing, parameters, summed, known, published)]
    noisy: dict[float, list[dict[str, float]]] = {
        level: [] for level in (0.0, *(corruption.level for corruption in parse_corruptions([sweep.corruption])))
    }
    for result in done:
        root = point.runs[0].options.data_root
        detector = Detector(weights=result.checkpoint, size=RECIPE, data_root=root)
        data = None if root is None else str(root)
        study = robustness(detector, data_root=data, corruptions=[sweep.corruption], protocols=[preset])
        for score in study.results:
            noisy[score.corruption.level if score.corruption else 0.0].append(score.figures[preset])
    return [
        SweepRow(
            (level,), seeds, missing, parameters,
            {key: pair for key, pair in mean_and_deviation(figures).items() if key in KEYS} if figures else {},
            dict(point.published.figures) if point.published and level == 0 else {}, None,
        )
        for level, figures in noisy.items()
    ]  # fmt: skip


def _plot(table: SweepTable, stem: Path) -> list[Path]:
    """A panel per figure: the first value along x, a line per combination of the others, published points hollow."""
    figure, axes = panel_grid(len(_PLOTTED), table.heading)
    first = list(dict.fromkeys(row.values[0] for row in table.rows))
    numbers = all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in first)
    place = {value: value if numbers else index for index, value in enumerate(first)}
    others = list(dict.fromkeys(row.values[1:] for row in table.rows))
    for axis, key in zip(axes, _PLOTTED):
        factor = 1e6 if key == 'Fa' else 100
        for number, other in enumerate(others):
            rows = [row for row in table.rows if row.values[1:] == other and key in row.figures]
            label = ', '.join(f'{name} {value}' for name, value in zip(table.header[1:], other)) or 'here'
            x = [place[row.values[0]] for row in rows]
            y, deviation = ([factor * row.figures[key][part] for row in rows] for part in (0, 1))
            spread = [0.0 if math.isnan(value) else value for value in deviation]
            axis.errorbar(x, y, yerr=spread, capsize=3, label=label, **line_style(number))
        known = [(place[row.values[0]], factor * row.published[key]) for row in table.rows if key in row.published]
        if known:
            axis.plot(*zip(*known), 'o', color='black', fillstyle='none', label='published')
        axis.set(xlabel=table.header[0], ylabel=f'{key} {"×1e-6" if key == "Fa" else "%"}')
        if key == 'Fa':
            decades_axis(axis)
        if not numbers or len(first) < 10:
            axis.set_xticks(list(place.values()), list(map(str, first)), rotation=0 if numbers else 30)
    figure.legend(*axes[0].get_legend_handles_labels(), loc='outside lower center', ncols=4, frameon=False)
    return save_figure(figure, stem)
