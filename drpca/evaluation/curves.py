"""Operating curves: what every threshold would give. Pd against Fa (free response), precision against recall, choice
of a threshold by F1 or by a false-alarm budget.

At each threshold the counts are those of the preset ``basicirstd``: components of values > threshold, matched to the
targets by centroid, false alarms are unmatched components, their area over all pixels is Fa, images without targets
count. All thresholds of an image come from one pass, by the tree of its components. What changes the counts is kept
exactly, at the value that changes it: there is no grid of thresholds. Values are logits where there are any, since
float32 scores of confident networks are 0 or 1 almost everywhere; the order is the same.

Pd need not fall with the threshold: a higher one can split a component so that a centroid comes near a target.

(The published ROC, which normalises each map by its maximum, is in :mod:`drpca.evaluation.functional`.)
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, NamedTuple

import numpy as np
from scipy.special import expit, logit
from skimage.morphology import max_tree

from drpca.errors import UserError
from drpca.evaluation.functional import Components, check_pair, connected_components, divide, normalise_by_maximum

Scale = Literal['logit', 'score']
"""What thresholds are compared with."""
FA_BUDGETS = (1e-6, 1e-5, 1e-4)
"""False-alarm pixels / pixels at which Pd is given."""
PARTIAL_FA = 1e-4
"""Upper end of the partial AUC."""
KEPT = 2**23
"""Pixel values that a curve keeps, the highest of all images: 34 MB. What lies below them is left out of it."""

_LOWEST = {'logit': -math.inf, 'score': 0.0}


@dataclass(frozen=True)
class Budget:
    """How many false alarms are allowed.

    Attributes:
        amount: At most so many, at least 0.
        per: 'pixel': false-alarm pixels / pixels (Fa). 'image', 'megapixel': false-alarm components per image, per 10⁶
            pixels.

    Raises:
        UserError: A negative amount.
    """

    amount: float
    per: Literal['pixel', 'image', 'megapixel'] = 'pixel'

    def __post_init__(self) -> None:
        if not 0 <= self.amount < math.inf:
            raise UserError(f'Expected a false-alarm budget of at least 0, got {self.amount}.')
        if self.per == 'pixel' and self.amount > 1:
            raise UserError(f'Expected false-alarm pixels / pixels, such as 1e-5, got {self.amount}.')

    @property
    def text(self) -> str:
        """In words: 'Fa ≤ 1e-05', '≤ 0.1 false alarms per image'."""
        if self.per == 'pixel':
            return f'Fa ≤ {self.amount:g}'
        return f'≤ {self.amount:g} false alarms per {self.per}'


@dataclass(frozen=True)
class OperatingPoint:
    """What one threshold gives; NaN as in :class:`Curve`.

    Attributes:
        score: The threshold as a score in [0, 1].
        logit: The threshold as a logit; infinite at the scores 0 and 1.
        pd: Detected / all targets.
        fa: False-alarm pixels / pixels.
        alarms_per_image: False-alarm components per image.
        alarms_per_megapixel: The same per 10⁶ pixels.
        precision: Of the pixels.
        recall: Of the pixels.
        f1: Of the pixels.
        iou: Of the pixels, pooled.
    """

    score: float
    logit: float
    pd: float
    fa: float
    alarms_per_image: float
    alarms_per_megapixel: float
    precision: float
    recall: float
    f1: float
    iou: float


@dataclass(frozen=True)
class Curve:
    """Counts at E falling values: of the pixels with at least that value, that is at thresholds just below it.

    From one value to the next nothing changes but the number of false pixels and components. The first value is the
    highest of all.

    Attributes:
        scale: What the values are.
        values: (E,) float32, falling.
        hits: (E,) int, detected targets.
        tp: (E,) int, target pixels among those predicted.
        matched: (E,) int, area of the components matched to a target.
        pixel_values: (P,) float32, rising: the values of all pixels above ``lowest``.
        peaks: (…,) float32, rising: values at which a component appears.
        merges: (…,) float32, rising: values at which two components become one.
        target_pixels: Target pixels.
        targets: Number of targets.
        pixels: Number of pixels.
        images: Number of images.
        lowest: Thresholds from here up are covered.
    """

    scale: Scale
    values: np.ndarray
    hits: np.ndarray
    tp: np.ndarray
    matched: np.ndarray
    pixel_values: np.ndarray
    peaks: np.ndarray
    merges: np.ndarray
    target_pixels: int
    targets: int
    pixels: int
    images: int
    lowest: float

    @cached_property
    def predicted(self) -> np.ndarray:
        """(E,) pixels predicted."""
        return _reaching(self.pixel_values, self.values)

    @cached_property
    def alarms(self) -> np.ndarray:
        """(E,) components that are matched to no target."""
        return _reaching(self.peaks, self.values) - _reaching(self.merges, self.values) - self.hits

    @property
    def fa(self) -> np.ndarray:
        """(E,) false-alarm pixels / all pixels."""
        return divide(self.predicted - self.matched, self.pixels)

    @property
    def pd(self) -> np.ndarray:
        """(E,) detected / all targets; NaN without targets."""
        return divide(self.hits, self.targets)

    @property
    def precision(self) -> np.ndarray:
        """(E,) share of the predicted pixels that are target."""
        return divide(self.tp, self.predicted)

    @property
    def recall(self) -> np.ndarray:
        """(E,) share of the target pixels that are predicted; NaN without targets."""
        return divide(self.tp, self.target_pixels)

    @property
    def f1(self) -> np.ndarray:
        """(E,) pixel F1."""
        return divide(2 * self.tp, self.predicted + self.target_pixels)

    @cached_property
    def thresholds(self) -> np.ndarray:
        """(E,) float64: midway between each value and the next lower one of any pixel."""
        distinct = np.unique(self.pixel_values)
        below = np.searchsorted(distinct, self.values) - 1
        lower = np.where(below >= 0, distinct[below] if distinct.size else 0, self.lowest)
        return np.array([_between(low, high) for low, high in zip(lower.tolist(), self.values.tolist())])

    def scores(self, thresholds: np.ndarray) -> np.ndarray:
        """Thresholds of this curve as scores in [0, 1]."""
        return expit(thresholds) if self.scale == 'logit' else np.asarray(thresholds)

    def at(self, threshold: float) -> OperatingPoint:
        """What values > ``threshold`` give.

        Args:
            threshold: On the scale of the curve; rounded to float32, as the values are.

        Raises:
            UserError: It is below ``lowest``, where nothing is known.
        """
        if not threshold >= self.lowest:
            raise UserError(f'Expected a threshold of at least {self.lowest:g} ({self.scale}), got {threshold:g}.')
        compared = np.float32(threshold)
        index = int(np.count_nonzero(self.values > compared)) - 1
        hits, tp, matched = (int(counts[index]) if index >= 0 else 0 for counts in (self.hits, self.tp, self.matched))
        predicted, peaks, merges = (
            len(rising) - int(np.searchsorted(rising, compared, 'right'))
            for rising in (self.pixel_values, self.peaks, self.merges)
        )
        alarms = peaks - merges - hits
        score = float(self.scores(np.array(threshold)))
        return OperatingPoint(
            score,
            float(threshold if self.scale == 'logit' else logit(score)),
            *(
                float(divide(np.array(part), whole))
                for part, whole in (
                    (hits, self.targets),
                    (predicted - matched, self.pixels),
                    (alarms, self.images),
                    (1e6 * alarms, self.pixels),
                    (tp, predicted),
                    (tp, self.target_pixels),
                    (2 * tp, predicted + self.target_pixels),
                    (tp, predicted + self.target_pixels - tp),
                )
            ),
        )

    def best(self) -> np.ndarray:
        """(B,) indices of the points that no other one has both a lower Fa and a higher Pd than, by rising Fa.

        They are the corners of the steps that say which Pd can be had within a Fa.
        """
        order = np.lexsort((-self.hits, self.predicted - self.matched))
        highest = np.maximum.accumulate(self.hits[order])
        return order[np.diff(highest, prepend=-1) > 0]

    def pd_at(self, fa: float) -> float:
        """Highest Pd of the thresholds whose Fa is at most ``fa``.

        Returns:
            NaN without targets, and where it is not reached: wherever anything is predicted, Fa is above.
        """
        best = self.best()
        within = best[self.fa[best] <= fa]
        return float(self.pd[within[-1]]) if within.size else math.nan

    def partial_auc(self, fa: float = PARTIAL_FA) -> float:
        """Mean over Fa from 0 to ``fa`` of the highest Pd that can be had within it.

        ``(1 / fa) ∫₀^fa max{Pd(t) : Fa(t) ≤ x} dx`` of the steps, 0 where no threshold reaches x; NaN without targets,
        and where none reaches ``fa``.
        """
        best = self.best()
        best = best[self.fa[best] <= fa]
        if not best.size or not self.targets:
            return math.nan
        return float(np.sum(self.pd[best] * np.diff(self.fa[best], append=fa)) / fa)

    def average_precision(self) -> float:
        """Sum of precision times gain in recall, from the highest threshold down; NaN without targets."""
        gain = np.diff(self.recall, prepend=0.0)
        return float(np.sum(np.where(gain == 0, 0.0, gain * self.precision))) if self.target_pixels else math.nan

    def best_f1(self) -> tuple[float, float]:
        """Threshold with the highest pixel F1, and that F1; the highest of equals.

        Choose it on a validation split: taken from the images that are scored, it flatters.

        Raises:
            UserError: No target pixel, so that no threshold is better than another; or nothing is ever predicted.
        """
        if self.target_pixels == 0 or not len(self.values):
            what = 'no target' if self.target_pixels == 0 else 'no score above 0'
            raise UserError(f'Cannot choose a threshold: the images hold {what}.')
        chosen = int(np.argmax(self.f1))
        return float(self.thresholds[chosen]), float(self.f1[chosen])

    def threshold_for(self, budget: Budget, spend: bool = True) -> float | None:
        """The threshold that a false-alarm budget leads to, on the scale of the curve.

        Of the thresholds within the budget those with the highest Pd; from the highest of these down as far as that
        holds, which spends the budget. It lies midway between the values of the pixel that would change it and of the
        next higher one.

        Args:
            budget: What is allowed.
            spend: False: of those with the highest Pd that with the fewest false alarms, of equals the highest; midway
                to the next pixel below.

        Returns:
            None where it is not reached: wherever anything is predicted, there are more false alarms.

        Raises:
            UserError: No targets.
        """
        if not self.targets:
            raise UserError('Cannot choose a threshold: the images hold no target.')
        if budget.per == 'pixel':
            allowed = math.floor(budget.amount * self.pixels * (1 + 1e-12))
            last = allowed + int(self.matched.max(initial=0)) + 1  # so many pixels exceed it for sure
            steps = [self.values, self.pixel_values[-last:]]
        else:
            whole = self.images if budget.per == 'image' else self.pixels / 1e6
            allowed = math.floor(budget.amount * whole * (1 + 1e-12))
            steps = [self.values, self.peaks, self.merges]
        values = np.unique(np.concatenate(steps))[::-1]
        index = np.searchsorted(-self.values, -values, 'right') - 1
        hits = self.hits[index]
        if budget.per == 'pixel':
            false = _reaching(self.pixel_values, values) - self.matched[index]
        else:
            false = _reaching(self.peaks, values) - _reaching(self.merges, values) - hits
        within = false <= allowed
        if not within.any():
            return None
        within &= hits == hits[within].max()
        if not spend:
            high = float(values[np.argmax(within & (false == false[within].min()))])
            place = int(np.searchsorted(self.pixel_values, high, 'left'))
            return _between(float(self.pixel_values[place - 1]) if place else self.lowest, high)
        first = int(np.argmax(within))
        chosen = first + int(np.argmin(np.append(within[first:], False))) - 1
        if chosen + 1 == len(values):
            return _between(self.lowest, float(values[chosen]))
        lower = values[chosen + 1]
        return _between(float(lower), float(self.pixel_values[np.searchsorted(self.pixel_values, lower, 'right')]))

    def figures(self) -> dict[str, float]:
        """``partial_auc`` up to ``PARTIAL_FA``, and ``pd_at_fa_…`` for ``FA_BUDGETS``."""
        return dict(zip(CURVE_FIGURES, [self.partial_auc(), *map(self.pd_at, FA_BUDGETS)]))


CURVE_FIGURES = ('partial_auc', *(f'pd_at_fa_1e{round(math.log10(fa))}' for fa in FA_BUDGETS))
"""Names of the figures that a curve gives."""


def _reaching(rising: np.ndarray, values: np.ndarray) -> np.ndarray:
    """How many of ``rising`` are at least each of ``values``."""
    return len(rising) - np.searchsorted(rising, values, 'left')


def _between(low: float, high: float) -> float:
    """A threshold that ``high`` exceeds and ``low`` does not, also in float32."""
    if math.isinf(low):
        return float(np.float32(high - 1))
    middle = float(np.float32(low + (high - low) / 2))
    return middle if middle < high else low


class ImageCurve(NamedTuple):
    """What one image adds to a :class:`Curve`; arrays as there, in any order.

    Attributes:
        counts: Target pixels, targets, pixels, images (1).
        values: (E,) float32, at which the counts change.
        changes: (E, 3) int, by how much: hits, target pixels, area of matched components.
        pixels: Values of all pixels.
        peaks: Values at which a component appears.
        merges: Values at which two become one.
    """

    counts: tuple[int, int, int, int]
    values: np.ndarray
    changes: np.ndarray
    pixels: np.ndarray
    peaks: np.ndarray
    merges: np.ndarray


def image_curve(values: np.ndarray, targets: Components, scale: Scale = 'score', distance: float = 3.0) -> ImageCurve:
    """Counts of one image at all thresholds; threads may do that for several images, most of it without Python's lock.

    Args:
        values: (H, W) on the scale; float32 is what is compared.
        targets: Components of the mask.
        scale: See :class:`CurveSum`, as of ``distance``.

    Raises:
        UserError: NaN or infinity among the values, or scores outside [0, 1].
    """
    values = np.asarray(values, dtype=np.float32)
    if not np.isfinite(values).all():
        raise UserError(f'Expected finite {scale}s, got NaN or infinity.')
    if scale == 'score':
        check_pair(values, targets.labels)
    counts = int(targets.areas.sum()), len(targets), values.size, 1
    distinct, levels = np.unique(values, return_inverse=True)
    levels = levels.reshape(values.shape) + 1
    if scale == 'score' and distinct[0] <= 0:
        distinct, levels = distinct[1:], levels - 1
    if not distinct.size:
        empty = np.zeros(0, dtype=np.float32)
        return ImageCurve(counts, empty, np.zeros((0, 3), dtype=np.int64), empty, empty, empty)
    tree = build_component_tree(levels)
    changes = np.zeros((len(distinct) + 1, 3), dtype=np.int64)
    changes[:, 1] = np.bincount(levels[targets.mask], minlength=len(distinct) + 1)
    for node, start, stop in _matches(tree, targets, distance):
        changes[stop, (0, 2)] += 1, tree.area[node]
        changes[start, (0, 2)] -= 1, tree.area[node]
    changed = np.flatnonzero(changes[1:].any(axis=1))
    at = distinct[tree.level - 1]
    merges = np.repeat(at, np.maximum(tree.children - 1, 0))
    return ImageCurve(
        counts, distinct[changed], changes[1:][changed], values[levels > 0], at[tree.children == 0], merges
    )


class CurveSum:
    """Adds up images to a :class:`Curve`.

    Args:
        scale: 'score': values in [0, 1], of which 0 exceeds no threshold. 'logit': any finite values.
        distance: Of centroids, in pixels.
        kept: Pixel values to keep; twice as many are held while images are added.
    """

    def __init__(self, scale: Scale = 'score', distance: float = 3.0, kept: int = KEPT) -> None:
        self.scale: Scale = scale
        self.distance, self.kept = distance, kept
        self.lowest = _LOWEST[scale]
        self._counts = np.zeros(4, dtype=np.int64)
        empty = np.zeros(0, dtype=np.float32)
        self._parts: dict[str, list[np.ndarray]] = {name: [empty] for name in ('values', 'pixels', 'peaks', 'merges')}
        self._parts['changes'] = [np.zeros((0, 3), dtype=np.int64)]
        self._held = 0

    def update(self, values: np.ndarray, targets: Components) -> None:
        """Adds one image; see :func:`image_curve`."""
        self.add(image_curve(values, targets, self.scale, self.distance))

    def add(self, image: ImageCurve) -> None:
        """Adds what one image gives, in the order in which images are to be added."""
        self._counts += image.counts
        self._parts['changes'].append(image.changes[image.values > self.lowest])
        for name in ('values', 'pixels', 'peaks', 'merges'):
            part = getattr(image, name)
            self._parts[name].append(part[part > self.lowest])
        self._held += len(self._parts['pixels'][-1])
        if self._held > 2 * self.kept:
            self._compact()

    def merge(self, other: CurveSum) -> CurveSum:
        """Adds the images of another sum on the same scale; returns itself."""
        other._compact()
        self.lowest = max(self.lowest, other.lowest)
        self._counts += other._counts
        for name, parts in other._parts.items():
            self._parts[name] += parts
        self._held += other._held
        self._compact()
        return self

    def _compact(self) -> None:
        joined = {name: np.concatenate(parts) for name, parts in self._parts.items()}
        pixels = joined['pixels']
        if len(pixels) > self.kept:
            place = len(pixels) - self.kept - 1
            self.lowest = float(np.partition(pixels, place)[place])
        joined['changes'] = joined['changes'][joined['values'] > self.lowest]
        for name in ('values', 'pixels', 'peaks', 'merges'):
            joined[name] = joined[name][joined[name] > self.lowest]
        self._parts = {name: [values] for name, values in joined.items()}
        self._held = len(joined['pixels'])

    def curve(self) -> Curve:
        """The curve of all images added."""
        self._compact()
        pixels, peaks, merges = (np.sort(self._parts[name][0]) for name in ('pixels', 'peaks', 'merges'))
        ends = pixels[[-1, 0]] if pixels.size else pixels
        values, place = np.unique(np.concatenate([self._parts['values'][0], ends]), return_inverse=True)
        changes = np.zeros((len(values), 3), dtype=np.int64)
        np.add.at(changes, place[: len(self._parts['values'][0])], self._parts['changes'][0])
        hits, tp, matched = np.cumsum(changes[::-1], axis=0).T
        target_pixels, targets, size, images = self._counts.tolist()
        return Curve(
            self.scale, values[::-1], hits, tp, matched, pixels, peaks, merges, target_pixels, targets, size, images,
            self.lowest,
        )  # fmt: skip


# The tree of components


@dataclass(frozen=True)
class ComponentTree:
    """Tree of the connected components of an image at all thresholds (max-tree): n nodes, parents after children.

    Raising a threshold only splits and shrinks components, so those of all thresholds form a tree: a node is a set of
    pixels that is a component over a range of thresholds, its parent the smallest component that contains it at a
    lower one (Salembier, Oliveras and Garrido, IEEE TIP 1998).

    A node of level l is a component of the pixels at level l and above, down to (without) the level of its
    parent.

    Attributes:
        level: (n,) int, highest level at which the node is a component.
        parent_level: (n,) int, level of its parent; 0 for components that nothing absorbs.
        children: (n,) int, nodes whose parent it is.
        area: (n,) int, pixels.
        centroid: (n, 2) float, mean (row, column).
        first: (n,) int, its first pixel in scan order, as row · W + column.
    """

    level: np.ndarray
    parent_level: np.ndarray
    children: np.ndarray
    area: np.ndarray
    centroid: np.ndarray
    first: np.ndarray

    def __len__(self) -> int:
        return len(self.level)


def build_component_tree(levels: np.ndarray) -> ComponentTree:
    """Builds the tree of 8-connected components.

    Args:
        levels: (H, W) int, at least 0; 0 is never part of a component.
    """
    framed = np.pad(levels, 1)  # max_tree takes neighbours beyond the edge for pixels of a narrow image
    parent, order = (array.ravel() for array in max_tree(framed, connectivity=2))
    flat, pixels = framed.ravel(), np.arange(framed.size)
    stands_for_node = flat[parent] != flat
    stands_for_node[order[0]] = True  # the root is its own parent
    nodes = order[::-1]
    nodes = nodes[stands_for_node[nodes]]
    count = len(nodes)
    number = np.empty(framed.size, dtype=np.intp)
    number[nodes] = np.arange(count)
    of_pixel = number[np.where(stands_for_node, pixels, parent)]
    up = number[parent[nodes]]
    up[-1] = count  # nothing: what the root's short cuts lead to
    children = np.bincount(up, minlength=count + 1)[:count]
    rows, columns = (place - 1 for place in np.divmod(pixels, framed.shape[1]))
    sums = [np.bincount(of_pixel, weights, minlength=count) for weights in (None, rows, columns)]
    first = np.full(count, framed.size)
    np.minimum.at(first, of_pixel, rows * levels.shape[1] + columns)
    _add_to_ancestors(up, sums, first)
    area, *positions = sums
    level = flat[nodes].astype(np.int64)
    parent_level = np.append(level, 0)[up]
    kept = slice(0, -1)  # the root holds the pixels of level 0
    centroid = np.stack(positions, axis=1) / area[:, None]
    return ComponentTree(
        level[kept], parent_level[kept], children[kept], area[kept].astype(np.int64), centroid[kept], first[kept]
    )


def _add_to_ancestors(up: np.ndarray, sums: list[np.ndarray], first: np.ndarray) -> None:
    """Adds each node's sums to those of all its ancestors, and takes the least ``first`` of their descendants.

    Short cuts that double in length: after k rounds a node holds what its descendants fewer than 2^k steps away hold.
    """
    count = len(up)
    jump = np.append(up, count)
    while (alive := np.flatnonzero(jump[:count] < count)).size:
        to = jump[alive]
        for index, values in enumerate(sums):
            sums[index] = values + np.bincount(to, values[alive], minlength=count)
        np.minimum.at(first, to, first[alive])
        jump = jump[jump]


def _matches(tree: ComponentTree, targets: Components, distance: float) -> Iterable[tuple[int, int, int]]:
    """(node, start, stop): a target is matched to the node at the levels above ``start`` up to ``stop``.

    As :func:`drpca.evaluation.functional.match_centroid`: targets in scan order take, of the near components that no
    earlier target took, the one first in scan order.
    """
    near = [_near(tree, centroid, distance) for centroid in targets.centroids]
    nodes, uses = np.unique(np.concatenate([*near, np.zeros(0, dtype=np.intp)]), return_counts=True)
    taken: dict[int, list[tuple[int, int]]] = {node: [] for node in nodes[uses > 1].tolist()}
    for candidates in near:
        candidates = candidates[np.argsort(-tree.first[candidates], kind='stable')]
        spans = np.stack([tree.parent_level[candidates], tree.level[candidates]], axis=1)
        own = candidates.tolist()
        others = [edge for node in own for span in taken.get(node, ()) for edge in span]
        edges = np.unique(np.concatenate([spans.ravel(), np.array(others, dtype=np.int64)]))
        choice = np.full(len(edges), -1)
        for node, (first, last) in zip(own, np.searchsorted(edges, spans).tolist()):
            free = np.ones(last - first, dtype=bool)
            for span in taken.get(node, ()):
                start, stop = np.searchsorted(edges, span)
                free[max(start - first, 0) : max(stop - first, 0)] = False
            choice[first:last][free] = node
        for index in np.flatnonzero(choice >= 0).tolist():
            node, start, stop = int(choice[index]), int(edges[index]), int(edges[index + 1])
            if node in taken:
                taken[node].append((start, stop))
            yield node, start, stop


def _near(tree: ComponentTree, centroid: np.ndarray, distance: float) -> np.ndarray:
    """Nodes whose centroid is nearer than ``distance``."""
    candidates = np.flatnonzero(np.abs(tree.centroid[:, 0] - centroid[0]) < distance)
    offsets = tree.centroid[candidates] - centroid
    return candidates[np.linalg.norm(offsets, axis=1) < distance]


def curve_of(
    images: Iterable[tuple[np.ndarray, np.ndarray]], scale: Scale = 'score', normalise: bool = False, **options: Any
) -> Curve:
    """The curve of a set of images.

    Args:
        images: Maps (H, W) on the scale, with their masks (H, W).
        scale: See :class:`CurveSum`, as of ``options``.
        normalise: Divide each map by its own maximum first.

    Raises:
        UserError: As :meth:`CurveSum.update`; map and mask differ in size.
    """
    total = CurveSum(scale, **options)
    for values, gt_mask in images:
        if np.shape(values) != np.shape(gt_mask):
            raise UserError(f'Expected a map of the size of its mask, {np.shape(gt_mask)}, got {np.shape(values)}.')
        values = np.asarray(values, dtype=np.float32)
        total.update(
            normalise_by_maximum(values) if normalise else values, connected_components(np.asarray(gt_mask) > 0)
        )
    return total.curve()


def select_threshold(images: Iterable[tuple[np.ndarray, np.ndarray]], normalise: bool = False) -> float:
    """Score threshold with the highest pixel F1 over a set of images, which should be a validation split.

    Args and errors as :func:`curve_of`; a set without targets is refused.
    """
    return curve_of(images, normalise=normalise).best_f1()[0]
