"""Detectors on disturbed frames: from a data set to tables, JSON and curves."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tqdm import tqdm

from drpca.datasets.splits import Split, spread
from drpca.errors import unknown_name
from drpca.evaluation.protocols import Protocol, build_protocols
from drpca.files import claim, save_text
from drpca.inference.detector import Detector
from drpca.options import ROBUST_FIGURES
from drpca.studies import robustness as R
from drpca.studies.corruptions import Corruption, parse_corruptions
from drpca.studies.figures import robustness_figure
from drpca.version import versions
from drpca.visualization.charts import SUFFIXES, save_figure


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
    results: list[R.CorruptionScore]
    files: list[Path] = field(default_factory=list)

    def as_text(self) -> str:
        """One aligned table per protocol."""
        return R.as_text(self.results, self.split, len(self.names), self.protocols)

    def as_markdown(self) -> str:
        """One Markdown table per protocol."""
        return R.as_markdown(self.results, self.split, len(self.names), self.protocols)

    def as_json(self) -> dict[str, Any]:
        """Plain ratios; undefined figures are null."""
        return {
            'dataset': self.split.dataset,
            'split': self.split.split,
            'images': self.names,
            'seed': self.seed,
            'detectors': self.detectors,
            **R.as_json(self.results, self.protocols),
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
        progress: Show a bar on standard error, if that is a terminal.

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

    results: list[R.CorruptionScore] = []
    passes = len(opened) * (len(disturbances) + 1)
    with tqdm(total=passes, unit='pass', disable=None if progress else True) as bar:
        for name, detector in opened.items():
            for result in R.score_corrupted(
                name, detector.mapper, images, names, disturbances, presets, seed
            ):
                results.append(result)
                bar.update()
    described = {name: detector.described() for name, detector in opened.items()}
    study = RobustnessStudy(images, names, presets, seed, described, results, files)
    if files:
        save_text(files[0], json.dumps(study.as_json(), indent=1) + '\n', overwrite=True)
        save_text(files[1], study.as_markdown(), overwrite=True)
        for key in curves:
            save_figure(robustness_figure(results, presets[0].name, key), files[0].with_name(key))
    return study
