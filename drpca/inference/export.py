"""Writing a results folder: ``img/NAME.png``, ``mat/NAME.mat`` and ``run.json``."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from scipy.io import savemat

from drpca.errors import UserError

RUN = 'run.json'
# Two runs with the same values here write the same maps.
IDENTITY = ('config', 'model', 'checkpoint_sha256', 'dataset', 'split', 'input', 'size')


class ResultsWriter:
    """Writes maps into one folder.

    Args:
        folder: ``results/<dataset>``.
        run: What made the maps; goes into ``run.json`` and is compared with what is there.
        overwrite: Replace another run's maps.

    Raises:
        UserError: The folder holds another checkpoint's or split's maps, or files that no run describes.
    """

    def __init__(self, folder: str | Path, run: dict[str, Any], overwrite: bool = False) -> None:
        self.folder = Path(folder)
        before = self._described_by()
        if before is not None and any(before.get(key) != run.get(key) for key in IDENTITY):
            if not overwrite:
                made = before.get('checkpoint') or before.get('config') or 'files without run.json'
                raise UserError(
                    f'{self.folder} already holds the maps of another run ({made}, split {before.get("split")}): '
                    'choose another --out, or replace them with --overwrite.'
                )
            for part in ('img', 'mat'):
                shutil.rmtree(self.folder / part, ignore_errors=True)
        try:
            for part in ('img', 'mat'):
                (self.folder / part).mkdir(parents=True, exist_ok=True)
            (self.folder / RUN).write_text(json.dumps(run, indent=1) + '\n')
        except OSError as error:
            raise UserError(f'Cannot write to {self.folder}: {error.strerror}.') from None

    def _described_by(self) -> dict[str, Any] | None:
        path = self.folder / RUN
        if path.is_file():
            try:
                return dict(json.loads(path.read_text()))
            except ValueError:
                return {}
        return {} if any((self.folder / part).is_dir() for part in ('img', 'mat')) else None

    def write(self, name: str, scores: np.ndarray) -> None:
        """Save one map, (H, W) float32 in [0, 1]: 8 bits in the PNG, exact in the MAT file (key ``T``).

        Raises:
            UserError: The disk is full or not writable.
        """
        png = self.folder / 'img' / f'{name}.png'
        try:
            png.write_bytes(cv2.imencode('.png', np.round(255 * scores).astype(np.uint8))[1].tobytes())
            savemat(
                self.folder / 'mat' / f'{name}.mat', {'T': scores.astype(np.float32)}, do_compression=True
            )
        except OSError as error:
            raise UserError(f'Cannot save the map of {name} in {self.folder}: {error.strerror}.') from None
