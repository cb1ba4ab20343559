"""Results folders: what lies where in one, reading, checking against a split, bringing maps to the scoring size.

A results folder is ``results/<dataset>/``:

====================  ===================================================================================
``mat/NAME.mat``      score map, key ``T``, float in [0, 1]; what is read where there is one
``img/NAME.png``      score map, 8- or 16-bit
``json/NAME.json``    targets of an image
``overlay/NAME.png``  image with detections outlined
``stages/NAME.png``   what every stage makes of the image
``targets.csv``       targets of all images
``coco.json``         the same as COCO annotations
``run.json``          what made it all; there where this project's inference did
====================  ===================================================================================
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from typing_extensions import TypedDict

from drpca.datasets.io import image_shape, read_image, resize_image, resize_mask, to_unit
from drpca.datasets.splits import Split
from drpca.errors import UserError
from drpca.evaluation.functional import check_pair, shape_text
from drpca.json_file import read_json
from drpca.results.mat_file import read_mat

PARTS = {
    'mat': 'mat/{}.mat', 'img': 'img/{}.png', 'json': 'json/{}.json', 'overlay': 'overlay/{}.png',
    'stages': 'stages/{}.png',
}  # fmt: skip
"""Folders with a file per image, and its path."""
MAP_PARTS = ('mat', 'img')
"""Those that hold score maps, the preferred one first."""
RUN, TARGETS, COCO = 'run.json', 'targets.csv', 'coco.json'
MAT_KEY = 'T'


def saved_names(folder: str | Path, part: str) -> list[str]:
    """Names of the images that have a file in ``PART/``, sorted."""
    return sorted(file.stem for file in Path(folder).glob(PARTS[part].format('*')))


@dataclass(frozen=True)
class Case:
    """One image of a results folder, maps as they were saved.

    Attributes:
        name: Name of the image.
        scores: (h, w) float32 in [0, 1], at the size of the saved map.
        gt_mask: (H, W) bool, at the size of the mask file.
    """

    name: str
    scores: np.ndarray
    gt_mask: np.ndarray

    def at(self, size: int | None) -> tuple[np.ndarray, np.ndarray]:
        """Scores and mask at the scoring size.

        Args:
            size: Side of a square, None for the mask's own size. Scores are resized bilinearly, the mask by
                nearest neighbour (:mod:`drpca.datasets.io`), as the published pipelines do; what has the size
                already is left alone.

        Returns:
            Scores float32 in [0, 1] and mask bool, of equal shape.
        """
        shape = self.gt_mask.shape if size is None else (size, size)
        scores = np.clip(resize_image(self.scores, shape), 0, 1)
        return scores, resize_mask(self.gt_mask, shape)


class RunRecord(TypedDict, total=False):
    """What is read of ``run.json``; there is more in it."""

    __pydantic_config__ = {'extra': 'allow'}  # type: ignore[misc]
    dataset: str | None
    split: str | None


class ResultsFolder:
    """Saved score maps of one data set.

    Args:
        path: Folder with ``mat/`` or ``img/``.

    Attributes:
        path: The folder.
        kind: 'mat' or 'img', where the maps are read from.
        names: Image names, sorted.

    Raises:
        UserError: Not a folder, or no map in it.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        if not self.path.is_dir():
            raise UserError(f'No results folder {self.path}; make one with inference.py, or name another.')
        for part in MAP_PARTS:
            self.kind, self.names = part, saved_names(self.path, part)
            if self.names:
                return
        raise UserError(
            f'{self.path} holds no score maps: expected mat/NAME.mat (key {MAT_KEY!r}) or img/NAME.png; '
            'make them with inference.py.'
        )

    @cached_property
    def run(self) -> dict[str, Any]:
        """Contents of ``run.json``; empty where there is none."""
        file = self.path / RUN
        if not file.is_file():
            return {}
        return dict(read_json(file, RunRecord))

    @property
    def dataset(self) -> str:
        """Name of the data set, from ``run.json``, else from the name of the folder."""
        return str(self.run.get('dataset') or self.path.resolve().name)

    @property
    def split(self) -> str:
        """Name of the split, from ``run.json``, else 'test'."""
        return str(self.run.get('split') or 'test')

    def map_path(self, name: str) -> Path:
        """File of one score map."""
        return self.path / PARTS[self.kind].format(name)

    def read(self, name: str) -> np.ndarray:
        """Reads one score map.

        Returns:
            (H, W) float32 in [0, 1].

        Raises:
            UserError: The file is missing, unreadable, lacks the key ``T``, or holds NaN or values outside
                [0, 1].
        """
        path = self.map_path(name)
        scores = read_mat(path) if self.kind == 'mat' else to_unit(read_image(path), sixteen_bit='full')
        return check_pair(scores, np.zeros(scores.shape, dtype=bool), str(path))[0]


def find_results(root: str | Path = 'results') -> list[ResultsFolder]:
    """All results folders directly below ``root``, sorted by name.

    Raises:
        UserError: There is none.
    """
    root = Path(root)
    found = [
        ResultsFolder(folder)
        for folder in (sorted(root.iterdir()) if root.is_dir() else [])
        if any(saved_names(folder, part) for part in MAP_PARTS)
    ]
    if not found:
        raise UserError(
            f'No results under {root}: expected {root}/<dataset>/mat/*.mat or img/*.png; make them with '
            'inference.py, or name a folder with --results.'
        )
    return found


def common_names(folder: ResultsFolder, split: Split, allow_partial: bool = False) -> list[str]:
    """Names to score: those of the split, in its order.

    Raises:
        UserError: The folder lacks maps of the split or holds others. With ``allow_partial`` only if no name
            is in both.
    """
    have = set(folder.names)
    names = [name for name in split.names if name in have]
    missing = [name for name in split.names if name not in have]
    extra = sorted(have - set(split.names))
    if not names or ((missing or extra) and not allow_partial):
        parts = [
            f'{len(listed)} {what} ({", ".join(listed[:3])}{", …" if len(listed) > 3 else ""})'
            for what, listed in (('maps missing', missing), ('maps not in the split', extra))
            if listed
        ]
        advice = 'Name the right --dataset and --split' + (', or use --allow-partial.' if names else '.')
        raise UserError(
            f'{folder.path} against {split.dataset} {split.split}: {" and ".join(parts)}. {advice}'
        )
    return names


def iterate_cases(folder: ResultsFolder, split: Split, allow_partial: bool = False) -> Iterator[Case]:
    """Reads map after map with its mask.

    Raises:
        UserError: As :func:`common_names` and :meth:`ResultsFolder.read`; a mask is unreadable; or the maps
            are of mixed sizes, neither all of their images' own sizes nor all of one size.
    """
    sizes = _SizeCheck(folder)
    for name in common_names(folder, split, allow_partial):
        case = Case(name, folder.read(name), split.read_mask(name))
        sizes.add(case, split.image_path(name))
        yield case


class _SizeCheck:
    """Refuses folders in which some maps have their image's size and others a size of their own."""

    def __init__(self, folder: ResultsFolder) -> None:
        self._folder = folder
        self._own: Case | None = None
        self._common: Case | None = None

    def add(self, case: Case, image_path: Path) -> None:
        shape = case.scores.shape
        try:
            is_own = shape == case.gt_mask.shape or shape == image_shape(image_path)
        except UserError:  # map and mask are whole and can be scored
            return
        if is_own:
            self._own = case
        elif self._common is None:
            self._common = case
        for reference in (self._common, self._common and self._own):
            if reference is not None and reference.scores.shape != shape:
                raise UserError(
                    f'{self._folder.path}: mixed sizes, {self._folder.map_path(case.name).name} is '
                    f'{shape_text(shape)} and {self._folder.map_path(reference.name).name} '
                    f'{shape_text(reference.scores.shape)}; expected all maps at the size of their images or '
                    'all at one size. Make the folder again with inference.py.'
                )
