"""Detectors on disturbed frames: from a data set to tables, JSON and curves."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from typing_extensions import TypedDict

from drpca.datasets.io import Levelled
from drpca.datasets.splits import Split, spread
from drpca.errors import UserError, counted, unknown_name
from drpca.evaluation.protocols import Protocol, build_protocols
from drpca.files import claim, save_text
from drpca.inference.detector import Detector
from drpca.inference.mappers import ScoreMapper
from drpca.json_file import plain, read_json
from drpca.options import ROBUST_FIGURES, called
from drpca.progress import watched
from drpca.reports.plain_tables import markdown_table, text_table
from drpca.reports.tables import definition, shown
from drpca.results.scoring import FiguresByProtocol, score_split
from drpca.studies.corruptions import KINDS, Corruption, eight_bit, parse_corruptions
from drpca.version import versions
from drpca.visualization.charts import (
    SUFFIXES,
    decades_axis,
    is_drawable,
    label_text,
    line_style,
    panel_grid,
    save_figure,
    style,
)

HEADER = ('disturbance', 'detector', 'IoU %', 'nIoU %', 'F1 %', 'Pd %', 'Fa x1e-6', 'IoU lost')
CLEAN = 'none'
MEAN = 'mean of the disturbed'


@dataclass(frozen=True)
class CorruptionScore:
    """One detector under one disturbance.

    Attributes:
        detector: Its name.
        corruption: The disturbance, None for clean frames.
        figures: By the name of the protocol.
    """

    detector: str
    corruption: Corruption | None
    figures: FiguresByProtocol

    def as_json(self) -> dict[str, Any]:
        """Plain ratios; undefined figures are null."""
        return {
            'detector': self.detector,
            'corruption': None if self.corruption is None else self.corruption.kind,
            'level': 0 if self.corruption is None else self.corruption.level,
            'unit': None if self.corruption is None else KINDS[self.corruption.kind].unit,
            'figures': {name: plain(figures) for name, figures in self.figures.items()},
        }


def score_corrupted(
    detector: str,
    mapper: ScoreMapper,
    split: Split,
    names: Sequence[str],
    corruptions: Sequence[Corruption],
    protocols: Sequence[Protocol],
    seed: int = 0,
) -> Iterator[CorruptionScore]:
    """Scores a detector on clean frames, then under each disturbance.

    Args:
        detector: Its name in tables.
        mapper: The detector.
        split: The images.
        names: Which of them.
        corruptions: The disturbances.
        protocols: What to score.
        seed: Of the disturbances; with it the results are reproducible on the same machine, in any order.

    Raises:
        UserError: An image or a mask is unreadable.
    """

    def levelled(frame: np.ndarray) -> Levelled:
        return Levelled(eight_bit(frame, mapper.values), 0.0, 255.0)

    clean = score_split(mapper, split, names, protocols, lambda frame, name: levelled(frame))
    yield CorruptionScore(detector, None, clean)
    for corruption in corruptions:

        def change(frame: np.ndarray, name: str, corruption: Corruption = corruption) -> Levelled:
            return levelled(frame)._replace(image=corruption.apply(levelled(frame).image, name, seed))

        yield CorruptionScore(detector, corruption, score_split(mapper, split, names, protocols, change))


def mean_corrupted(results: Sequence[CorruptionScore], detector: str, protocol: str) -> dict[str, float]:
    """Mean over the kinds of the mean over each kind's levels, so that a kind with more levels weighs no more.

    Undefined figures are left out.
    """
    means = {}
    for key in ROBUST_FIGURES:
        by_kind: dict[str, list[float]] = {}
        for result in results:
            if result.detector == detector and result.corruption is not None:
                value = result.figures[protocol][key]
                if not math.isnan(value):
                    by_kind.setdefault(result.corruption.kind, []).append(value)
        kinds = [float(np.mean(values)) for values in by_kind.values()]
        means[key] = float(np.mean(kinds)) if kinds else float('nan')
    return means


def rows(results: Sequence[CorruptionScore], protocol: str) -> list[list[str]]:
    """Cells under ``HEADER``: disturbance by disturbance, the detectors one below the other."""
    detectors = list(dict.fromkeys(result.detector for result in results))
    clean = {r.detector: r.figures[protocol] for r in results if r.corruption is None}
    lines = []
    for corruption in dict.fromkeys(result.corruption for result in results):
        for result in results:
            if result.corruption == corruption:
                title = CLEAN if corruption is None else str(corruption)
                figures = result.figures[protocol]
                lines.append(_row(title, result.detector, figures, clean[result.detector]))
    if len(results) > len(detectors):
        for name in detectors:
            lines.append(_row(MEAN, name, mean_corrupted(results, name, protocol), clean[name]))
    return lines


def _row(title: str, detector: str, figures: dict[str, float], clean: dict[str, float]) -> list[str]:
    lost = clean['IoU'] - figures['IoU']
    cells = [shown(key, figures[key]) for key in ROBUST_FIGURES]
    return [title, detector, *cells, '' if title == CLEAN else shown('IoU', lost)]


def robustness_figure(
    results: Sequence[CorruptionScore], protocol: str, key: str, heading: str = '', width: float | None = None
) -> Figure:
    """A figure against the strength of each kind of disturbance, clean frames at 0, a line per detector.

    Args:
        results: Of all detectors, under one disturbance at least.
        protocol: Name of the protocol.
        key: 'IoU', 'nIoU', 'F1', 'Pd' (in %) or 'Fa' (×1e-6, on a logarithmic axis where it spans decades).
        heading: What was scored.
        width: Of a figure for a paper, in inches.
    """
    factor, unit = (1e6, '×1e-6') if key == 'Fa' else (100, '%')
    kinds = list(dict.fromkeys(r.corruption.kind for r in results if r.corruption is not None))
    figure, axes = panel_grid(len(kinds), heading, width)
    with style(width):
        _draw_kinds(axes, kinds, results, protocol, key, f'{key} {unit}', factor, width)
        figure.legend(*axes[0].get_legend_handles_labels(), loc='outside lower center', ncols=3, frameon=False)
    return figure


def _draw_kinds(
    axes: Sequence[Axes],
    kinds: Sequence[str],
    results: Sequence[CorruptionScore],
    protocol: str,
    key: str,
    ylabel: str,
    factor: float,
    width: float | None,
) -> None:
    detectors = list(dict.fromkeys(r.detector for r in results))
    for axis, kind in zip(axes, kinds):
        for number, detector in enumerate(detectors):
            points = [
                (0 if r.corruption is None else r.corruption.level, factor * r.figures[protocol].get(key, math.nan))
                for r in results
                if r.detector == detector and (r.corruption is None or r.corruption.kind == kind)
            ]
            x, y = zip(*sorted(points)) if points else ((), ())
            axis.plot(x, y, label=label_text(detector), **line_style(number, width))
        axis.set(title=KINDS[kind].title, xlabel=KINDS[kind].unit, ylabel=ylabel)
        axis.set_ylim(bottom=0, top=None if key == 'Fa' else 102)
        if key == 'Fa':
            decades_axis(axis)


def _number(value: float | None) -> float:
    """A figure out of a file; NaN where it is undefined."""
    return value if value is not None and is_drawable(value) else math.nan


class _SavedScore(TypedDict):
    """An entry of ``results`` in robustness.json."""

    detector: str
    corruption: str | None
    level: float
    figures: dict[str, dict[str, float | None]]


class _SavedStudy(TypedDict):
    """What is read of robustness.json; there is more in it."""

    __pydantic_config__ = {'extra': 'allow'}  # type: ignore[misc]
    dataset: str
    split: str
    images: list[str]
    protocols: list[Protocol]
    results: list[_SavedScore]


def read_scores(path: str | Path) -> tuple[list[CorruptionScore], list[Protocol], str]:
    """Results and presets of a robustness.json, and what they are of: 'SIRSTv1 test, 86 images'.

    Raises:
        UserError: There is none, or it is something else.
    """
    saved = read_json(path, _SavedStudy, f'name the robustness.json of {called("robustness")}')
    results = [
        CorruptionScore(
            entry['detector'],
            None if entry['corruption'] is None else Corruption(entry['corruption'], entry['level']),
            {preset: {key: _number(value) for key, value in of.items()} for preset, of in entry['figures'].items()},
        )
        for entry in saved['results']
    ]  # fmt: skip
    names = {protocol.name for protocol in saved['protocols']}
    whole = all(names <= result.figures.keys() for result in results)
    if not names or not whole or all(result.corruption is None for result in results):
        raise UserError(f'{path} holds no figures of disturbed frames: name the robustness.json of a whole study.')
    return results, saved['protocols'], f'{saved["dataset"]} {saved["split"]}, {counted(len(saved["images"]), "image")}'


@dataclass(frozen=True)
class RobustnessStudy:
    """What :func:`robustness` found.

    Attributes:
        split: The images belong to it.
        names: Of the images used.
        protocols: What was scored.
        seed: Of the disturbances.
        detectors: What each one is, by name.
        results: One per detector and disturbance; ``figures`` are plain ratios by the protocol's name.
        files: What was written.
    """

    split: Split
    names: list[str]
    protocols: list[Protocol]
    seed: int
    detectors: dict[str, dict[str, Any]]
    results: list[CorruptionScore]
    files: list[Path] = field(default_factory=list)

    def as_text(self) -> str:
        """One aligned table per protocol."""
        return '\n\n'.join(f'{title}\n{text_table(HEADER, cells, 2)}' for title, cells in self._tables())

    def as_markdown(self) -> str:
        """One Markdown table per protocol."""
        tables = (f'**{title}**\n\n{markdown_table(HEADER, cells, 2)}' for title, cells in self._tables())
        return '\n'.join(tables)

    def heading(self, protocol: Protocol) -> str:
        """What was scored, and how, in a line."""
        name, *rest = definition(protocol)
        used = f'{self.split.dataset} {self.split.split}, {len(self.names)} of {len(self.split)} images'
        return f'{used}, {name} ({", ".join(rest)})'

    def _tables(self) -> Iterator[tuple[str, list[list[str]]]]:
        """'SIRSTv1 test, 86 of 86 images, basicirstd (> 0.5, native, centroid < 3 px)' and cells, by protocol."""
        for protocol in self.protocols:
            yield self.heading(protocol), rows(self.results, protocol.name)

    def as_json(self) -> dict[str, Any]:
        """Plain ratios; undefined figures are null."""
        return {
            'dataset': self.split.dataset,
            'split': self.split.split,
            'images': self.names,
            'seed': self.seed,
            'detectors': self.detectors,
            'protocols': [asdict(protocol) for protocol in self.protocols],
            'results': [result.as_json() for result in self.results],
            'versions': versions(),
        }


def robustness(
    detectors: Detector | Mapping[str, Detector],
    dataset: str | None = None,
    *,
    split: str = 'test',
    data_root: str | None = None,
    limit: int | None = None,
    corruptions: Sequence[str | Corruption] = (),
    protocols: Sequence[str | dict[str, Any] | Protocol] = ('basicirstd',),
    seed: int = 0,
    out: str | Path | None = None,
    curves: Sequence[str] = ('IoU', 'Pd', 'Fa'),
    overwrite: bool = False,
    progress: bool = False,
) -> RobustnessStudy:
    """Scores detectors on clean frames and under disturbances.

    The 8-bit frames are disturbed as they come from their files, before any resizing; what is drawn depends on
    the seed, the kind and the name of the image alone.

    Args:
        detectors: One, or several by their names in tables.
        dataset: Data set; default: that of the first detector's config.
        split: Its split.
        data_root: Folder of the data sets.
        limit: Only so many images, evenly spread over the split.
        corruptions: Kinds, ``'gaussian'``, or kinds with levels, ``'gaussian=5,15'``; none: every kind.
        protocols: What to score.
        seed: Of the disturbances.
        out: Folder for robustness.json, robustness.md and a plot of each figure in ``curves``; '{dataset}' in it
            becomes the data set's name. None: no files.
        curves: Figures to plot, of ``drpca.options.ROBUST_FIGURES``.
        overwrite: Replace the files of an earlier run.
        progress: Say on standard error how far it is.

    Raises:
        UserError: Unknown names, no such data set, unreadable images, or files that are there already.
    """
    disturbances = parse_corruptions(corruptions)
    presets = build_protocols(protocols)
    for key in curves:
        if key not in ROBUST_FIGURES:
            raise unknown_name('figure', key, ROBUST_FIGURES)
    opened = dict(detectors) if isinstance(detectors, Mapping) else {detectors.name: detectors}
    images = next(iter(opened.values())).open_split(split, dataset, data_root)
    files: list[Path] = []
    if out is not None:
        folder = Path(str(out).replace('{dataset}', images.dataset))
        plots = [f'{key}{suffix}' for key in curves for suffix in SUFFIXES]
        files = [folder / name for name in ('robustness.json', 'robustness.md', *plots)]
        claim(folder, [file.name for file in files], overwrite)
    names = spread(images.names, limit)

    scored = (
        result
        for name, detector in opened.items()
        for result in score_corrupted(name, detector.mapper, images, names, disturbances, presets, seed)
    )
    passes = len(opened) * (len(disturbances) + 1)
    results = list(watched(scored, passes, 'pass') if progress else scored)
    described = {name: detector.described() for name, detector in opened.items()}
    study = RobustnessStudy(images, names, presets, seed, described, results, files)
    if files:
        save_text(files[0], json.dumps(study.as_json(), indent=1) + '\n', overwrite=True)
        save_text(files[1], study.as_markdown(), overwrite=True)
        for key in curves:
            figure = robustness_figure(results, presets[0].name, key, study.heading(presets[0]))
            save_figure(figure, files[0].with_name(key))
    return study
