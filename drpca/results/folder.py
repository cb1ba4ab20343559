"""Results folders: what lies where in one, and reading and writing it.

A results folder is ``results/<dataset>/``:

====================  =======  ========================================================================
file                  format   content
====================  =======  ========================================================================
``mat/NAME.mat``      mat      score map, key ``T``, float32 in [0, 1]; what is read where there is one. Of a network
                               also key ``logits``, float32: T is their sigmoid
``img/NAME.png``      png      score map, 8-bit; 16-bit is read as well
``json/NAME.json``    json     height, width, threshold and the targets of an image
``overlay/NAME.png``           image with detections outlined
``stages/NAME.png``            what every stage makes of the image
``targets.csv``       csv      a row per target of all images
``coco.json``         coco     targets as COCO annotations: box, area, score, mask as RLE
``run.json``                   what made it all, and of which images; there where this project's inference did
====================  =======  ========================================================================

Everything is in pixels of the frame that came in, but for the score maps of a data set, which keep the detector's
size: they are what a published protocol scores. ``maps`` in ``run.json`` says which (``'detector'`` or ``'frame'``),
``sizes`` there lists frame, map, and pixels of the frame per pixel of the map; files with positions hold both sizes.
"""

from __future__ import annotations

import csv
import json
import zlib
from collections.abc import Callable, Container, Iterable, Sequence
from contextlib import suppress
from functools import cached_property
from io import BytesIO, StringIO
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from scipy import ndimage
from scipy.io import savemat
from scipy.special import expit
from typing_extensions import TypedDict

from drpca.datasets.io import IMAGE_SUFFIXES, read_image, read_maps, to_unit, variable_names
from drpca.errors import UserError, warn
from drpca.evaluation.functional import check_pair
from drpca.files import append_whole, cannot_write, list_files, replace_quickly
from drpca.inference.detections import Detection
from drpca.inference.mappers import MappedFrame
from drpca.json_file import read_json
from drpca.options import called
from drpca.visualization.panels import outline

PARTS = {
    'mat': 'mat/{}.mat', 'img': 'img/{}.png', 'json': 'json/{}.json', 'overlay': 'overlay/{}.png',
    'stages': 'stages/{}.png',
}  # fmt: skip
"""Folders with a file per image, and its path."""
MAP_PARTS = ('mat', 'img')
"""Those that hold score maps, the preferred one first."""
RUN, TARGETS, COCO = 'run.json', 'targets.csv', 'coco.json'
MAT_KEY, LOGITS = 'T', 'logits'
"""Variables of a MATLAB file."""
DETECTOR_MAPS, FRAME_MAPS = 'detector', 'frame'
"""Whose size the score maps have."""
IDENTITY = (
    'config', 'model', 'checkpoint_sha256', 'dataset', 'split', 'input', 'size', 'tile', 'precision', 'temporal',
    'runtime', 'synthetic',
)  # fmt: skip
"""Two runs with the same values here write the same maps."""
LATER = ('data_root', 'maps', 'range', 'bad_pixels')
"""What came to ``run.json`` later: of a folder without it the other values decide."""
_TARGETS = ('json', 'overlay', TARGETS, COCO)
"""What depends on the threshold as well."""
_ALL = (*PARTS, TARGETS, COCO)
COLUMNS = (
    'name', 'row', 'column', 'top', 'left', 'bottom', 'right', 'area', 'peak', 'mean', 'snr', 'track', 'logit',
    'height', 'width', 'map_height', 'map_width',
)  # fmt: skip


_MAT_HEADER = 128
"""Bytes before the first variable of a MATLAB file."""
_WORTH = 0.8
"""Share of its size below which an array is compressed: logits stay at 0.9, and that takes most of the writing."""


def mat_bytes(name: str, array: np.ndarray) -> bytes:
    """A MATLAB file with one variable, compressed where every 64th row says that this is worth the time."""
    file = BytesIO()
    sample = array[:: 64 if len(array) > 64 else 1].tobytes()
    savemat(file, {name: array}, do_compression=len(zlib.compress(sample, 1)) < _WORTH * len(sample))
    return file.getvalue()


def saved_names(folder: str | Path, part: str) -> list[str]:
    """Names of the images that have a file in ``PART/`` or its subfolders (``SEQUENCE/NAME``), sorted."""
    above, suffix = Path(folder) / part, Path(PARTS[part]).suffix
    files = list_files(above, (suffix,), deep=True)
    return sorted(file.relative_to(above).with_suffix('').as_posix() for file in files)


def some_of(names: Sequence[str]) -> str:
    """``a, b, c and 5 more``."""
    more = f' and {len(names) - 3} more' if len(names) > 3 else ''
    return ', '.join(names[:3]) + more


class SizeRecord(TypedDict):
    """Height and width of frames, and of their maps."""

    __pydantic_config__ = {'extra': 'allow'}  # type: ignore[misc]
    frame: tuple[int, int]
    map: tuple[int, int]


class RunRecord(TypedDict, total=False):
    """What is read of ``run.json``; there is more in it."""

    __pydantic_config__ = {'extra': 'allow'}  # type: ignore[misc]
    dataset: str | None
    split: str | None
    names: list[str] | None
    sizes: list[SizeRecord]
    window: int
    delay: int
    synthetic: dict[str, int]


class ResultsFolder:
    """Saved score maps of one data set.

    Args:
        path: Folder with ``mat/`` or ``img/``, or with maps in itself, ``NAME.mat`` or pictures.

    Attributes:
        path: The folder.
        kind: 'mat' or 'img', where the maps are read from.
        names: Image names, sorted; where ``run.json`` lists some, those alone.
        others: Names of maps that it does not list, sorted.

    Raises:
        UserError: Not a folder, or no map in it.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._own: dict[str, Path] = {}
        if not self.path.is_dir():
            raise UserError(f'No results folder {self.path}; make one with {called("infer")}, or name another.')
        listed, self.others, self._is_whole = None, list[str](), True
        with suppress(UserError):  # of a damaged file, which who asks for the run is told of
            listed = self.run.get('names')
            self._is_whole = listed is not None or 'names' not in self.run
        saved = {part: saved_names(self.path, part) for part in MAP_PARTS}
        if any(saved.values()):
            known = {*(next(filter(None, saved.values())) if listed is None else listed)}
            self.kind = max(MAP_PARTS, key=lambda part: len(known.intersection(saved[part])))
            self.names = sorted(known.intersection(saved[self.kind]))
            self.others = sorted({*saved[self.kind]} - known)
            if not self.names:
                raise UserError(
                    f'{self.path / RUN} lists none of the maps there, such as {some_of(self.others)}: make the folder '
                    f'again with {called("infer")}.'
                )
            return
        for self.kind, suffixes in (('mat', ('.mat',)), ('img', IMAGE_SUFFIXES)):
            self._own = {file.stem: file for file in list_files(self.path, suffixes)}
            self.names = sorted(self._own)
            if self.names:
                return
        raise UserError(
            f'{self.path} holds no score maps: expected mat/NAME.mat (key {MAT_KEY!r}) or img/NAME.png; '
            f'make them with {called("infer")}.'
        )

    @cached_property
    def run(self) -> dict[str, Any]:
        """Contents of ``run.json``; empty where there is none."""
        file = self.path / RUN
        if not file.is_file():
            return {}
        return dict(read_json(file, RunRecord))

    @property
    def notes(self) -> tuple[str, ...]:
        """What to know of the maps, a line each."""
        if not self._is_whole:
            return (f'The run of {RUN} goes on or was killed: maps of an earlier one may be among those there.',)
        some = some_of(self.others)
        return (f'Maps that {RUN} does not list are left out: {some}.',) if self.others else ()

    @property
    def dataset(self) -> str:
        """Name of the data set, from ``run.json``, else from the name of the folder."""
        return str(self.run.get('dataset') or self.path.resolve().name)

    @property
    def split(self) -> str:
        """Name of the split, from ``run.json``, else 'test'."""
        return str(self.run.get('split') or 'test')

    def has_logits(self, names: Iterable[str]) -> bool:
        """Whether there are logits beside the score maps of all of ``names``.

        Raises:
            UserError: A file is unreadable.
        """
        return self.kind == 'mat' and all(LOGITS in variable_names(self.map_path(name)) for name in names)

    def map_path(self, name: str) -> Path:
        """File of one score map."""
        return self._own.get(name, self.path / PARTS[self.kind].format(name))

    def read(self, name: str) -> np.ndarray:
        """Reads one score map.

        Returns:
            (H, W) float32 in [0, 1].

        Raises:
            UserError: The file is missing, unreadable, lacks the key ``T``, or holds NaN or values outside
                [0, 1].
        """
        return self.read_maps(name)[0]

    def read_maps(self, name: str) -> tuple[np.ndarray, np.ndarray | None]:
        """Reads one score map and the logits beside it.

        Returns:
            (H, W) float32 in [0, 1], and (H, W) float32, of which it is the sigmoid, or None where there are none.

        Raises:
            UserError: As :meth:`read`; or what is called ``logits`` are not those of the score map.
        """
        path = self.map_path(name)
        maps: dict[str, np.ndarray] = {}
        if self.kind == 'mat':
            maps = read_maps(path, [MAT_KEY], [LOGITS])
        else:
            maps[MAT_KEY] = to_unit(read_image(path), 'full')
        scores = check_pair(maps[MAT_KEY], np.zeros(maps[MAT_KEY].shape, dtype=bool), str(path))[0]
        logits = maps.get(LOGITS)
        if logits is not None and not (
            logits.shape == scores.shape and np.isfinite(logits).all() and np.allclose(expit(logits), scores, atol=1e-3)
        ):
            raise UserError(
                f'{path}: expected finite {LOGITS} whose sigmoid is {MAT_KEY}: write both anew, or {MAT_KEY} alone.'
            )
        return scores, logits


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
            f'{called("infer")}, or name a folder with --results.'
        )
    return found


class ResultsWriter:
    """Writes what was found, frame by frame, into one folder.

    Args:
        folder: ``results/<dataset>``.
        run: What made the maps; goes into ``run.json`` and is compared with what is there. Its ``maps`` tells the size
            of the score maps.
        overwrite: Replace another run's maps or targets, and remove those of images that are not in this one.
        formats: Some of ``drpca.options.MAP_FORMATS``.
        overlay: Also write ``overlay/NAME.png``, the image with detections outlined.
        threshold: For ``run.json`` of the target lists.
        names: Of all frames to come; None: that is not known.
        comes_again: Runs of the same ``run`` are of the same frames: not those of a camera.

    Raises:
        UserError: The folder holds maps of another checkpoint, split or data root, of images that are not among
            ``names``, of frames that do not come again, targets of another threshold, or files that no run describes.
    """

    def __init__(
        self,
        folder: str | Path,
        run: dict[str, Any],
        overwrite: bool = False,
        formats: Sequence[str] = ('png', 'mat'),
        overlay: bool = False,
        threshold: float = 0.5,
        names: Iterable[str] | None = None,
        comes_again: bool = True,
    ) -> None:
        self.folder = Path(folder)
        self.threshold = threshold
        self._run = run
        self._sizes: set[tuple[tuple[int, ...], tuple[int, ...]]] = set()
        self._values: dict[str, float] = {}
        self._names: set[str] = set()
        self._made: set[Path] = set()
        self._before: set[str] = set()
        self._overwrite = overwrite
        self._refuse_others(run, names, comes_again)
        writers: dict[str, Callable[[Detection], None]] = {
            'png': self._write_png, 'mat': self._write_mat, 'json': self._write_json, 'csv': self._write_csv,
            'coco': self._add_to_coco,
        }  # fmt: skip
        self._writers = [writers[name] for name in dict.fromkeys(formats)]
        if overlay:
            self._writers.append(self._write_overlay)
        self._coco: dict[str, Any] = {
            'images': [], 'annotations': [], 'categories': [{'id': 1, 'name': 'target'}],
        }  # fmt: skip
        self._formats = set(formats)
        self._save_json(RUN, {**run, 'names': None})  # which they are shows at the end
        if 'csv' in self._formats:
            self._save(TARGETS, (','.join(COLUMNS) + '\n').encode())

    def _refuse_others(self, run: dict[str, Any], names: Iterable[str] | None, comes_again: bool) -> None:
        """Refuses to replace, or to mix with its own, what another run wrote; to overwrite is to remove it."""
        before = self._described_by()
        if before is None:
            return
        keys = [*IDENTITY, *(key for key in LATER if key in before)]
        is_lost = not comes_again and before.get('names') != [] and self._holds(_ALL)
        if is_lost or any(before.get(key) != run.get(key) for key in keys):
            what, parts = 'the maps of another run', _ALL
            made = before.get('checkpoint') or before.get('config') or f'files without {RUN}'
            parts_of = {'split': 'split', 'input': 'input', 'data_root': 'data in'}
            told = {'split', *['input'] * is_lost}
            differs = [key for key in parts_of if before.get(key) and (key in told or before[key] != run.get(key))]
            details = ', '.join([made, *(f'{parts_of[key]} {before[key]}' for key in differs)])
        elif (threshold := before.get('threshold', self.threshold)) != self.threshold and self._holds(_TARGETS):
            what, parts = 'targets of another threshold', _TARGETS
            details = f'{threshold}, not {self.threshold}'
        else:
            what, parts = 'the maps of other images', ()
            self._before = self._saved()
            details = some_of(sorted(self._before.difference(self._before if names is None else names)))
            if not details:
                return
        if not self._overwrite:
            raise UserError(
                f'{self.folder} already holds {what} ({details}): choose another --out, or replace them with '
                '--overwrite.'
            )
        self._remove(parts)
        self._before = self._saved()

    def _saved(self) -> set[str]:
        """Images that there is any file of."""
        return {name for part in PARTS for name in saved_names(self.folder, part)}

    def _remove(self, parts: Iterable[str], names: Container[str] | None = None) -> None:
        """Removes files of a writer, of all images or some, and folders that are empty then; others' files stay."""
        for part in parts:
            saved = saved_names(self.folder, part) if part in PARTS else []
            paths = [PARTS[part].format(name) for name in saved if names is None or name in names] or [part]
            for path in map(self.folder.joinpath, paths):
                with suppress(OSError):  # of a folder that holds more
                    path.rmdir() if path.is_dir() else path.unlink(missing_ok=True)
                    while path.parent != self.folder:
                        path = path.parent
                        path.rmdir()

    def remove_earlier(self) -> None:
        """Removes what an earlier run left of images that are not in this one, which is complete.

        Warns of it instead where the writer may not overwrite.
        """
        if not (earlier := self._before - self._names):
            return
        if self._overwrite:
            together = {'csv': TARGETS, 'coco': COCO}
            self._remove([*PARTS, *(name for kind, name in together.items() if kind not in self._formats)], earlier)
        else:
            warn(
                f'{self.folder} also holds files of images that are not in this run: {some_of(sorted(earlier))}. They '
                'are not scored; --overwrite removes them.'
            )

    def _holds(self, names: Iterable[str]) -> bool:
        return any((self.folder / name).exists() for name in names)

    def _described_by(self) -> dict[str, Any] | None:
        path = self.folder / RUN
        if path.is_file():
            try:
                return dict(json.loads(path.read_text()))
            except (ValueError, TypeError, RecursionError):
                return {}
        return {} if self._holds(_ALL) else None

    def _save(self, name: str, content: bytes) -> None:
        path = self.folder / name
        if path.parent not in self._made:
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise cannot_write(path, error) from None
            self._made.add(path.parent)
        replace_quickly(path, content)

    def _save_json(self, name: str, content: Any, indent: int | None = 1) -> None:
        self._save(name, (json.dumps(content, indent=indent) + '\n').encode())

    def _save_png(self, name: str, picture: np.ndarray) -> None:
        self._save(name, cv2.imencode('.png', picture)[1].tobytes())

    def write(self, detection: Detection, file_name: str | None = None) -> None:
        """Save one frame in every format.

        Args:
            detection: What was found.
            file_name: Of its image, for COCO; None: it has no file of its own.

        Raises:
            UserError: A frame of this name was saved before; or the disk is full or not writable.
        """
        if detection.name in self._names:
            raise UserError(
                f'Two frames are called {detection.name}; their maps would overwrite each other: rename one.'
            )
        self._names.add(detection.name)
        self._sizes.add((detection.scores.shape, (detection.mapped or detection).scores.shape))
        if detection.mapped is not None:
            frame = detection.mapped.frame
            self._values = {
                'low': min(frame.low, self._values.get('low', frame.low)),
                'high': max(frame.high, self._values.get('high', frame.high)),
                'bad_pixels': frame.bad_pixels + self._values.get('bad_pixels', 0),
            }
        self._file_name = file_name or detection.name
        for writer in self._writers:
            writer(detection)

    def _map(self, detection: Detection) -> Detection | MappedFrame:
        return detection.mapped or detection if self._run['maps'] == DETECTOR_MAPS else detection

    def _write_png(self, detection: Detection) -> None:
        self._save_png(
            PARTS['img'].format(detection.name), np.round(255 * self._map(detection).scores).astype(np.uint8)
        )

    def _write_mat(self, detection: Detection) -> None:
        of = self._map(detection)
        content = mat_bytes(MAT_KEY, of.scores.astype(np.float32))
        if of.logits is not None:
            logits = np.nan_to_num(of.logits.astype(np.float32))  # half precision may overflow
            content += mat_bytes(LOGITS, logits)[_MAT_HEADER:]
        self._save(PARTS['mat'].format(detection.name), content)

    def _write_json(self, detection: Detection) -> None:
        height, width = detection.scores.shape
        content = {
            'name': detection.name, 'height': height, 'width': width, **_made_from(detection),
            'threshold': self.threshold, 'targets': [target.as_dict() for target in detection.targets],
        }  # fmt: skip
        self._save_json(PARTS['json'].format(detection.name), content)

    def _write_csv(self, detection: Detection) -> None:
        text = StringIO()
        rows = csv.writer(text, lineterminator='\n')
        for target in detection.targets:
            place = target.row, target.column, *target.box
            values = *place, target.area, target.peak, target.mean, target.snr
            track = '' if target.track is None else target.track
            logit = '' if target.logit is None else round(target.logit, 6)
            sizes = *detection.scores.shape, *detection.map_scores.shape
            rows.writerow([detection.name, *(round(value, 6) for value in values), track, logit, *sizes])
        append_whole(self.folder / TARGETS, text.getvalue().encode())

    def _add_to_coco(self, detection: Detection) -> None:
        height, width = detection.scores.shape
        image_id = len(self._coco['images']) + 1
        self._coco['images'].append({
            'id': image_id, 'file_name': self._file_name, 'height': height, 'width': width, **_made_from(detection),
        })  # fmt: skip
        labels, _ = ndimage.label(detection.mask, structure=np.ones((3, 3)))
        for index, target in enumerate(detection.targets):
            top, left, bottom, right = target.box
            self._coco['annotations'].append({
                'id': len(self._coco['annotations']) + 1, 'image_id': image_id, 'category_id': 1, 'iscrowd': 0,
                'bbox': [left, top, right - left, bottom - top], 'area': target.area, 'score': target.peak,
                **({} if target.track is None else {'track_id': target.track}),
                **({} if target.logit is None else {'logit': target.logit}),
                'segmentation': {'size': [height, width], 'counts': run_lengths(labels, index + 1, target.box)},
            })  # fmt: skip

    def _write_overlay(self, detection: Detection) -> None:
        picture = outline(detection.image, detection.mask)
        self._save_png(PARTS['overlay'].format(detection.name), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))

    def write_stages(self, name: str, picture: np.ndarray) -> None:
        """Save ``stages/NAME.png``.

        Args:
            name: Of the frame.
            picture: (H, W, 3) uint8, RGB, see :func:`drpca.results.stage_pictures.stages_picture`.
        """
        self._save_png(PARTS['stages'].format(name), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))

    @property
    def sizes(self) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
        """(height, width) of frames and of their maps, those that differ, sorted."""
        return sorted(self._sizes)

    def close(self) -> None:
        """Write the files that describe all frames together."""
        sizes = [
            {'frame': frame, 'map': map_, 'scale': [f / m for f, m in zip(frame, map_)]} for frame, map_ in self.sizes
        ]
        self._save_json(RUN, {**self._run, 'sizes': sizes, 'values': self._values, 'names': sorted(self._names)})
        if 'coco' in self._formats:
            self._save_json(COCO, self._coco, indent=None)


def _made_from(detection: Detection) -> dict[str, Any]:
    """Of the map that the positions come from: height and width, and the frame's values that became 0 and 1."""
    found: dict[str, Any] = dict(zip(('map_height', 'map_width'), detection.map_scores.shape))
    frame = detection.frame
    return found | {'low': frame.low, 'high': frame.high, 'bad_pixels': frame.bad_pixels}


def run_lengths(labels: np.ndarray, label: int, box: tuple[int, int, int, int]) -> list[int]:
    """A component as COCO's uncompressed run lengths: column by column, background first."""
    top, left, bottom, right = box
    columns, rows = np.nonzero(np.equal(labels[top:bottom, left:right].T, label))
    positions = (columns + left) * labels.shape[0] + rows + top
    breaks = np.flatnonzero(np.diff(positions) != 1)
    starts = positions[np.r_[0, breaks + 1]]
    stops = positions[np.r_[breaks, len(positions) - 1]] + 1
    edges = np.r_[0, np.stack([starts, stops], axis=1).ravel(), labels.size]
    return np.diff(edges).tolist()
