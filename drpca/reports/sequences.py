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
    """Keys of the frames, in order, by data set, split and name of their sequence; of all folders, each once.

    Raises:
        UserError: Two folders call one frame by different names.
    """
    found: dict[tuple[str, str, str], dict[int, tuple[Key, Score]]] = {}
    for score in scores:
        of, there = (score.split.dataset, score.split.split), _names(score)
        for sequence, names in score.split.sequences.items():
            frames = found.setdefault((*of, sequence), {})
            for place, name in enumerate(names):
                key, other = frames.setdefault(place, ((*of, name), score)) if name in there else ((*of, name), score)
                if key[2] != name:
                    raise UserError(
                        f'{other.folder.path} and {score.folder.path} call one frame {key[2]} and {name}: make both '
                        'from the same --input, or a report of each.'
                    )
    return {of: [frames[place][0] for place in sorted(frames)] for of, frames in found.items() if frames}


def _names(score: Score) -> set[str]:
    """What there are maps of."""
    return {record.name for record in next(iter(score.records.values()))}


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


def _tracks(score: Score) -> Reports | None:
    """Tracks with their places, in pixels of the frame, by the name of the frame; None without a temporal filter."""
    path = score.folder.path / TARGETS
    if not score.split.sequences or not path.is_file():
        return None
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
    return found if found or score.folder.run.get('temporal') else None


def _track_text(score: Score, tracks: Reports | None, frames: Sequence[Key]) -> str:
    of, there = score.split, _names(score)
    names = [name for _, _, name in frames if name in there]
    if tracks is None or not names or not isinstance(of, LabelledFrames):
        return ''
    figures = track_figures([tracks.get(name, []) for name in names], [_targets(of, name) for name in names], rate=1)
    delay = '' if math.isnan(figures.delay) else f', {figures.delay:.1f} frames after they appear on average'
    return (
        f'targets with a track: {figures.found} of {figures.targets}{delay}; more tracks of them: {figures.fragments}; '
        f'false tracks: {figures.false_tracks}'
    )


def _targets(of: LabelledFrames, name: str) -> np.ndarray:
    targets = of.read_targets(name)
    return connected_components(of.read_mask(name)).centroids if targets is None else targets
