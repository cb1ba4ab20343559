"""Scoring, of saved maps and of a detector's maps as they come: each protocol at its own size."""

from __future__ import annotations

import dataclasses
import math
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from scipy.special import expit

from drpca.datasets.io import Levelled, image_shape, resize_image, resize_mask, to_unit
from drpca.datasets.leaks import SIRST_FAMILY
from drpca.datasets.sequence_dataset import open_frames
from drpca.datasets.sequences import labelled_frames
from drpca.datasets.splits import Split, open_masks, open_split
from drpca.errors import UserError, counted, warn
from drpca.evaluation import functional as F
from drpca.evaluation.curves import (
    CURVE_FIGURES,
    FA_BUDGETS,
    Budget,
    Curve,
    CurveSum,
    ImageCurve,
    OperatingPoint,
    Scale,
    image_curve,
    select_threshold,
)  # fmt: skip
from drpca.evaluation.metrics import Evaluator, ImageCase, ImageRecord
from drpca.evaluation.protocols import DEFAULT_PROTOCOLS, Protocol, choose_protocols
from drpca.evaluation.target_rows import DetectionRow, TargetRow, detection_rows, target_rows
from drpca.options import called
from drpca.progress import watched
from drpca.results.folder import ResultsFolder, find_results

if TYPE_CHECKING:
    from drpca.inference.mappers import ScoreMapper

FiguresByProtocol = dict[str, dict[str, float]]
"""Figures by the name of the protocol, see :meth:`drpca.evaluation.metrics.Evaluator.compute`."""


@dataclass(frozen=True)
class Case:
    """One image of a results folder, maps as they were saved.

    Attributes:
        name: Name of the image.
        scores: (h, w) float32 in [0, 1], at the size of the saved map.
        gt_mask: (H, W) bool, at the size of the mask file.
        logits: (h, w) float32, of which the scores are the sigmoid; None where there are none.
        numbers: (H, W) int32, which target a pixel of the mask belongs to; None: each component is one.
    """

    name: str
    scores: np.ndarray
    gt_mask: np.ndarray
    logits: np.ndarray | None = None
    numbers: np.ndarray | None = None

    def at(self, size: int | None) -> tuple[np.ndarray, np.ndarray]:
        """Scores and mask at the scoring size.

        Args:
            size: Side of a square, None for the mask's own size. Scores are resized bilinearly, the mask by
                nearest neighbour (:mod:`drpca.datasets.io`), as the published pipelines do; what has the size
                already is left alone.

        Returns:
            Scores float32 in [0, 1] and mask bool, of equal shape.
        """
        shape = self.gt_mask.shape if size is None else (size, size)
        scores = np.clip(resize_image(self.scores, shape), 0, 1)
        return scores, resize_mask(self.gt_mask, shape)

    def targets_at(self, size: int | None) -> np.ndarray | F.Components:
        """The targets at the scoring size: as a mask of which each component is one, or told apart by numbers."""
        shape = self.gt_mask.shape if size is None else (size, size)
        if self.numbers is None:
            return resize_mask(self.gt_mask, shape)
        return F.numbered_components(resize_mask(self.numbers, shape))

    def logits_at(self, size: int | None) -> np.ndarray | None:
        """Logits of the scores at the scoring size, float64 where they are resized; None where there are none.

        The sigmoid and its complement are resized, so that these are the logits of the resized scores. Where one of the
        two is 0 in float64, beyond ±745, the logits themselves are. Rounding does not come between them and the scores
        of :meth:`at`: they are above 0 where those are above 0.5.
        """
        shape = self.gt_mask.shape if size is None else (size, size)
        if self.logits is None or self.logits.shape == shape:
            return self.logits
        logits = self.logits.astype(np.float64)
        above, below, resized = (resize_image(part, shape) for part in (expit(logits), expit(-logits), logits))
        with np.errstate(divide='ignore'):
            blended = np.log(above) - np.log(below)
        blended = np.where(np.isfinite(blended), blended, resized)
        is_above = resize_image(self.scores, shape) > 0.5
        return np.where(is_above, np.maximum(blended, np.finfo(np.float32).tiny), np.minimum(blended, 0))


@dataclass(frozen=True)
class ScoreAnalysis:
    """What lies behind the figures of one protocol.

    Attributes:
        protocol: What counts as detected, and the scoring size.
        targets: One row per target.
        detections: One row per detection.
    """

    protocol: Protocol
    targets: list[TargetRow] = field(default_factory=list)
    detections: list[DetectionRow] = field(default_factory=list)

    @property
    def false_alarms(self) -> list[DetectionRow]:
        """Detections that count as false alarms."""
        return [row for row in self.detections if row.is_false]


def _analyse(saved: Case, split: Split, analyses: Iterable[ScoreAnalysis]) -> None:
    """Adds one image.

    Raises:
        UserError: The image itself cannot be read: all but the rows of its targets is added.
    """
    cases: dict[int | None, ImageCase] = {}
    for analysis in analyses:
        size = analysis.protocol.size
        if size not in cases:
            cases[size] = ImageCase(
                saved.at(size)[0], saved.targets_at(size), name=saved.name, logits=saved.logits_at(size)
            )
        analysis.detections.extend(detection_rows(cases[size], analysis.protocol))
    frame = to_unit(split.read_image(saved.name))
    images = {size: resize_image(frame, case.scores.shape) for size, case in cases.items()}
    for analysis in analyses:
        size = analysis.protocol.size
        analysis.targets.extend(target_rows(cases[size], images[size], analysis.protocol))


@dataclass(frozen=True)
class ChosenPoint:
    """A threshold chosen on one folder and applied to another; both None where the budget is not reached.

    Attributes:
        budget: What it was chosen for.
        validation: What it gives where it was chosen.
        test: What it gives on the images that are scored.
        is_raised: It lies below what is kept of their curve, and ``test`` is of the lowest that is.
    """

    budget: Budget
    validation: OperatingPoint | None
    test: OperatingPoint | None
    is_raised: bool = False


EIGHT_BITS = (
    'The maps have 8 bits (levels k/255): AUC, pAUC and Pd at a Fa cannot be computed from them, nor curves drawn; '
    'score mat/NAME.mat.'
)


@dataclass(frozen=True)
class Score:
    """Figures of one results folder.

    Attributes:
        folder: The results folder.
        split: The images.
        protocols: What was scored; ``size`` is the scoring size.
        figures: By the name of the protocol. AUC, ``drpca.evaluation.curves.CURVE_FIGURES`` and
            ``drpca.evaluation.functional.ROC_3D`` are the same for all of one size.
        records: Counts of each image by the name of the protocol.
        analyses: By the name of the protocol, if asked for.
        threshold_from: The folder and the split on which the thresholds were chosen, if they were.
        curves: By the scoring size; none of 8-bit maps.
        chosen: Thresholds that false-alarm budgets led to, by the scoring size.
        notes: Why figures are undefined, a line each.
        failed: Name → line, of images that cannot be read. Their maps and masks are in the figures all the same; rows
            of their targets and pictures of them are missing.
    """

    folder: ResultsFolder
    split: Split
    protocols: list[Protocol]
    figures: FiguresByProtocol
    records: dict[str, list[ImageRecord]]
    analyses: dict[str, ScoreAnalysis] = field(default_factory=dict)
    threshold_from: tuple[ResultsFolder, Split] | None = None
    failed: dict[str, str] = field(default_factory=dict)
    curves: dict[int | None, Curve] = field(default_factory=dict)
    chosen: dict[int | None, list[ChosenPoint]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def analysis(self) -> ScoreAnalysis | None:
        """Of the first protocol, if asked for."""
        return next(iter(self.analyses.values()), None)


def score(
    results: str | Path | Sequence[str | Path] | None = None,
    *,
    protocols: str | Sequence[str | dict[str, Any] | Protocol] = DEFAULT_PROTOCOLS,
    size: int | Literal['native'] | None = None,
    dataset: str | None = None,
    split: str | None = None,
    data_root: str | Path | None = None,
    threshold_from: str | Path | None = None,
    at_fa: float | None = None,
    at_alarms: str | None = None,
    allow_partial: bool = False,
    analyse: bool = False,
    report: Callable[[Score], None] | None = None,
    masks: str | Path | None = None,
    left_out: Callable[[str], object] | None = None,
    progress: bool = False,
) -> list[Score]:
    """Scores saved maps against the masks of a data set: ``cal_from_mask.py`` as a function.

    Args:
        results: Results folders (``mat/NAME.mat`` with key ``T``, or ``img/NAME.png``); default: every folder
            under ``results/``.
        protocols: Presets, dicts that change one, protocols, or config files with a list of them, see
            :func:`drpca.evaluation.protocols.choose_protocols`.
        size: Scoring size in pixels, 'native' for that of each mask; default: the one customary for each protocol.
        dataset: Data set of the masks; default as ``run.json`` says, else the folder's name.
        split: Its split; default as ``run.json`` says, else 'test'.
        data_root: Folder of the data sets; default ``DRPCA_DATA``, else ``./datasets``.
        threshold_from: Results folder of a validation split: score at the threshold with the highest pixel F1 on it,
            or, with a budget, add to ``score.chosen`` what the threshold gives that the budget leads to there.
        at_fa: Budget of false-alarm pixels / pixels, ``1e-5``.
        at_alarms: Budget of false alarms, ``'0.1/image'`` or ``'2/Mpx'``.
        allow_partial: Score the images that folder and split have in common.
        analyse: Also collect a row per target and a row per detection, under each protocol.
        report: Called with each score as soon as it is there.
        masks: Folder of masks, in any layout, or of labelled sequences, in place of a data set. A picture that is no
            mask (:func:`drpca.datasets.io.is_mask`) is refused; of a mask of other proportions than its map a warning
            tells.
        left_out: Called with a line for each of several folders under ``results/`` that cannot be scored; None: the
            first such folder ends it all.
        progress: Say on standard error how far it is.

    Returns:
        One :class:`Score` per folder; ``score.figures['basicirstd']['IoU']`` is a plain ratio.

    Raises:
        UserError: No results; unknown protocol; data set, split, maps or masks are not as expected; the threshold
            was chosen on images that are scored.
    """
    if masks is not None and (dataset or split):
        raise UserError('--masks has no splits: leave out --dataset and --split.')
    chosen = choose_protocols(protocols, size)
    budgets = read_budgets(at_fa, at_alarms)
    if budgets and threshold_from is None:
        raise UserError('A false-alarm budget needs --threshold-from, the results folder to choose the threshold on.')
    paths = [results] if isinstance(results, (str, Path)) else results
    folders = find_results() if paths is None else [ResultsFolder(path) for path in paths]
    source = None
    if threshold_from is not None:
        folder = ResultsFolder(threshold_from)
        if budgets:
            chosen_on = _known_split(folder, data_root)
        else:
            chosen, chosen_on = choose_thresholds(folder, chosen, data_root)
        source = folder, chosen_on
    scores = []
    for folder in folders:
        try:
            scored = score_folder(
                folder, chosen, dataset, split, data_root, allow_partial, analyse, source, masks, progress
            )
            scores.append(apply_budgets(scored, budgets) if budgets else scored)
        except UserError as error:
            if left_out is None or paths is not None or len(folders) == 1:
                raise
            left_out(f'{folder.path} is left out: {error}')
            continue
        if report is not None:
            report(scores[-1])
    if not scores:
        raise UserError(f'None of the {len(folders)} folders under results can be scored.')
    return scores


def score_folder(
    folder: ResultsFolder,
    protocols: Sequence[Protocol],
    dataset: str | None = None,
    split: str | None = None,
    data_root: str | Path | None = None,
    allow_partial: bool = False,
    analyse: bool = False,
    threshold_from: tuple[ResultsFolder, Split] | None = None,
    masks: str | Path | None = None,
    progress: bool = False,
) -> Score:
    """Scores one results folder, each protocol at its own ``size``.

    Args and errors as :func:`score`; ``threshold_from`` is the folder and the split on which the thresholds of the
    protocols were chosen.
    """
    if masks is None:
        images = _split_of(folder, dataset, split, data_root)
    else:
        frames = labelled_frames(masks, folder.names)
        if frames is None and analyse:
            raise UserError(
                f'--masks {masks} holds no labelled sequences, and masks alone have no images: leave out --report and '
                '--targets-csv.'
            )
        images = open_masks(masks, folder.names) if frames is None else frames
    names = common_names(folder, images, allow_partial, _DATASET if masks is None else _MASKS)
    if threshold_from is not None:
        _refuse_same_images(threshold_from[1], images)
    analyses = {protocol.name: ScoreAnalysis(protocol) for protocol in protocols if analyse}

    told = False

    def cases() -> Iterator[Case]:
        read = iterate_cases(folder, images, allow_partial, failed)
        for case in watched(read, len(names), 'image') if progress else read:
            nonlocal told
            if masks is not None and not told and not _is_of(case, folder):
                told = True
                warn(
                    f'{images.mask_path(case.name)} is {F.shape_text(case.gt_mask.shape)}, its map '
                    f'{F.shape_text(case.scores.shape)}: maps are scaled to their masks, and both to the size of a '
                    'preset, which is right only if map and mask show the same part of the scene.'
                )
            yield case
            if analyses:
                try:
                    _analyse(case, images, analyses.values())
                except UserError as error:
                    failed[case.name] = str(error)

    failed: dict[str, str] = {}
    curves = _Curves(protocols, 'logit' if folder.has_logits(names) else 'score', folder.kind == 'img')
    figures, records = _score(curves.watch(cases()), protocols)
    return Score(
        folder, images, list(protocols), curves.complete(figures, protocols), records, analyses, threshold_from, failed,
        curves.curves, notes=folder.notes + curves.notes() + images.notes,
    )  # fmt: skip


_SOME_LEVELS = 4
"""Levels k/255 between 0 and 1, and no other value, that are no accident."""


class _Curves:
    """What of the figures depends on the scoring size alone, collected while the images pass.

    Args:
        protocols: Their sizes count.
        scale: Of the thresholds.
        has_eight_bits: Known to be so; else it is found out.
    """

    def __init__(self, protocols: Sequence[Protocol], scale: Scale, has_eight_bits: bool = False) -> None:
        sizes = dict.fromkeys(protocol.size for protocol in protocols)
        self._sums = {size: CurveSum(scale) for size in sizes}
        self._roc_3d = {size: F.Roc3dCounts.zero() for size in sizes}
        self._are_pictures, self._are_levels = has_eight_bits, True
        self._levels: set[int] = set()

    @property
    def has_eight_bits(self) -> bool:
        """The maps are pictures, or all values in them are k/255, with some between 0 and 1."""
        return self._are_pictures or (self._are_levels and len(self._levels) >= _SOME_LEVELS)

    def watch(self, cases: Iterable[Case]) -> Iterator[Case]:
        """The same images; counts each. Threads count all thresholds of some while the caller goes on with others."""
        workers = min(8, os.cpu_count() or 1)
        waiting: deque[dict[int | None, Future[ImageCurve]]] = deque()
        with ThreadPoolExecutor(workers) as pool:
            for case in cases:
                self._look_for_levels(case)
                waiting.append(self._start(case, pool))
                if len(waiting) > 2 * workers:
                    self._finish(waiting.popleft())
                yield case
            while waiting:
                self._finish(waiting.popleft())

    def _look_for_levels(self, case: Case) -> None:
        levels = np.round(255 * case.scores)
        self._are_levels &= case.logits is None and bool((np.abs(levels / 255 - case.scores) < 1e-6).all())
        if self._are_levels:
            self._levels |= set(np.unique(levels).tolist()) - {0, 255}

    def _start(self, case: Case, pool: ThreadPoolExecutor) -> dict[int | None, Future[ImageCurve]]:
        """Begins to count an image at each size; two sizes that are one for this image are counted once."""
        roc_3d: dict[tuple[int, ...], F.Roc3dCounts] = {}
        futures: dict[tuple[int, ...], Future[ImageCurve]] = {}
        of_size: dict[int | None, Future[ImageCurve]] = {}
        for size, total in self._sums.items():
            shape = case.gt_mask.shape if size is None else (size, size)
            if shape not in roc_3d:
                scores, _ = case.at(size)
                targets = F.connected_components(case.targets_at(size))
                roc_3d[shape] = F.roc_3d_counts(scores, targets)
                if not self._are_pictures:
                    logits = case.logits_at(size) if total.scale == 'logit' else None
                    values = scores if logits is None else logits
                    futures[shape] = pool.submit(image_curve, values, targets, total.scale, total.distance)
            self._roc_3d[size] += roc_3d[shape]
            if shape in futures:
                of_size[size] = futures[shape]
        return of_size

    def _finish(self, counted: dict[int | None, Future[ImageCurve]]) -> None:
        for size, future in counted.items():
            self._sums[size].add(future.result())

    @cached_property
    def curves(self) -> dict[int | None, Curve]:
        """By the scoring size, of all images that have passed; none of 8-bit maps."""
        return {} if self.has_eight_bits else {size: total.curve() for size, total in self._sums.items()}

    def notes(self) -> tuple[str, ...]:
        """Why figures are undefined although there are targets, a line each."""
        if self.has_eight_bits:
            return (EIGHT_BITS,)
        missed = {
            _size_text(size): [f'{fa:g}' for fa in FA_BUDGETS if math.isnan(curve.pd_at(fa))]
            for size, curve in self.curves.items()
            if curve.targets
        }
        parts = [f'{", ".join(budgets)} at size {size}' for size, budgets in missed.items() if budgets]
        return (f'Wherever anything is predicted, Fa is above {"; ".join(parts)}.',) if parts else ()

    def complete(self, figures: FiguresByProtocol, protocols: Sequence[Protocol]) -> FiguresByProtocol:
        """Figures with those of the curves and of the 3D-ROC; undefined of 8-bit maps, as AUC then is."""
        curves, undefined = self.curves, {'AUC': math.nan, **dict.fromkeys(CURVE_FIGURES, math.nan)}
        return {
            protocol.name: figures[protocol.name]
            | (curves[protocol.size].figures() if curves else undefined)
            | F.roc_3d_figures(self._roc_3d[protocol.size])
            for protocol in protocols
        }


def _size_text(size: int | None) -> str:
    return 'native' if size is None else F.shape_text((size, size))


def read_budgets(at_fa: float | None = None, at_alarms: str | None = None) -> list[Budget]:
    """Budgets as the options give them, see :func:`score`.

    Raises:
        UserError: A negative amount, or ``at_alarms`` of another form.
    """
    budgets = [] if at_fa is None else [Budget(at_fa)]
    if at_alarms is not None:
        amount, _, unit = at_alarms.partition('/')
        units: dict[str, Literal['image', 'megapixel']] = {'image': 'image', 'mpx': 'megapixel'}
        try:
            budgets.append(Budget(float(amount), units[unit.lower()]))
        except (ValueError, KeyError):
            raise UserError(f'Expected false alarms as 0.1/image or 2/Mpx, got {at_alarms!r}.') from None
    return budgets


def apply_budgets(scored: Score, budgets: Sequence[Budget]) -> Score:
    """Chooses thresholds on the folder ``scored.threshold_from``, each size's own, and says what they give here.

    Raises:
        UserError: As :func:`score_folder`; the maps of one of the two have 8 bits.
    """
    assert scored.threshold_from is not None
    folder, split = scored.threshold_from
    scale: Scale = 'logit' if folder.has_logits(common_names(folder, split)) else 'score'
    validation = _Curves(scored.protocols, scale, folder.kind == 'img')
    for _ in validation.watch(iterate_cases(folder, split)):
        pass
    curves = validation.curves
    for where, found in ((folder, curves), (scored.folder, scored.curves)):
        if not found:
            raise UserError(f'{where.path}: cannot choose a threshold for a budget by it. {EIGHT_BITS}')
    chosen = {size: [_choose(budget, curves[size], scored.curves[size]) for budget in budgets] for size in curves}
    notes = [
        f'{point.budget.text}, {_size_text(size)}: the curve here is kept above the threshold alone; its figures here '
        f'are those of {scored.curves[size].scale} {scored.curves[size].lowest:.4g}.'
        for size, points in chosen.items()
        for point in points
        if point.is_raised
    ]
    return dataclasses.replace(scored, chosen=chosen, notes=(*scored.notes, *notes))


def _choose(budget: Budget, validation: Curve, test: Curve) -> ChosenPoint:
    threshold = validation.threshold_for(budget)
    if threshold is None:
        return ChosenPoint(budget, None, None)
    point = validation.at(threshold)
    asked = point.logit if test.scale == 'logit' else point.score
    return ChosenPoint(budget, point, test.at(max(asked, test.lowest)), asked < test.lowest)


def score_split(
    mapper: ScoreMapper,
    split: Split,
    names: Sequence[str],
    protocols: Sequence[Protocol],
    change: Callable[[np.ndarray, str], Levelled] | None = None,
) -> FiguresByProtocol:
    """Scores a detector on images of a split, each protocol at its own size, without saving maps.

    The figures are those of ``inference.py`` followed by ``cal_from_mask.py``.

    Args:
        mapper: The detector.
        split: The images.
        names: Which of them.
        protocols: What to score.
        change: Called with each frame, as read from its file, and its name; returns what the detector sees.

    Raises:
        UserError: An image or a mask is unreadable.
    """

    def frames() -> Iterator[tuple[str, np.ndarray | Levelled]]:
        for name in names:
            frame = split.read_image(name, mapper.grey)
            yield name, frame if change is None else change(frame, name)

    cases = (Case(name, scores, split.read_mask(name)) for name, scores in mapper.score_maps(frames()))
    return _score(cases, protocols)[0]


def _score(
    cases: Iterable[Case], protocols: Sequence[Protocol]
) -> tuple[FiguresByProtocol, dict[str, list[ImageRecord]]]:
    """Figures, and counts of each image, by the name of the protocol; each protocol at its own size."""
    sizes = dict.fromkeys(protocol.size for protocol in protocols)
    evaluators = {size: Evaluator([p for p in protocols if p.size == size]) for size in sizes}
    for case in cases:
        for size, evaluator in evaluators.items():
            evaluator.update(case.at(size)[0], case.targets_at(size), name=case.name)
    figures = {size: evaluator.compute() for size, evaluator in evaluators.items()}
    return (
        {p.name: figures[p.size][p.name] for p in protocols},
        {p.name: evaluators[p.size].records for p in protocols},
    )


def _is_of(case: Case, folder: ResultsFolder) -> bool:
    """Whether a map has the proportions of its mask, or the size that the run gave to frames of that size."""
    (height, width), (rows, columns) = case.gt_mask.shape, case.scores.shape
    sizes = [(size['frame'], size['map']) for size in folder.run.get('sizes', [])]
    return height * columns == width * rows or (case.gt_mask.shape, case.scores.shape) in sizes


def _refuse_same_images(chosen_on: Split, scored: Split) -> None:
    """Refuses to score images on which the threshold was chosen.

    Raises:
        UserError: The two splits of one data set, or of SIRST V1 and V2, share images.
    """
    shared = set(chosen_on.names) & set(scored.names)
    alike = chosen_on.dataset == scored.dataset or {chosen_on.dataset, scored.dataset} <= set(SIRST_FAMILY)
    if alike and shared:
        raise UserError(
            f'The threshold was chosen on {chosen_on.dataset} {chosen_on.split}, which shares {len(shared)} '
            f'images with {scored.split}; choose it on a validation split.'
        )


def _split_of(folder: ResultsFolder, dataset: str | None, split: str | None, data_root: str | Path | None) -> Split:
    """The images that the maps of a folder are of, as named or as its run says; frames of a detector of windows."""
    name, part = dataset or folder.dataset, split or folder.split
    if folder.run.get('window', 1) > 1:
        return open_frames(name, part, data_root, folder.run.get('synthetic'))
    return open_split(name, part, data_root)


def _known_split(folder: ResultsFolder, data_root: str | Path | None) -> Split:
    """The split on which a threshold is chosen."""
    try:
        return _split_of(folder, None, None, data_root)
    except UserError as error:
        raise UserError(f'--threshold-from {folder.path}: expected maps of a data set that is here. {error}') from None


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
    split = _known_split(folder, data_root)
    chosen: dict[tuple[str, int | None], float] = {}
    for protocol in protocols:
        key = (protocol.binarisation, protocol.size)
        if key not in chosen:
            pairs = (case.at(protocol.size) for case in iterate_cases(folder, split))
            chosen[key] = select_threshold(pairs, normalise=protocol.binarisation == 'max')
    changed = [dataclasses.replace(p, threshold=chosen[p.binarisation, p.size]) for p in protocols]
    return changed, split


_DATASET = 'Name the right --dataset and --split'
_MASKS = 'Give with --masks the folder that the maps are of'


def common_names(folder: ResultsFolder, split: Split, allow_partial: bool = False, advice: str = _DATASET) -> list[str]:
    """Names to score: those of the split, in its order; ``advice`` is for the message.

    Raises:
        UserError: The folder lacks maps of the split or holds others. With ``allow_partial`` only if no name
            is in both.
    """
    have = set(folder.names)
    names = [name for name in split.names if name in have]
    missing = [name for name in split.names if name not in have]
    extra = sorted(have - set(split.names))
    if not names or ((missing or extra) and not allow_partial):
        parts = [
            f'{counted(len(listed), "map")} {what} ({", ".join(listed[:3])}{", …" if len(listed) > 3 else ""})'
            for what, listed in (('missing', missing), ('not in the split', extra))
            if listed
        ]
        advice += ', or use --allow-partial.' if names else '.'
        raise UserError(f'{folder.path} against {split.dataset} {split.split}: {" and ".join(parts)}. {advice}')
    return names


def iterate_cases(
    folder: ResultsFolder, split: Split, allow_partial: bool = False, failed: dict[str, str] | None = None
) -> Iterator[Case]:
    """Reads map after map with its mask.

    Raises:
        UserError: As :func:`common_names` and :meth:`ResultsFolder.read`; a mask is unreadable; or the maps
            are of mixed sizes, neither all of their images' own sizes nor all of one size.
    """
    own: Case | None = None  # a map of its image's size; beside it, the first of a size of its own
    common: Case | None = None
    for name in common_names(folder, split, allow_partial):
        scores, logits = folder.read_maps(name)
        numbers = split.read_numbers(name)
        gt_mask = split.read_mask(name) if numbers is None else numbers > 0
        case = Case(name, scores, gt_mask, logits, numbers)
        shape = case.scores.shape
        try:
            is_own = shape == case.gt_mask.shape or shape == image_shape(split.image_path(name))
        except UserError as error:  # map and mask are whole and can be scored
            if failed is not None:
                failed[name] = str(error)
            yield case
            continue
        own, common = (case, common) if is_own else (own, common or case)
        for other in (common, common and own):
            if other is not None and other.scores.shape != shape:
                raise UserError(
                    f'{folder.path}: mixed sizes, {folder.map_path(name).name} is {F.shape_text(shape)} and '
                    f'{folder.map_path(other.name).name} {F.shape_text(other.scores.shape)}; expected all maps at '
                    f'the size of their images or all at one size. Make the folder again with {called("infer")}.'
                )
        yield case
