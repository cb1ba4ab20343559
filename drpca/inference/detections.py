"""From a score map to a list of targets, in pixels of the frame that came in.

A detector that resizes frames gives maps of its own size. A map is brought to the frame's size *before* it is
thresholded (:func:`drpca.datasets.io.resize_map`), so that mask, boxes and areas agree.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from drpca.datasets.io import Levelled
from drpca.evaluation.functional import connected_components
from drpca.evaluation.local_contrast import contrast_to_noise, local_statistics
from drpca.json_file import plain

if TYPE_CHECKING:
    from drpca.inference.mappers import MappedFrame

EIGHT_NEIGHBOURS = np.ones((3, 3), bool)


@dataclass(frozen=True)
class Target:
    """An 8-connected component of the detection mask. Positions are in pixels of the frame.

    Attributes:
        row: Row of the centroid, each pixel weighted by its score; pixel centres are whole numbers.
        column: Likewise.
        box: (top, left, bottom, right), bottom and right exclusive, as slices take them.
        area: Pixels.
        peak: Highest score.
        mean: Mean score.
        snr: Local signal-to-noise ratio of the image, |μ_target − μ_background| / σ_background, the background
            being the window of 20 pixels around the box without any target (Gao et al., IEEE TIP 2013);
            infinite on a flat background, NaN without one.
        track: Number of the track that confirmed it (:mod:`drpca.inference.temporal`), else None.
        logit: Highest logit, which tells peaks of 1.000 apart; None without logits.
    """

    row: float
    column: float
    box: tuple[int, int, int, int]
    area: int
    peak: float
    mean: float
    snr: float
    track: int | None = None
    logit: float | None = None

    @property
    def strength(self) -> float:
        """What ranks the targets of a detector: the logit, or without logits the peak."""
        return self.peak if self.logit is None else self.logit

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON, which has no infinity or NaN: those become None."""
        return plain(asdict(self))


def find_targets(
    scores: np.ndarray, image: np.ndarray, mask: np.ndarray, logits: np.ndarray | None = None
) -> list[Target]:
    """Describes the components of a mask, in the order of their first pixels.

    Args:
        scores: (H, W) in [0, 1].
        image: (H, W) grey values at the same size.
        mask: (H, W) bool, where the scores exceed the threshold.
        logits: (H, W), of which the scores are the sigmoid.
    """
    components = connected_components(mask)
    snrs = contrast_to_noise(*local_statistics(image, components))
    targets = []
    for index, box in enumerate(components.boxes):
        rows, columns = np.nonzero(components.labels[box] == index + 1)
        top, left = box[0].start, box[1].start
        weights = scores[box][rows, columns].astype(np.float64)
        targets.append(
            Target(
                row=float(top + np.average(rows, weights=weights)),
                column=float(left + np.average(columns, weights=weights)),
                box=(top, left, box[0].stop, box[1].stop),
                area=len(rows),
                peak=float(weights.max()),
                mean=float(weights.mean()),
                snr=float(snrs[index]),
                logit=None if logits is None else float(logits[box][rows, columns].max()),
            )
        )
    return targets


@dataclass(frozen=True)
class Detection:
    """What was found in one frame. Everything is in pixels of the frame that came in, but for ``mapped``.

    Attributes:
        name: Stem of the file, ``STEM_000012`` for a frame of a video, ``frame_000012`` for an array.
        image: (H, W) float32 in [0, 1].
        scores: (H, W) float32 in [0, 1].
        mask: (H, W) bool, scores above the threshold.
        confirmed: What :mod:`drpca.inference.temporal` left of the targets; None elsewhere.
        index: Place of the frame in a live stream, counting those dropped; None elsewhere, like the next two.
        time: Seconds from the start of a live stream to the frame's arrival.
        latency: Seconds from the frame's arrival to this result.
        logits: (H, W) float32, of which the scores are the sigmoid; None of a classical method or of blended tiles.
        mapped: The image as the detector saw it and its score map, at the detector's size; None: as above.
    """

    name: str
    image: np.ndarray
    scores: np.ndarray
    mask: np.ndarray
    confirmed: list[Target] | None = None
    index: int | None = None
    time: float | None = None
    latency: float | None = None
    logits: np.ndarray | None = None
    mapped: MappedFrame | None = None

    @property
    def map_scores(self) -> np.ndarray:
        """(H', W') float32 in [0, 1], the score map as the detector gave it."""
        return self.scores if self.mapped is None else self.mapped.scores

    @property
    def frame(self) -> Levelled:
        """The frame as it came, on a known scale, with the values that became 0 and 1."""
        return Levelled(self.image, 0.0, 1.0) if self.mapped is None else self.mapped.frame

    @property
    def seen(self) -> np.ndarray:
        """(H', W') float32 in [0, 1], the image as the detector saw it."""
        return self.image if self.mapped is None else self.mapped.image

    @cached_property
    def targets(self) -> list[Target]:
        """One entry per 8-connected component of the mask, described when first asked for."""
        if self.confirmed is not None:
            return self.confirmed
        return find_targets(self.scores, self.image, self.mask, self.logits)
