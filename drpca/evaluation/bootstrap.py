"""Comparing results: paired bootstrap over images, mean and spread over seeds."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from drpca.errors import UserError
from drpca.evaluation.metrics import ImageRecord

COMPARED = ('IoU', 'nIoU', 'F1', 'Pd', 'Fa')
"""Figures that are compared."""

_SEED = re.compile(r'[-_./]?seed[-_=]?\d+', re.IGNORECASE)


@dataclass(frozen=True)
class Difference:
    """Second minus first, with a confidence interval.

    Attributes:
        value: On all images.
        low: Lower end of the interval.
        high: Upper end.
    """

    value: float
    low: float
    high: float

    @property
    def clear(self) -> bool:
        """Whether the interval leaves out 0."""
        return self.low > 0 or self.high < 0


def _counts(records: Sequence[ImageRecord], protocol: str) -> np.ndarray:
    """(images, 9): tp, fp, fn, hits, targets, false pixels, pixels, IoU, whether there is an IoU."""
    table = np.array(
        [
            (c.tp, c.fp, c.fn, c.hits, c.targets, c.false_pixels, c.pixels, 0, 0)
            for c in (record.counts[protocol] for record in records)
        ],
        dtype=np.float64,
    )
    union = table[:, :3].sum(axis=1)
    table[:, 7] = np.divide(table[:, 0], union, out=np.zeros(len(table)), where=union > 0)
    table[:, 8] = union > 0
    return table


def _figures(sums: np.ndarray) -> np.ndarray:
    """(…, 9) sums of counts to (…, 5) figures in the order of ``COMPARED``; 0/0 is NaN."""
    tp, fp, fn, hits, targets, false, pixels, iou, judged = np.moveaxis(sums, -1, 0)
    with np.errstate(invalid='ignore', divide='ignore'):
        parts = [tp / (tp + fp + fn), iou / judged, 2 * tp / (2 * tp + fp + fn), hits / targets, false / pixels]
    return np.stack(parts, axis=-1)


def paired_bootstrap(
    first: Sequence[ImageRecord],
    second: Sequence[ImageRecord],
    protocol: str,
    draws: int = 2000,
    confidence: float = 0.95,
    seed: int = 0,
) -> dict[str, Difference]:
    """Difference of two methods on the same images, with percentile intervals.

    Images are drawn with replacement, the same ones for both methods, so that what makes an image hard for
    both does not widen the interval (Efron and Tibshirani, 1993). The interval says how the difference would
    vary with the choice of images, not with the training seed.

    Args:
        first: Records of the method compared with.
        second: Records of the other, of images of the same names.
        protocol: Name of the protocol.
        draws: Number of resamples.
        confidence: Of the interval.
        seed: Of the random draws.

    Returns:
        By the names in ``COMPARED``.

    Raises:
        UserError: The two are not of the same images, or of none.
    """
    by_name = {record.name: record for record in second}
    if not first or sorted(by_name) != sorted(record.name for record in first):
        raise UserError('A paired comparison needs results of the same images, at least one.')
    tables = [_counts(r, protocol) for r in (first, [by_name[record.name] for record in first])]
    images = len(first)
    rng = np.random.default_rng(seed)
    weights = rng.multinomial(images, np.full(images, 1 / images), size=draws).astype(np.float64)
    drawn = _figures(weights @ tables[1]) - _figures(weights @ tables[0])
    value = _figures(tables[1].sum(axis=0)) - _figures(tables[0].sum(axis=0))
    differences = {}
    for index, key in enumerate(COMPARED):
        column = drawn[:, index][~np.isnan(drawn[:, index])]
        tail = (1 - confidence) / 2
        low, high = np.quantile(column, [tail, 1 - tail]) if column.size else (np.nan, np.nan)
        differences[key] = Difference(float(value[index]), float(low), float(high))
    return differences


def seed_group(name: str) -> str:
    """Name without its seed: 'runs/rpcanet_seed0/SIRSTv1' and '…_seed1/…' are of one group.

    A seed is written ``seed0``, ``seed_0``, ``seed-0`` or ``seed=0``.
    """
    return _SEED.sub('', name)
