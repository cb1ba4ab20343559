"""Figures of detectors on disturbed frames, as tables, JSON and curves."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from drpca.datasets.splits import Split
from drpca.evaluation.protocols import Protocol
from drpca.inference.mappers import ScoreMapper
from drpca.options import ROBUST_FIGURES
from drpca.reports.plain_tables import markdown_table, text_table
from drpca.reports.tables import definition, shown
from drpca.results.scoring import FiguresByProtocol, score_split
from drpca.studies.corruptions import KINDS, Corruption, eight_bit

HEADER = ('disturbance', 'detector', 'IoU %', 'nIoU %', 'F1 %', 'Pd %', 'Fa x1e-6', 'IoU lost')
CLEAN = 'none'
MEAN = 'mean of the disturbed'


@dataclass(frozen=True)
class CorruptionScore:
    """One detector under one disturbance.

    Attributes:
        detector: Its name.
        corruption: The disturbance, None for clean frames.
        figures: By the name of the protocol.
    """

    detector: str
    corruption: Corruption | None
    figures: FiguresByProtocol


def score_corrupted(
    detector: str,
    mapper: ScoreMapper,
    split: Split,
    names: Sequence[str],
    corruptions: Sequence[Corruption],
    protocols: Sequence[Protocol],
    seed: int = 0,
) -> Iterator[CorruptionScore]:
    """Scores a detector on clean frames, then under each disturbance.

    Args:
        detector: Its name in tables.
        mapper: The detector.
        split: The images.
        names: Which of them.
        corruptions: The disturbances.
        protocols: What to score.
        seed: Of the disturbances; with it the results are reproducible on the same machine, in any order.

    Raises:
        UserError: An image or a mask is unreadable.
    """
    clean = score_split(mapper, split, names, protocols, lambda frame, name: eight_bit(frame))
    yield CorruptionScore(detector, None, clean)
    for corruption in corruptions:

        def change(frame: np.ndarray, name: str, corruption: Corruption = corruption) -> np.ndarray:
            return corruption.apply(frame, name, seed)

        yield CorruptionScore(detector, corruption, score_split(mapper, split, names, protocols, change))


def mean_corrupted(results: Sequence[CorruptionScore], detector: str, protocol: str) -> dict[str, float]:
    """Mean over the kinds of the mean over each kind's levels, so that a kind with more levels weighs no more.

    Undefined figures are left out.
    """
    means = {}
    for key in ROBUST_FIGURES:
        by_kind: dict[str, list[float]] = {}
        for result in results:
            if result.detector == detector and result.corruption is not None:
                value = result.figures[protocol][key]
                if not math.isnan(value):
                    by_kind.setdefault(result.corruption.kind, []).append(value)
        kinds = [float(np.mean(values)) for values in by_kind.values()]
        means[key] = float(np.mean(kinds)) if kinds else float('nan')
    return means


def rows(results: Sequence[CorruptionScore], protocol: str) -> list[list[str]]:
    """Cells under ``HEADER``: disturbance by disturbance, the detectors one below the other."""
    detectors = list(dict.fromkeys(result.detector for result in results))
    clean = {r.detector: r.figures[protocol] for r in results if r.corruption is None}
    lines = []
    for corruption in dict.fromkeys(result.corruption for result in results):
        for result in results:
            if result.corruption == corruption:
                title = CLEAN if corruption is None else str(corruption)
                figures = result.figures[protocol]
                lines.append(_row(title, result.detector, figures, clean[result.detector]))
    if len(results) > len(detectors):
        for name in detectors:
            lines.append(_row(MEAN, name, mean_corrupted(results, name, protocol), clean[name]))
    return lines


def _row(title: str, detector: str, figures: dict[str, float], clean: dict[str, float]) -> list[str]:
    lost = clean['IoU'] - figures['IoU']
    cells = [shown(key, figures[key]) for key in ROBUST_FIGURES]
    return [title, detector, *cells, '' if title == CLEAN else shown('IoU', lost)]


def heading(split: Split, images: int, protocol: Protocol) -> str:
    """'SIRSTv1 test, 86 of 86 images, basicirstd (> 0.5, native, centroid < 3 px)'."""
    name, *rest = definition(protocol)
    return f'{split.dataset} {split.split}, {images} of {len(split)} images, {name} ({", ".join(rest)})'


def as_text(
    results: Sequence[CorruptionScore], split: Split, images: int, protocols: Sequence[Protocol]
) -> str:
    """One aligned table per protocol."""
    return '\n\n'.join(
        f'{heading(split, images, p)}\n{text_table(HEADER, rows(results, p.name), left=2)}' for p in protocols
    )


def as_markdown(
    results: Sequence[CorruptionScore], split: Split, images: int, protocols: Sequence[Protocol]
) -> str:
    """One Markdown table per protocol."""
    return '\n'.join(
        f'**{heading(split, images, p)}**\n\n{markdown_table(HEADER, rows(results, p.name), left=2)}'
        for p in protocols
    )


def as_json(results: Sequence[CorruptionScore], protocols: Sequence[Protocol]) -> dict[str, Any]:
    """Plain ratios; undefined figures are null."""
    return {
        'protocols': [dataclasses.asdict(protocol) for protocol in protocols],
        'results': [
            {
                'detector': result.detector,
                'corruption': None if result.corruption is None else result.corruption.kind,
                'level': 0 if result.corruption is None else result.corruption.level,
                'unit': None if result.corruption is None else KINDS[result.corruption.kind].unit,
                'figures': {name: plain(figures) for name, figures in result.figures.items()},
            }
            for result in results
        ],
    }


def plain(figures: dict[str, float]) -> dict[str, float | None]:
    """Figures for JSON, which knows no NaN: undefined ones become null."""
    return {key: None if math.isnan(value) else value for key, value in figures.items()}
