"""A folder of stage pictures, and the index that says what they are of."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from typing_extensions import TypedDict

from drpca.errors import UserError
from drpca.json_file import read_json

FOLDER = 'stage_pictures'
"""Name of the folder inside ``results/<dataset>/`` where the report looks for pictures."""


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
        there = sorted(self.path.glob('*.png')) + sorted(self.path.glob(INDEX)) if self.path.is_dir() else []
        if there and not overwrite:
            raise UserError(
                f'{self.path} already holds pictures: choose another --out, or replace them with --overwrite.'
            )
        if there and not (self.path / INDEX).is_file():
            raise UserError(f'{self.path} holds pictures of another origin: choose another --out.')
        for old in there:
            old.unlink()
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f'Cannot write to {self.path}: {error.strerror}; choose another --out.') from None

    def write(self, name: str, picture: np.ndarray, scalars: list[dict[str, float]]) -> Path:
        """Saves one picture and enters it, with its scalars per stage, in the index."""
        path = self.path / f'{name}.png'
        self.images[name] = scalars
        try:
            path.write_bytes(cv2.imencode('.png', cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))[1].tobytes())
            content = {**self.made_by, 'images': self.images}
            (self.path / INDEX).write_text(json.dumps(content, indent=1) + '\n', encoding='utf-8')
        except OSError as error:
            raise UserError(f'Cannot write to {self.path}: {error.strerror}.') from None
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
