"""Curves over fixed thresholds: Pd against Fa (free response), precision against recall, choice of a
threshold.

At each threshold the counts are those of the preset ``basicirstd``: components of scores > threshold, matched
to the targets by centroid, false alarms are the area of unmatched components over all pixels, images without
targets count. All thresholds come from one pass over an image, by the tree of its components. (The published
ROC, which normalises each map by its maximum, is in :mod:`drpca.evaluation.functional`.)

Pd need not fall with the threshold: a higher one can split a component so that a centroid comes near a
target.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields

import numpy as np

from drpca.errors import UserError
from drpca.evaluation.component_tree import ComponentTree, build_component_tree
from drpca.evaluation.functional import (
    Components,
    check_pair,
    connected_components,
    count_from_level,
    divide,
    normalise_by_maximum,
    quantise,
)

THRESHOLDS = np.arange(200) / 200
"""Default thresholds: 0, 0.005, … 0.995."""


@dataclass(frozen=True)
class CurveCounts:
    """What one image, or the sum over several, adds to the curves. K thresholds.

    Attributes:
        thresholds: (K,) float, ascending.
        predicted: (K,) int, pixels above each threshold.
        tp: (K,) int, target pixels among them.
        hits: (K,) int, detected targets.
        false_pixels: (K,) int, area of unmatched components.
        target_pixels: Target pixels.
        targets: Number of targets.
        pixels: Number of pixels.
        images: Number of images.
    """

    thresholds: np.ndarray
    predicted: np.ndarray
    tp: np.ndarray
    hits: np.ndarray
    false_pixels: np.ndarray
    target_pixels: int
    targets: int
    pixels: int
    images: int = 1

    @classmethod
    def zero(cls, thresholds: np.ndarray = THRESHOLDS) -> CurveCounts:
        """The counts of no image."""
        nothing = np.zeros(len(thresholds), dtype=np.int64)
        return cls(thresholds, nothing, nothing, nothing, nothing, 0, 0, 0, 0)

    def __add__(self, other: CurveCounts) -> CurveCounts:
        if not np.array_equal(self.thresholds, other.thresholds):
            raise UserError('Cannot add curves over different thresholds.')
        sums = {f.name: getattr(self, f.name) + getattr(other, f.name) for f in fields(self)[1:]}
        return CurveCounts(self.thresholds, **sums)

    @property
    def fa(self) -> np.ndarray:
        """(K,) false-alarm pixels / all pixels; NaN without images."""
        return divide(self.false_pixels, self.pixels)

    @property
    def pd(self) -> np.ndarray:
        """(K,) detected / all targets; NaN without targets."""
        return divide(self.hits, self.targets)

    @property
    def precision(self) -> np.ndarray:
        """(K,) share of the predicted pixels that are target; NaN where nothing is predicted."""
        return divide(self.tp, self.predicted)

    @property
    def recall(self) -> np.ndarray:
        """(K,) share of the target pixels that are predicted; NaN without targets."""
        return divide(self.tp, self.target_pixels)

    @property
    def f1(self) -> np.ndarray:
        """(K,) pixel F1; NaN where there is neither target nor prediction."""
        return divide(2 * self.tp, self.predicted + self.target_pixels)

    @property
    def iou(self) -> np.ndarray:
        """(K,) pooled IoU; NaN where there is neither target nor prediction."""
        return divide(self.tp, self.predicted + self.target_pixels - self.tp)

    def average_precision(self) -> float:
        """Sum of precision times gain in recall, from the highest threshold down; NaN without targets."""
        gain = -np.diff(self.recall, append=0.0)
        return float(np.sum(np.where(gain == 0, 0.0, gain * np.nan_to_num(self.precision))))

    def pd_at(self, fa: float) -> float:
        """Highest Pd of the thresholds whose Fa is at most ``fa``: 0 without any, NaN without targets."""
        if self.targets == 0:
            return float('nan')
        return float(np.max(self.pd, where=self.fa <= fa, initial=0.0))

    def best_f1(self) -> tuple[float, float]:
        """Threshold with the highest pixel F1, and that F1; the middle one of equals.

        Choose it on a validation split: taken from the images that are scored, it flatters.

        Raises:
            UserError: No target pixel, so that no threshold is better than another.
        """
        if self.target_pixels == 0:
            raise UserError('Cannot choose a threshold: the images hold no target.')
        best = np.flatnonzero(self.f1 == np.nanmax(self.f1))
        chosen = best[len(best) // 2]
        return float(self.thresholds[chosen]), float(self.f1[chosen])


def curve_counts(
    scores: np.ndarray, targets: Components, thresholds: np.ndarray = THRESHOLDS, distance: float = 3.0
) -> CurveCounts:
    """Counts of one image at all thresholds.

    Args:
        scores: (H, W) in [0, 1].
        targets: Components of the mask.
        thresholds: (K,) ascending; compared by >.
        distance: Of centroids, in pixels.
    """
    count = len(thresholds)
    levels = quantise(scores, thresholds, strict=True)
    tree = build_component_tree(levels)
    predicted = count_from_level(levels, count)
    partners = _match_all(tree, targets, count, distance)
    matched = np.where(partners >= 0, np.append(tree.area, 0)[partners], 0).sum(axis=0)
    return CurveCounts(
        thresholds, predicted, count_from_level(levels[targets.mask], count),
        np.count_nonzero(partners >= 0, axis=0), predicted - matched, int(targets.areas.sum()), len(targets),
        levels.size,
    )  # fmt: skip


def _match_all(tree: ComponentTree, targets: Components, count: int, distance: float) -> np.ndarray:
    """(n targets, count) int: the node that each target takes at each threshold, −1 for none.

    As :func:`drpca.evaluation.functional.match_centroid`: of the near components that no earlier target took,
    the one first in scan order. A node of level l with a parent of level p is a component at thresholds p … l
    − 1.
    """
    partners = np.full((len(targets), count), -1)
    near = [_near(tree, centroid, distance) for centroid in targets.centroids]
    nodes, uses = np.unique(np.concatenate([*near, np.zeros(0, dtype=np.intp)]), return_counts=True)
    contested = set(nodes[uses > 1].tolist())
    start, stop = tree.parent_level, tree.level
    for index, candidates in enumerate(near):
        mine = partners[index]
        for node in candidates[np.argsort(-tree.first[candidates], kind='stable')].tolist():
            span = slice(start[node], stop[node])
            if node in contested:
                free = ~(partners[:index, span] == node).any(axis=0)
                mine[span][free] = node
            else:
                mine[span] = node
    return partners


def _near(tree: ComponentTree, centroid: np.ndarray, distance: float) -> np.ndarray:
    """Nodes whose centroid is nearer than ``distance``."""
    candidates = np.flatnonzero(np.abs(tree.centroid[:, 0] - centroid[0]) < distance)
    offsets = tree.centroid[candidates] - centroid
    return candidates[np.linalg.norm(offsets, axis=1) < distance]


def sweep(
    images: Iterable[tuple[np.ndarray, np.ndarray]], thresholds: np.ndarray = THRESHOLDS, normalise: bool = False
) -> CurveCounts:
    """Counts of a set of images at all thresholds.

    Args:
        images: Score maps (H, W) in [0, 1] with their masks (H, W).
        thresholds: (K,) ascending.
        normalise: Divide each map by its own maximum first.

    Raises:
        UserError: As :func:`drpca.evaluation.functional.check_pair`.
    """
    total = CurveCounts.zero(thresholds)
    for index, pair in enumerate(images):
        scores, gt_mask = check_pair(*pair, name=f'image {index}')
        scores = normalise_by_maximum(scores) if normalise else scores
        total += curve_counts(scores, connected_components(gt_mask), thresholds)
    return total


def select_threshold(
    images: Iterable[tuple[np.ndarray, np.ndarray]], thresholds: np.ndarray = THRESHOLDS, normalise: bool = False
) -> float:
    """Threshold with the highest pixel F1 over a set of images, which should be a validation split.

    Args and errors as :func:`sweep`; a set without targets is refused.
    """
    return sweep(images, thresholds, normalise).best_f1()[0]
