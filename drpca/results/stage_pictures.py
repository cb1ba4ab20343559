"""A picture of every stage of a decomposition, and a folder of such pictures with what made them, ``stages.json``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from typing_extensions import TypedDict

from drpca.errors import UserError
from drpca.files import list_files, make_folder, save_bytes, save_text
from drpca.inference.decomposer import FrameDecomposition
from drpca.json_file import read_json
from drpca.visualization.panels import (
    AROUND_ZERO,
    GAP,
    caption,
    colour_bar,
    enlarge,
    range_text,
    side_by_side,
    to_grey,
    variable_picture,
)

INDEX = 'stages.json'


class StageFolder:
    """Writes the pictures of one detector.

    Args:
        path: The folder.
        made_by: What made them: ``config``, ``model``, ``checkpoint``, ``checkpoint_sha256``, ``size``, …
        overwrite: Replace what is there.

    Raises:
        UserError: The folder holds something already, or cannot be made.
    """

    def __init__(self, path: str | Path, made_by: dict[str, Any], overwrite: bool = False) -> None:
        self.path = Path(path)
        self.made_by = made_by
        self.images: dict[str, list[dict[str, float]]] = {}
        there = list_files(self.path, ('.png',)) + sorted(self.path.glob(INDEX))
        if there and not overwrite:
            raise UserError(
                f'{self.path} already holds pictures: choose another --out, or replace them with --overwrite.'
            )
        if there and not (self.path / INDEX).is_file():
            raise UserError(f'{self.path} holds pictures of another origin: choose another --out.')
        for old in there:
            old.unlink()
        make_folder(self.path)

    def write(self, name: str, picture: np.ndarray, scalars: list[dict[str, float]]) -> Path:
        """Saves one picture and enters it, with its scalars per stage, in the index."""
        path = self.path / f'{name}.png'
        self.images[name] = scalars
        content = {**self.made_by, 'images': self.images}
        save_bytes(path, cv2.imencode('.png', cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))[1].tobytes(), overwrite=True)
        save_text(self.path / INDEX, json.dumps(content, indent=1) + '\n', overwrite=True)
        return path


class Index(TypedDict):
    """What is read of ``stages.json``; there is more in it."""

    __pydantic_config__ = {'extra': 'allow'}  # type: ignore[misc]
    images: dict[str, Any]


def read_index(path: str | Path) -> dict[str, Any] | None:
    """Contents of ``stages.json`` in a folder; None if there is none.

    Raises:
        UserError: It is not what this module writes.
    """
    file = Path(path) / INDEX
    if not file.is_file():
        return None
    return dict(read_json(file, Index))


_TILE = 200


def _tile(title: str, values: np.ndarray) -> np.ndarray:
    return caption(enlarge(to_grey(values), _TILE), title)


def _variable(title: str, values: np.ndarray) -> np.ndarray:
    """A variable with the bar of its colours and its range in words."""
    around_zero = title in AROUND_ZERO
    picture = enlarge(variable_picture(values, around_zero), _TILE)
    with_bar = side_by_side([picture, colour_bar(len(picture), around_zero)])
    return caption(with_bar, f'{title}  {range_text(values, around_zero)}')


def stages_picture(
    decomposition: FrameDecomposition, scores: np.ndarray | None = None, gt_mask: np.ndarray | None = None
) -> np.ndarray:
    """D, score and mask in a row, and below a row of B, T, (N) and D for every stage.

    B and the D of the stages are drawn in their own range, T and N around 0 in two colours; the range stands above
    them, the bar beside them shows its colours, and single outliers do not move it
    (:func:`drpca.visualization.panels.variable_range`). The learned scalars of a stage stand above its row.

    Args:
        decomposition: Variables of (H, W).
        scores: (H, W) in [0, 1], left out if None.
        gt_mask: (H, W) bool, the label, left out if None.

    Returns:
        (H', W', 3) uint8, RGB.
    """
    top = [_tile('image', decomposition.image)]
    if scores is not None:
        top.append(_tile(f'score, maximum {scores.max():.3g}', scores))
    if gt_mask is not None:
        top.append(_tile('mask (label)', gt_mask))
    rows = [side_by_side(top)]
    for number, stage in enumerate(decomposition.stages, start=1):
        tiles = [_variable('B', stage.background), _variable('T', stage.target)]
        if stage.noise is not None:
            tiles.append(_variable('N', stage.noise))
        tiles.append(_variable('D', stage.reconstruction))
        scalars = ''.join(f'   {name} {value:.4g}' for name, value in stage.scalars.items())
        rows.append(caption(side_by_side(tiles), f'stage {number}{scalars}'))
    width = max(row.shape[1] for row in rows)
    return np.concatenate([_pad(row, width) for row in rows])


def _pad(row: np.ndarray, width: int) -> np.ndarray:
    return np.pad(row, ((0, GAP), (0, width - row.shape[1]), (0, 0)), constant_values=64)
