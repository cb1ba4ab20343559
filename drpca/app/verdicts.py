"""What a label says of detections, by the rules of :mod:`drpca.evaluation`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from drpca.app.analysis import AnalysedFrame
from drpca.evaluation.functional import RocCounts, overlap_areas
from drpca.evaluation.metrics import ImageCase, ImageRecord, count_image, summarise
from drpca.evaluation.protocols import Protocol, build_protocol

HIT, FRAGMENT, FALSE, MISSED = 'hit', 'fragment of a target', 'false alarm', 'missed'
PROTOCOL = 'basicirstd'


def protocol_at(threshold: float) -> Protocol:
    """The rules at a threshold in [0, 1)."""
    return build_protocol({'type': PROTOCOL, 'threshold': threshold})


RULES = f'{protocol_at(0).matching_text}; Fa: {protocol_at(0).false_alarm_text}'
"""When a target is found, and what Fa counts, in words."""


@dataclass(frozen=True)
class Verdicts:
    """Of one frame with a label.

    Attributes:
        record: What it adds to the figures of several.
        detections: ``HIT``, ``FRAGMENT`` (a target that has its detection already, or one too far from its centre)
            or ``FALSE``, in the order of ``Detection.targets``.
        targets: ``HIT`` or ``MISSED``, and box (top, left, bottom, right) of every target of the label.
        protocol: The rules.
    """

    record: ImageRecord
    detections: list[str]
    targets: list[tuple[str, tuple[int, int, int, int]]]
    protocol: Protocol

    @property
    def figures(self) -> dict[str, float]:
        """IoU, Pd, Fa, … of this frame alone."""
        return summarise([self.record], self.protocol)

    @property
    def false_alarms(self) -> int:
        """Detections that touch no target."""
        return self.detections.count(FALSE)

    @property
    def hits(self) -> int:
        """Targets that were found."""
        return self.record.counts[self.protocol.name].hits

    @property
    def text(self) -> str:
        """IoU, Pd and Fa in words."""
        return figures_text(self.figures, self.hits)


def fa_text(fa: float) -> str:
    """Share of pixels that are false alarms."""
    return f'{fa:.1e}' if fa else '0'


def figures_text(figures: dict[str, float], hits: int) -> str:
    """IoU, Pd and Fa in words."""
    return f'IoU {figures["IoU"]:.3f}, Pd {hits} of {figures["targets"]:g}, Fa {fa_text(figures["Fa"])}'


def judge(analysis: AnalysedFrame, threshold: float) -> Verdicts | None:
    """The verdicts at a threshold in [0, 1); None without a label."""
    if analysis.gt_mask is None:
        return None
    protocol = protocol_at(threshold)
    case = ImageCase(analysis.scores, analysis.gt_mask, analysis.name, analysis.detection.logits)
    matching, predictions = case.match(protocol), case.predictions(protocol)
    is_free = matching.unmatched_predictions(len(predictions))
    touches = np.asarray(overlap_areas(case.targets, predictions)).sum(axis=0) > 0
    return Verdicts(
        ImageRecord(analysis.name, {protocol.name: count_image(case, protocol)}, RocCounts.zero()),
        [HIT if not free else FRAGMENT if near else FALSE for free, near in zip(is_free, touches)],
        [
            (HIT if hit else MISSED, (rows.start, columns.start, rows.stop, columns.stop))
            for hit, (rows, columns) in zip(matching.hit, case.targets.boxes)
        ],
        protocol,
    )


def joint_figures(verdicts: Sequence[Verdicts]) -> tuple[dict[str, float], int]:
    """Figures of several frames together, and targets that were found.

    Args:
        verdicts: At one threshold; at least one.
    """
    return summarise([one.record for one in verdicts], verdicts[0].protocol), int(
        np.sum([one.hits for one in verdicts])
    )
