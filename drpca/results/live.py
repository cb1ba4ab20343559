"""Scoring without saved maps: frames go through a detector and its maps straight into the metrics."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from drpca.datasets.splits import Split
from drpca.evaluation.metrics import Evaluator
from drpca.evaluation.protocols import Protocol
from drpca.inference.frames import Frame
from drpca.inference.mappers import ScoreMapper
from drpca.results.folder import Case

Figures = dict[str, dict[str, float]]
"""Figures by the name of the protocol, see :meth:`drpca.evaluation.metrics.Evaluator.compute`."""


def score_split(
    mapper: ScoreMapper,
    split: Split,
    names: Sequence[str],
    protocols: Sequence[Protocol],
    change: Callable[[np.ndarray, str], np.ndarray] | None = None,
) -> Figures:
    """Scores a detector on images of a split, each protocol at its own size.

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

    def frames() -> Iterator[Frame]:
        for name in names:
            frame = split.read_image(name, mapper.grey)
            yield name, frame if change is None else change(frame, name)

    sizes = dict.fromkeys(protocol.size for protocol in protocols)
    evaluators = {size: Evaluator([p for p in protocols if p.size == size]) for size in sizes}
    for name, scores in mapper.score_maps(frames()):
        case = Case(name, scores, split.read_mask(name))
        for size, evaluator in evaluators.items():
            evaluator.update(*case.at(size), name=name)
    figures = {size: evaluator.compute() for size, evaluator in evaluators.items()}
    return {p.name: figures[p.size][p.name] for p in protocols}
