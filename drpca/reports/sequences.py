"""What a report says of sequences: which images follow each other, and what the tracks of a filter are worth."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from io import StringIO
from typing import Any

import numpy as np

from drpca.datasets.io import read_regular
from drpca.datasets.sequences import LabelledFrames
from drpca.errors import UserError
from drpca.evaluation.functional import connected_components
from drpca.evaluation.sequences import track_figures
from drpca.results.folder import TARGETS
from drpca.results.scoring import Score

Key = tuple[str, str, str]
"""Data set, split and name of an image."""
_LONGEST = 2**28


def frames_of(scores: Sequence[Score]) -> dict[tuple[str, str, str], list[Key]]:
    """Keys of the frames, in order, by data set, split and name of their sequence; of all folders, each once."""
    found: dict[tuple[str, str, str], list[Key]] = {}
    for score in scores:
        of = score.split.dataset, score.split.split
        there = {record.name for record in next(iter(score.records.values()))}
        for sequence, names in score.split.sequences.items():
            key, frames = (*of, sequence), [(*of, name) for name in names if name in there]
            if len(frames) > len(found.get(key, [])):
                found[key] = frames
    return found


def sequence_data(scores: Sequence[Score], number: dict[Key, int]) -> list[dict[str, Any]]:
    """For the page: ``name``, data set and split (``of``), numbers of the images, and what is said of each method's
    tracks, '' where it has none.

    Raises:
        UserError: The file of a folder's targets is unreadable.
    """
    tracks = [_tracks(score) for score in scores]
    return [
        {
            'name': name,
            'of': f'{dataset} {split}',
            'images': [number[frame] for frame in frames],
            'tracks': [_track_text(score, found, frames) for score, found in zip(scores, tracks)],
        }
        for (dataset, split, name), frames in frames_of(scores).items()
    ]


Reports = dict[str, list[tuple[int, float, float]]]


def _tracks(score: Score) -> Reports:
    """Tracks with their places, in pixels of the frame, by the name of the frame; of runs with a temporal filter."""
    path = score.folder.path / TARGETS
    if not score.split.sequences or not path.is_file():
        return {}
    found: Reports = {}
    try:
        for row in csv.DictReader(StringIO(read_regular(path, 'list of targets', _LONGEST).decode())):
            if row['track']:
                place = float(row['row']), float(row['column'])
                found.setdefault(row['name'], []).append((int(row['track']), *place))
    except (KeyError, TypeError, ValueError, csv.Error):
        raise UserError(
            f'Cannot read {path}: expected name, row, column and track of each target; make it again, or remove it.'
        ) from None
    return found


def _track_text(score: Score, tracks: Reports, frames: Sequence[Key]) -> str:
    names = [name for _, _, name in frames]
    of = score.split
    if not any(name in tracks for name in names) or not isinstance(of, LabelledFrames):
        return ''
    points = [_targets(of, name) for name in names if name in of.names]
    figures = track_figures([tracks.get(name, []) for name in names if name in of.names], points, rate=1)
    delay = '' if math.isnan(figures.delay) else f', {figures.delay:.1f} frames after they appear on average'
    return (
        f'targets with a track: {figures.found} of {figures.targets}{delay}; more tracks of them: {figures.fragments}; '
        f'false tracks: {figures.false_tracks}'
    )


def _targets(of: LabelledFrames, name: str) -> np.ndarray:
    targets = of.read_targets(name)
    return connected_components(of.read_mask(name)).centroids if targets is None else targets
