"""One detector on several data sets: how well does it do on images of another kind than its training's?"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmengine.config import Config

from drpca.datasets.leaks import Leak, find_leaks
from drpca.datasets.splits import Split, open_joined, open_split, spread
from drpca.errors import UserError
from drpca.evaluation.protocols import Protocol, build_protocols
from drpca.files import claim, save_text
from drpca.inference.detector import Detector
from drpca.json_file import plain
from drpca.reports.plain_tables import markdown_table, text_table
from drpca.reports.tables import definition, shown
from drpca.results.scoring import FiguresByProtocol, score_split
from drpca.version import versions

_FIGURES = ('IoU', 'nIoU', 'F1', 'Pd', 'Fa', 'AUC', 'images', 'targets')
_HEADER = (
    'data set', 'preset', 'threshold', 'size', 'matching rule',
    'IoU %', 'nIoU %', 'F1 %', 'Pd %', 'Fa x1e-6', 'AUC published', 'images', 'targets', 'leaks',
)  # fmt: skip
_LEFT = 5


@dataclass(frozen=True)
class DataSetFigures:
    """One data set of a :class:`CrossDatasetStudy`.

    Attributes:
        split: The images belong to it.
        names: Of the images used.
        figures: Plain ratios by the protocol's name.
        leaks: Its images that the detector was trained on; None: not known.
    """

    split: Split
    names: list[str]
    figures: FiguresByProtocol
    leaks: list[Leak] | None

    @property
    def leaked(self) -> str:
        """Number of images that the detector was trained on, '?' if that is not known."""
        return '?' if self.leaks is None else str(len({name for leak in self.leaks for name in leak.names}))


@dataclass(frozen=True)
class CrossDatasetStudy:
    """What :func:`cross_dataset` found.

    Attributes:
        detector: Name and weights, for the heading.
        described: What it is.
        protocols: What was scored.
        datasets: One entry per data set, in the order asked for.
        warnings: Lines about leaks, and about training images that are not at hand.
        files: What was written.
    """

    detector: str
    described: dict[str, Any]
    protocols: list[Protocol]
    datasets: list[DataSetFigures]
    warnings: list[str]
    files: list[Path] = field(default_factory=list)

    def _rows(self) -> list[list[str]]:
        return [
            [
                entry.split.dataset,
                *definition(protocol),
                *(shown(key, entry.figures[protocol.name][key]) for key in _FIGURES),
                entry.leaked,
            ]
            for entry in self.datasets
            for protocol in self.protocols
        ]

    def as_text(self) -> str:
        """An aligned table, and the warnings."""
        lines = [f'warning: {note}' for note in self.warnings]
        return '\n'.join([self.detector, text_table(_HEADER, self._rows(), _LEFT), *lines])

    def as_markdown(self) -> str:
        """The same in Markdown."""
        text = f'**{self.detector}**\n\n{markdown_table(_HEADER, self._rows(), _LEFT)}'
        return text + ''.join(f'\n- warning: {note}' for note in self.warnings) + '\n'

    def as_json(self) -> dict[str, Any]:
        """Plain ratios; undefined figures are null."""
        content = {
            entry.split.dataset: {
                'split': entry.split.split,
                'images': entry.names,
                'leaks': {leak.train: leak.names for leak in entry.leaks or []},
                'figures': {name: plain(values) for name, values in entry.figures.items()},
            }
            for entry in self.datasets
        }
        return {'detector': self.described, 'datasets': content, 'warnings': self.warnings, 'versions': versions()}


def cross_dataset(
    detector: Detector,
    datasets: Sequence[str],
    *,
    split: str = 'test',
    data_root: str | None = None,
    limit: int | None = None,
    protocols: Sequence[str | dict[str, Any] | Protocol] = ('basicirstd',),
    trained_on: Sequence[str] = (),
    out: str | Path | None = None,
    overwrite: bool = False,
) -> CrossDatasetStudy:
    """Scores one detector on several data sets, and looks for images that it was trained or selected on.

    That the weights were made as the config says is an assumption: name other splits in ``trained_on``, if not.

    Args:
        detector: The detector.
        datasets: Data sets, each once.
        split: Their split.
        data_root: Folder of the data sets.
        limit: Only so many images of each, evenly spread.
        protocols: What to score.
        trained_on: What the weights were trained and selected on, ``'SIRSTv1'`` (its trainval) or
            ``'SIRSTv1:train'``; none: the config's training and validation splits.
        out: Folder for cross_dataset.json and cross_dataset.md; None: no files.
        overwrite: Replace the files of an earlier run.

    Raises:
        UserError: Unknown names, no such data set, one named twice, unreadable images, or files that are there
            already.
    """
    presets = build_protocols(protocols)
    splits = [open_split(name, split, data_root) for name in datasets]
    opened = [item.dataset for item in splits]
    twice = next((name for name in opened if opened.count(name) > 1), None)
    if twice:
        raise UserError(f'Data set {twice} is named twice; name each once.')
    trained = detector.checkpoint is not None
    seen, notes = _training_splits(detector.config, trained_on, data_root) if trained else ([], [])
    files = [] if out is None else [Path(out) / f'cross_dataset{suffix}' for suffix in ('.json', '.md')]
    if out is not None:
        claim(Path(out), [file.name for file in files], overwrite)

    found = []
    for item in splits:
        leaks = [leak for training in seen for leak in find_leaks(training, [item])]
        notes += [f'{leak}: figures on them are not of unseen images' for leak in leaks]
        names = spread(item.names, limit)
        figures = score_split(detector.mapper, item, names, presets)
        found.append(DataSetFigures(item, names, figures, leaks if seen or not trained else None))
    heading = f'{detector.name} {detector.checkpoint or ""}'.strip()
    study = CrossDatasetStudy(heading, detector.described(), presets, found, notes, files)
    if files:
        save_text(files[0], json.dumps(study.as_json(), indent=1) + '\n', overwrite=True)
        save_text(files[1], study.as_markdown(), overwrite=True)
    return study


def _training_splits(config: Config, trained_on: Sequence[str], data_root: str | None) -> tuple[list[Split], list[str]]:
    """Splits that the detector has seen, and lines about those that are not at hand.

    Raises:
        UserError: A split named in ``trained_on`` is not there.
    """
    if trained_on:
        named = [text.partition(':') for text in trained_on]
        return [open_joined(name, split or 'trainval', data_root) for name, _, split in named], []
    splits, unknown = [], []
    for key in ('train_dataloader', 'val_dataloader'):
        source = (config.get(key) or {}).get('dataset')
        if source is None or 'dataset' not in source:
            continue
        try:
            splits.append(open_joined(source.dataset, source.split, data_root or source.get('data_root')))
        except UserError:
            unknown.append(f'{source.dataset} {source.split} is not at hand: leaks from it are not known')
    return splits, unknown
