"""Scoring of results folders, each protocol at its own size, and what a report needs besides."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from drpca.datasets.io import resize_image, to_unit
from drpca.datasets.splits import Split, open_split
from drpca.errors import UserError
from drpca.evaluation import functional as F
from drpca.evaluation.curves import CurveCounts, curve_counts, select_threshold
from drpca.evaluation.metrics import Evaluator, ImageCase, ImageRecord
from drpca.evaluation.protocols import Protocol
from drpca.evaluation.target_rows import FalseAlarmRow, TargetRow, false_alarm_rows, target_rows
from drpca.results.folder import Case, ResultsFolder, iterate_cases


@dataclass
class Analysis:
    """What lies behind the figures of one protocol.

    Attributes:
        protocol: What counts as detected, and the scoring size.
        curves: Counts at all thresholds, of scores as they are.
        roc: Counts of the published ROC.
        targets: One row per target.
        false_alarms: One row per false alarm.
    """

    protocol: Protocol
    curves: CurveCounts = field(default_factory=CurveCounts.zero)
    roc: F.RocCounts = field(default_factory=F.RocCounts.zero)
    targets: list[TargetRow] = field(default_factory=list)
    false_alarms: list[FalseAlarmRow] = field(default_factory=list)

    def update(self, saved: Case, split: Split) -> None:
        """Adds one image."""
        case = ImageCase(*saved.at(self.protocol.size), name=saved.name)
        image = resize_image(to_unit(split.read_image(saved.name)), case.scores.shape)
        self.curves += curve_counts(case.scores, case.targets)
        self.roc += F.roc_counts(case.scores, case.targets)
        self.targets += target_rows(case, image, self.protocol)
        self.false_alarms += false_alarm_rows(case, self.protocol)


@dataclass(frozen=True)
class Score:
    """Figures of one results folder.

    Attributes:
        folder: The results folder.
        split: The images.
        protocols: What was scored; ``size`` is the scoring size.
        figures: By the name of the protocol, see :meth:`drpca.evaluation.metrics.Evaluator.compute`.
        records: Counts of each image by the name of the protocol.
        analysis: Of the first protocol, if asked for.
    """

    folder: ResultsFolder
    split: Split
    protocols: list[Protocol]
    figures: dict[str, dict[str, float]]
    records: dict[str, list[ImageRecord]]
    analysis: Analysis | None = None


def _refuse_same_images(chosen_on: Split, scored: Split) -> None:
    """Refuses to score images on which the threshold was chosen.

    Raises:
        UserError: The two splits of one data set share images.
    """
    shared = set(chosen_on.names) & set(scored.names)
    if chosen_on.root == scored.root and shared:
        raise UserError(
            f'The threshold was chosen on {chosen_on.dataset} {chosen_on.split}, which shares {len(shared)} '
            f'images with {scored.split}; choose it on a validation split.'
        )


def score_folder(
    folder: ResultsFolder,
    protocols: Sequence[Protocol],
    dataset: str | None = None,
    split: str | None = None,
    data_root: str | Path | None = None,
    allow_partial: bool = False,
    analyse: bool = False,
    chosen_on: Split | None = None,
) -> Score:
    """Scores one results folder, each protocol at its own ``size``.

    Args:
        folder: Score maps.
        protocols: What to score.
        dataset: Data set of the masks; default as the folder says.
        split: Split of the data set; default as the folder says.
        data_root: Folder that holds the data sets.
        allow_partial: Score the images that folder and split have in common.
        analyse: Also collect curves and rows under the first protocol; needs the images, and time.
        chosen_on: Images on which the thresholds of the protocols were chosen, if they were.

    Raises:
        UserError: Data set, split, maps or masks are not as expected; or some of the images are among
            ``chosen_on``.
    """
    images = open_split(dataset or folder.dataset, split or folder.split, data_root)
    if chosen_on is not None:
        _refuse_same_images(chosen_on, images)
    sizes = dict.fromkeys(protocol.size for protocol in protocols)
    evaluators = {size: Evaluator([p for p in protocols if p.size == size]) for size in sizes}
    analysis = Analysis(protocols[0]) if analyse else None
    for case in iterate_cases(folder, images, allow_partial):
        for size, evaluator in evaluators.items():
            evaluator.update(*case.at(size), name=case.name)
        if analysis is not None:
            analysis.update(case, images)
    figures = {size: evaluator.compute() for size, evaluator in evaluators.items()}
    return Score(
        folder,
        images,
        list(protocols),
        {p.name: figures[p.size][p.name] for p in protocols},
        {p.name: evaluators[p.size].records for p in protocols},
        analysis,
    )


def choose_thresholds(
    folder: ResultsFolder, protocols: Sequence[Protocol], data_root: str | Path | None = None
) -> tuple[list[Protocol], Split]:
    """Protocols with the threshold that gives the highest pixel F1 on another results folder.

    Args:
        folder: Score maps of a validation split, as its ``run.json`` or name says.
        protocols: Each gets the best threshold for its binarisation at its size.
        data_root: Folder that holds the data sets.

    Returns:
        The protocols and the split on which the thresholds were chosen.

    Raises:
        UserError: As :func:`score_folder`, or the images hold no target.
    """
    split = open_split(folder.dataset, folder.split, data_root)
    chosen: dict[tuple[str, int | None], float] = {}
    for protocol in protocols:
        key = (protocol.binarisation, protocol.size)
        if key not in chosen:
            pairs = (case.at(protocol.size) for case in iterate_cases(folder, split))
            chosen[key] = select_threshold(pairs, normalise=protocol.binarisation == 'max')
    changed = [dataclasses.replace(p, threshold=chosen[p.binarisation, p.size]) for p in protocols]
    return changed, split
