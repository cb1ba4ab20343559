"""One detector on one frame. Everything is in pixels of the frame."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from drpca.errors import UserError
from drpca.inference.decomposer import FrameDecomposition, StageRecord, make_decomposer
from drpca.inference.detections import Detection
from drpca.inference.detector import Detector
from drpca.inference.mappers import BaselineMapper
from drpca.options import TILE

MAX_CLASSICAL_PIXELS = 640 * 640
"""Largest frame for classical methods at its own size; some take minutes beyond."""


@dataclass(frozen=True)
class AnalysedFrame:
    """What a detector made of a frame.

    Attributes:
        name: Of the frame.
        detector: Label of the detector.
        model: Registered name of the network or method.
        range: Rule by which grey values became [0, 1].
        detection: Image and scores, (H, W) float32 in [0, 1], with the map that they come from.
        stages: B, T, N and D of every stage, (H, W) each; empty where there are none.
        note: Why there are no stages, or ''.
        gt_mask: (H, W) bool label, where there is one.
        seconds: Time of the score map.
    """

    name: str
    detector: str
    model: str
    range: str
    detection: Detection
    stages: list[StageRecord]
    note: str
    gt_mask: np.ndarray | None
    seconds: float

    @property
    def image(self) -> np.ndarray:
        """(H, W) float32 in [0, 1]."""
        return self.detection.image

    @property
    def scores(self) -> np.ndarray:
        """(H, W) float32 in [0, 1]."""
        return self.detection.scores

    @property
    def decomposition(self) -> FrameDecomposition:
        """The stages with the image."""
        return FrameDecomposition(self.image, self.stages)

    def at(self, row: int, column: int) -> str:
        """What is at a pixel of the frame, in words: its value, the grey value in [0, 1], the score, the logit."""
        value, logits = self.detection.frame.image[row, column], self.detection.logits
        logit = '' if logits is None else f', logit {logits[row, column]:.2f}'
        return (
            f'row {row}, column {column}: value {value:g}, grey {self.image[row, column]:.3f}, '
            f'score {self.scores[row, column]:.3f}{logit}'
        )

    def detect(self, threshold: float) -> Detection:
        """The detections at a threshold; the detector is not run again.

        Args:
            threshold: Scores above it are detections; in [0, 1).
        """
        return replace(self.detection, mask=self.scores > threshold)


def analyse(
    detector: Detector,
    name: str,
    frame: np.ndarray,
    gt_mask: np.ndarray | None = None,
    report: Callable[[str], None] = lambda step: None,
    with_stages: bool = True,
) -> AnalysedFrame:
    """Run a detector on a frame.

    Args:
        detector: Named as the page calls it.
        name: Of the frame.
        frame: (H, W) grey values.
        gt_mask: (H, W) bool label.
        report: Told what comes next, in words.
        with_stages: Look inside as well.

    Raises:
        UserError: The frame is too small for the detector, or too large for a classical method.
    """
    if isinstance(detector.mapper, BaselineMapper) and detector.size is None:
        _refuse_large(detector.method, frame)
    report('score map')
    started = time.perf_counter()
    source = detector.mapper.source((name, frame))
    source.counts = True  # floats come from files
    (detection,) = detector.stream(source)
    seconds = time.perf_counter() - started
    stages: list[StageRecord] = []
    note = ''
    if not with_stages:
        pass
    elif max(detection.seen.shape) > TILE:
        note = f'Stages are shown of images of up to {TILE} × {TILE} pixels; this one was scored in tiles.'
    else:
        report('stages')
        try:
            stages = make_decomposer(detector.mapper).decompose(detection.frame).at_frame(detection.image).stages
        except UserError as error:
            note = str(error)
    return AnalysedFrame(
        name=name,
        detector=detector.name,
        model=detector.method,
        range=str(detector.mapper.values),
        detection=detection,
        stages=stages,
        note=note,
        gt_mask=gt_mask,
        seconds=seconds,
    )


def _refuse_large(model: str, frame: np.ndarray) -> None:
    if frame.size > MAX_CLASSICAL_PIXELS:
        raise UserError(
            f'{model} works at the own size of a frame, here up to 640 × 640 pixels; this one has '
            f'{frame.shape[0]} × {frame.shape[1]}. Choose a network, or a smaller image.'
        )
