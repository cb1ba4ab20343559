"""Sequences of frames on disk with their labels, and the windows cut out of them: one reader for all layouts in use.

A folder of numbered frames is a sequence. What stands in the path to it besides its name says what it is: a part
(``train``, ``test60``) where all folders beside it are parts as well, or that these are images.

======================  ==============================================================================
plain                   ``SEQ/images/0001.png``, ``SEQ/points.txt`` or ``SEQ/masks/0001.png``
ground/air (DAUB)       ``data/SEQ/0001.bmp``, ``anno/SEQ.txt``; TensorISTD: both in ``dataset/``
NUDT-MIRSDT             ``SEQ/{images,masks,masks_centroid}/00001.png``, ``SEQ/Mix/00001.mat`` where there are no
                        images, ``train.txt``, ``test.txt``
IRDST-simulation        ``images/SEQ/1.bmp``, ``masks/SEQ/1.bmp``, ``img_idx/{train,test}_NAME.txt``
SatVideoIRSDT           ``{train,val}/SEQ/{img,mask}/000001.png``
DMIST                   ``images/{train,test60,test100}/SEQ/0.bmp``, ``0.txt`` with boxes beside it
======================  ==============================================================================

Labels: *masks*, one a frame; *points*, a text file with a line a frame, ``x y`` (column, row, from 0) for each target,
``None`` or ``0 0`` for none, or masks of single pixels (``masks_centroid``); *boxes*, a text file a frame with a line
``x1 y1 x2 y2`` (columns and rows, from 0, the last ones included) a target.
"""

from __future__ import annotations

import hashlib
import math
import os
import re
import stat
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import combinations, pairwise, permutations
from operator import attrgetter
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from drpca.datasets.io import (
    IMAGE_SUFFIXES,
    GreyRule,
    MaskRule,
    finite,
    image_shape,
    read_given_mask,
    read_image,
    read_maps,
    read_regular,
)
from drpca.datasets.splits import PARTS, Split, resolve_data_root
from drpca.errors import UserError, counted, unknown_name
from drpca.files import is_visible, list_files
from drpca.names import simplify

Placement = Literal['causal', 'centred', 'block']
Border = Literal['repeat', 'reflect', 'inside']
LabelKind = Literal['masks', 'points', 'boxes']

PLACEMENTS = ('causal', 'centred', 'block')
BORDERS = ('repeat', 'reflect', 'inside')
LABELS = ('masks', 'points', 'boxes')
SPLITS = ('train', 'val', 'trainval', 'test', 'all')
_SHARE = 0.2
_IMAGE_FOLDERS = ('images', 'image', 'imgs', 'img', 'data', 'frames', 'mix')
_MASK_FOLDERS = ('masks', 'mask', 'labels', 'gt')
_POINT_MASKS = 'masks_centroid'
_POINT_FOLDERS = ('anno', 'annotations', 'points')
_MIX = 'Mix'
_LONGEST = 2**26
_GLANCE = 64
_PART = re.compile(r'(train|val|test)\w*', re.IGNORECASE)


@dataclass(frozen=True)
class Window:
    """Places of frames in their sequence.

    Attributes:
        frames: Those that a network sees, oldest first; a place may occur twice at the ends of a sequence.
        reported: Those among them that its maps are of.
    """

    frames: tuple[int, ...]
    reported: tuple[int, ...]


def reported_places(frames: int, placement: Placement) -> tuple[int, ...]:
    """Which frames of a window its maps are of: the last one, the middle one (of an even number the later), or all.

    Raises:
        UserError: An unknown placement.
    """
    if placement not in PLACEMENTS:
        raise unknown_name('placement of windows', placement, PLACEMENTS)
    return tuple(range(frames)) if placement == 'block' else (frames // 2 if placement == 'centred' else frames - 1,)


def border_place(place: int, count: int, border: Border) -> int:
    """The frame that stands in for one beyond the ends of a sequence of ``count`` frames."""
    if border == 'reflect' and count > 1:
        place = abs(place) % (2 * count - 2)
        return min(place, 2 * count - 2 - place)
    return min(max(place, 0), count - 1)


def check_length(count: int, frames: int, name: str) -> None:
    """Raises UserError for a sequence of ``count`` frames that is shorter than a window of ``frames``."""
    if not 1 <= frames <= count:
        raise UserError(
            f'{name} has {counted(count, "frame")}, fewer than a window of {frames}: choose shorter windows, or leave '
            'it out.'
        )


def check_size(path: Path, shape: tuple[int, ...], first: tuple[int, ...], name: str) -> None:
    """Raises UserError for a frame, (H, W), that is not of the size of the ``first`` of its sequence."""
    if shape != first:
        raise UserError(
            f'{path} is {shape[0]} × {shape[1]}, other frames of sequence {name} {first[0]} × {first[1]}: frames of a '
            'sequence have one size; put those of each into a folder of their own.'
        )


def windows_of(
    count: int, frames: int, placement: Placement = 'causal', border: Border = 'repeat', name: str = 'The sequence'
) -> list[Window]:
    """The windows of a sequence.

    Args:
        count: Frames of the sequence.
        frames: Frames of a window.
        placement: ``'causal'``: for every frame one that ends with it. ``'centred'``: one around it. ``'block'``: one
            after the other, without overlap; the last one ends with the sequence, and so may overlap.
        border: What stands beyond the ends: ``'repeat'``: the first and the last frame again. ``'reflect'``: those that
            follow, in reverse order. ``'inside'``: nothing; frames without a whole window of their own are left out.
        name: Of the sequence, for the message.

    Raises:
        UserError: A window longer than the sequence, or an unknown word.
    """
    places = reported_places(frames, placement)
    if border not in BORDERS:
        raise unknown_name('border of windows', border, BORDERS)
    check_length(count, frames, name)
    if placement == 'block':
        starts = [*range(0, count - frames + 1, frames)]
        if starts[-1] + frames < count and border != 'inside':
            starts.append(count - frames)
    else:
        starts = [*range(-places[0], count - places[0])]
        if border == 'inside':
            starts = [start for start in starts if start >= 0 and start + frames <= count]
    found = []
    for start in starts:
        seen = tuple(border_place(place, count, border) for place in range(start, start + frames))
        found.append(Window(seen, tuple(seen[place] for place in places)))
    return found


@dataclass(frozen=True)
class FrameSequence:
    """A sequence as it lies on disk.

    Attributes:
        name: Of its folder; with the part before it where several parts have one of that name.
        part: ``'train'``, ``'test60'``, …; '' where the folders name none.
        frames: Image files in order, or the .mat files of ``Mix``, whose last slice is the frame.
        masks: Mask files by the name of their frame, without suffix; empty where there are none.
        point_masks: Likewise, of single pixels.
        points: The text file with a line a frame.
        boxes: Text files by the name of their frame.
    """

    name: str
    part: str
    frames: tuple[Path, ...]
    masks: dict[str, Path]
    point_masks: dict[str, Path]
    points: Path | None
    boxes: dict[str, Path]

    def __len__(self) -> int:
        return len(self.frames)

    @property
    def is_mix(self) -> bool:
        """The frames are .mat files of ``Mix``."""
        return self.frames[0].suffix == '.mat'

    @property
    def labels(self) -> list[LabelKind]:
        """The kinds of labels that there are, the most exact first."""
        there = {'masks': self.masks, 'points': self.points or self.point_masks, 'boxes': self.boxes}
        return [kind for kind in LABELS if there[kind]]  # type: ignore[misc]

    @property
    def label(self) -> LabelKind:
        """The most exact kind of labels.

        Raises:
            UserError: There are none.
        """
        if not self.labels:
            raise UserError(
                f'Sequence {self.name} has no labels: expected masks/, points.txt or boxes beside its frames.'
            )
        return self.labels[0]

    def read_frame(self, place: int) -> np.ndarray:
        """(H, W) grey values as stored; of ``Mix`` uint8 where they are whole numbers up to 255, else float32.

        Raises:
            UserError: It cannot be read.
        """
        path = self.frames[place]
        if path.suffix != '.mat':
            return read_image(path)
        values = read_maps(path, [_MIX], dimensions=3)[_MIX]
        if not len(values):
            raise UserError(f'{path}: expected frames in {_MIX!r}, got none.')
        frame = finite(values[-1], f'Cannot read {path}')
        is_whole = frame.min() >= 0 and frame.max() <= 255 and bool((frame == np.rint(frame)).all())
        return frame.astype(np.uint8) if is_whole else frame

    def shape(self, place: int) -> tuple[int, int]:
        """(H, W) of a frame, of pictures by their header alone.

        Raises:
            UserError: It cannot be read.
        """
        height, width = self.read_frame(place).shape if self.is_mix else image_shape(self.frames[place])
        return height, width

    def check_window(self, window: int, count: int) -> None:
        """Raises UserError where the first ``count`` frames are fewer than a window, or of several sizes."""
        cut = f', cut to {count},' if count < len(self) else ''
        check_length(count, window, f'Sequence {self.name}{cut}')
        first = self.shape(0)
        for place in range(count):
            check_size(self.frames[place], self.shape(place), first, self.name)

    def read_points(self) -> list[np.ndarray]:
        """Row and column of the targets of each frame, (targets, 2) float.

        Raises:
            UserError: No such file, another number of lines than of frames, or a line that is none.
        """
        return self._known_points

    @cached_property
    def _known_points(self) -> list[np.ndarray]:
        return [places[~np.isnan(places).any(axis=1)] for places in self._points]

    @cached_property
    def _points(self) -> list[np.ndarray]:
        if self.points is None:
            raise UserError(
                f'Sequence {self.name} has no file of points: expected points.txt beside its images, or the folder '
                'above data/SEQ and anno/SEQ.txt.'
            )
        lines = _lines(self.points)
        if len(lines) != len(self):
            raise UserError(
                f'{self.points} has {len(lines)} lines for {len(self)} frames: expected one a frame, None where there '
                'is no target.'
            )
        return [_points(line, self.points, number) for number, line in enumerate(lines, 1)]

    def read_boxes(self, place: int) -> np.ndarray:
        """Boxes of a frame, (targets, 4): first row, first column, last row, last column.

        Raises:
            UserError: Its file is missing or holds something else.
        """
        path = self.label_file(place, 'boxes')
        boxes = []
        for number, line in enumerate(_lines(path), 1):
            values = _numbers(line, path, number)
            if len(values) != 4 or values[0] > values[2] or values[1] > values[3]:
                raise UserError(f'{path}, line {number}: expected x1 y1 x2 y2, got {line[:60]!r}.')
            boxes.append([values[1], values[0], values[3], values[2]])
        return np.array(boxes, float).reshape(-1, 4)

    def read_points_in(self, place: int, shape: tuple[int, int]) -> np.ndarray:
        """(row, column) of each target of a frame of shape (H, W), (targets, 2).

        Raises:
            UserError: As :meth:`read_points`, or a target lies outside of the frame.
        """
        points = self.read_points()[place]
        pixels = np.floor(points + 0.5)
        if (pixels < 0).any() or (pixels >= shape).any():
            raise UserError(
                f'{self.points}, line {place + 1}: a target outside of its frame of {shape[1]} × {shape[0]} '
                '(columns × rows): correct the line.'
            )
        return points

    def read_places(self, place: int, kind: LabelKind) -> np.ndarray | None:
        """(row, column) of each target, (targets, 2), in the order of boxes or of a file of points.

        NaN of a target that is not there though one behind it is (``0 0 20 30``); None of masks, which have no order.

        Raises:
            UserError: As :meth:`read_points` and :meth:`read_boxes`.
        """
        if kind == 'boxes':
            boxes = self.read_boxes(place)
            return (boxes[:, :2] + boxes[:, 2:]) / 2
        return self._points[place] if kind == 'points' and self.points else None

    def check_labels(self, kind: LabelKind, count: int) -> None:
        """Raises UserError where one of the first ``count`` frames has no label, or the file of points is wrong."""
        if kind == 'points' and (self.points or not self.point_masks):
            self.read_points()
            return
        for place in range(count):
            self.label_file(place, kind)

    def read_label(self, place: int, kind: LabelKind, shape: tuple[int, int], radius: int = 1) -> np.ndarray:
        """The targets of a frame as a mask, (H, W) bool: where :meth:`read_numbers` is not 0."""
        return self.read_numbers(place, kind, shape, radius) > 0

    def read_numbers(self, place: int, kind: LabelKind, shape: tuple[int, int], radius: int = 1) -> np.ndarray:
        """The targets of a frame: points and boxes each with a number of its own; masks, which do not tell, with 1.

        Where two overlap, the smaller one is in front.

        Args:
            place: Of the frame.
            kind: Which labels.
            shape: (H, W) of the frame.
            radius: Pixels around a point that belong to its target, to each side.

        Returns:
            (H, W) int32, 0 where there is none.

        Raises:
            UserError: The label is missing, of another size than its frame, outside of it, or no mask.
        """
        if kind not in self.labels:
            known = ', '.join(self.labels) or 'none'
            raise UserError(f'Sequence {self.name} has no {kind}: expected one of its kinds of labels, {known}.')
        if kind == 'masks' or (kind == 'points' and self.points is None):
            path = self.label_file(place, kind)
            mask = read_given_mask(path)
            if mask.shape != shape:
                raise UserError(
                    f'{path} is {mask.shape[0]} × {mask.shape[1]}, its frame {shape[0]} × {shape[1]}: replace one.'
                )
            if kind == 'masks':
                return mask.astype(np.int32)
            boxes = boxes_around(np.argwhere(mask), radius)
        elif kind == 'points':
            boxes = boxes_around(self.read_points_in(place, shape), radius)
        else:
            boxes = self.read_boxes(place)
            if len(boxes) and ((boxes < 0).any() or (boxes[:, 2:] >= shape).any()):
                raise UserError(f'{self.boxes[self.frames[place].stem]}: a box outside of its frame: correct the file.')
        return paint_boxes(boxes, shape)

    def label_file(self, place: int, kind: LabelKind) -> Path:
        """The file with the mask, the points' mask or the boxes of a frame.

        Raises:
            UserError: There is none.
        """
        files = {'masks': self.masks, 'points': self.point_masks, 'boxes': self.boxes}[kind]
        stem = self.frames[place].stem
        what = 'boxes' if kind == 'boxes' else 'mask'
        if stem not in files:
            near = next(iter(files.values())).parent if files else self.frames[place].parent
            raise UserError(f'{self.frames[place]} has no {what} in {near}: expected one a frame.')
        return files[stem]


def boxes_around(points: np.ndarray, radius: int) -> np.ndarray:
    """Squares around points (…, 2), rounded half up to pixels, as boxes (…, 4) for :func:`paint_boxes`."""
    return np.tile(np.floor(points + 0.5), 2) + (-radius, -radius, radius, radius)


def paint_boxes(boxes: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Boxes as pixels with a number of each, smaller ones in front of larger ones.

    Args:
        boxes: (n, 4), first row, first column, last row, last column; what is outside of the frame is left out.
        shape: (H, W).

    Returns:
        (H, W) int32, 0 where there is none.
    """
    numbers = np.zeros(shape, np.int32)
    sizes = boxes[:, 2:] - boxes[:, :2]
    order = np.argsort(-np.prod(sizes + 1, axis=1), kind='stable')
    for number, (top, left, bottom, right) in enumerate(boxes[order].astype(int), 1):
        numbers[max(top, 0) : bottom + 1, max(left, 0) : right + 1] = number
    return numbers


def _lines(path: Path) -> list[str]:
    try:
        text = read_regular(path, 'label', _LONGEST).decode('utf-8-sig')
    except UnicodeDecodeError:
        raise UserError(f'Cannot read {path}: expected text, a line of numbers a frame or target.') from None
    return [line.strip() for line in text.rstrip().splitlines()]


def _numbers(line: str, path: Path, number: int) -> list[float]:
    try:
        values = [float(word) for word in re.split(r'[,\s]+', line) if word]
    except ValueError:
        values = [math.nan]
    if not all(map(math.isfinite, values)):
        raise UserError(f'{path}, line {number}: expected numbers, got {line[:60]!r}.')
    return values


def _points(line: str, path: Path, number: int) -> np.ndarray:
    values = [] if line.lower() in ('none', '') else _numbers(line, path, number)
    if len(values) % 2:
        raise UserError(f'{path}, line {number}: expected x y for each target, got {line[:60]!r}.')
    pairs = np.array(values, float).reshape(-1, 2)[:, ::-1]
    return np.where((pairs != 0).any(axis=1, keepdims=True), pairs, np.nan)


def find_sequences(root: str | Path) -> list[FrameSequence]:
    """All sequences below a folder, by part and name, numbers in them by their size.

    Where several parts have one of the same name, it is called ``train/NAME``, ``val/NAME``.

    Raises:
        UserError: None there; frames without numbers or with a gap between them; a sequence twice.
    """
    root = Path(root)
    found: dict[tuple[str, str], tuple[int, FrameSequence]] = {}
    holders = [(folder, files, folder.relative_to(root).parts) for folder, files in _folders(root)]
    beside: dict[tuple[str, ...], set[str]] = {}
    for *_, parts in holders:
        for place, word in enumerate(words := _words(parts)):
            beside.setdefault(words[:place], set()).add(word)
    for folder, files, parts in holders:
        words = _words(parts)
        part = next((word for at, word in enumerate(words[:-1]) if _is_part(word, beside[words[:at]])), '')
        name = '/'.join(word for word in words if word != part) or root.name
        rank = int(any(word.lower() == _MIX.lower() for word in parts))
        key = part.lower(), name
        if key in found and found[key][0] == rank:
            other = found[key][1].frames[0].parent
            raise UserError(f'{other} and {folder} are both frames of sequence {name}: keep one of them.')
        if key not in found or rank < found[key][0]:
            found[key] = rank, _sequence(root, folder, name, part.lower(), files)
    if not found:
        raise UserError(
            f'{root} holds no sequences: expected folders of numbered frames, such as SEQ/images/0001.png with '
            'SEQ/points.txt (datasets/README.md lists the layouts).'
        )
    times = Counter(name for _, name in found)
    ordered = (found[key][1] for key in sorted(found, key=lambda key: (key[0], _natural(key[1]))))
    return [one if times[one.name] == 1 else replace(one, name=f'{one.part}/{one.name}'.lstrip('/')) for one in ordered]


def _is_part(word: str, beside: set[str]) -> bool:
    """``train`` and ``test60`` are parts among parts; ``valley`` is one beside ``test_a`` alone."""
    kinds = [match and match[1].lower() for match in map(_PART.fullmatch, beside)]
    spelling = re.sub(r'[\d_]*$', '', word.lower())
    return all(kinds) and (any(spelling in spellings for spellings in PARTS.values()) or len({*kinds}) > 1)


def _natural(text: str) -> list[tuple[int, str]]:
    return [(int(word), '') if word.isdigit() else (-1, word) for word in re.split(r'(\d+)', text)]


def _folders(root: Path) -> Iterator[tuple[Path, list[Path]]]:
    """Folders that hold frames, with these."""
    if not root.is_dir():
        raise UserError(f'{root}: no such folder of sequences.')
    labels = {*_MASK_FOLDERS, _POINT_MASKS, *_POINT_FOLDERS}
    for folder, names, _ in os.walk(root):
        names[:] = sorted(name for name in names if name.lower() not in labels and is_visible(name))
        is_mix = Path(folder).name.lower() == _MIX.lower()
        suffixes = ('.mat',) if is_mix else IMAGE_SUFFIXES
        if frames := list_files(folder, suffixes):
            yield Path(folder), frames


def frame_number(file: Path) -> int | None:
    """The number at the end of the name of a frame, None where there is none."""
    number = re.search(r'\d+$', file.stem)
    return None if number is None else int(number[0])


def in_order(files: Iterable[Path]) -> tuple[Path, ...]:
    """The frames of a sequence by their numbers.

    Raises:
        UserError: One without a number, two of one, or one missing between others.
    """
    numbers: dict[int, Path] = {}
    for file in files:
        number = frame_number(file)
        if number is None:
            raise UserError(f'{file}: expected frames with numbers, such as 0001.png, which tell their order.')
        if number in numbers:
            raise UserError(f'{file} and {numbers[number].name} have one number: keep one of them.')
        numbers[number] = file
    ordered = sorted(numbers)
    for before, after in pairwise(ordered):
        if after != before + 1:
            raise UserError(
                f'{numbers[before].parent}: frame {before + 1} is missing between {numbers[before].name} and '
                f'{numbers[after].name}; a window would join frames that do not follow each other: add it, or put the '
                'frames from there on into a folder of their own.'
            )
    return tuple(numbers[number] for number in ordered)


def _sequence(root: Path, folder: Path, name: str, part: str, files: list[Path]) -> FrameSequence:
    frames = in_order(files)
    stems = {file.stem for file in frames}
    above = folder.parent if folder.name.lower() in _IMAGE_FOLDERS else folder
    parts = folder.relative_to(root).parts
    beside_images = [
        root.joinpath(*parts[:at], where, *parts[at + 1 : -1], f'{parts[-1]}.txt')
        for at, word in enumerate(parts[:-1])
        if word.lower() in _IMAGE_FOLDERS
        for where in _POINT_FOLDERS
    ]
    texts = [above / 'points.txt', *beside_images, *(root / where / f'{name}.txt' for where in _POINT_FOLDERS)]
    beside = {file.stem: file for file in list_files(folder, ('.txt',)) if file.stem in stems}
    return FrameSequence(
        name,
        part,
        frames,
        _beside(root, folder, _MASK_FOLDERS, stems),
        _beside(root, folder, (_POINT_MASKS,), stems),
        next((text for text in texts if text.is_file()), None),
        beside,
    )


def _beside(root: Path, folder: Path, names: tuple[str, ...], stems: set[str]) -> dict[str, Path]:
    """Label files of frames: in the folder of that name where the path to the frames says images, or within."""
    parts = folder.relative_to(root).parts
    places = [number for number, part in enumerate(parts) if part.lower() in _IMAGE_FOLDERS]
    for name in names:
        options = [root.joinpath(*parts[:at], name, *parts[at + 1 :]) for at in reversed(places)]
        for option in (*options, folder / name):
            files = list_files(option, IMAGE_SUFFIXES)
            if found := {file.stem: file for file in files if file.stem in stems}:
                return found
    return {}


def _find_root(dataset: str, data_root: str | Path | None) -> Path:
    """The folder of a data set."""
    base = resolve_data_root(data_root)
    folders = sorted(folder for folder in base.iterdir() if folder.is_dir() and is_visible(folder.name))
    root = next((folder for folder in folders if simplify(folder.name) == simplify(dataset)), None)
    if root is None:
        raise unknown_name(f'data set of sequences under {base}', dataset, [folder.name for folder in folders])
    return root


def open_sequences(dataset: str, split: str = 'test', data_root: str | Path | None = None) -> list[FrameSequence]:
    """The sequences of one split. A sequence is in one split alone, and so is every frame.

    The split is that of the lists (``train.txt``, ``test.txt``, also in ``img_idx/``) or of the folders; without any,
    sequences are divided 60/20/20 by the SHA-256 of their names. Where there is no part for validation, ``'val'`` is a
    fifth of ``'trainval'``, and ``'train'`` the rest.

    Args:
        dataset: Folder under the data root, in any spelling.
        split: ``'train'``, ``'val'``, ``'trainval'``, ``'test'``, ``'all'`` or the name of a part (``'test60'``).
        data_root: Folder that holds the data sets; default ``DRPCA_DATA``, else ``./datasets``.

    Raises:
        UserError: No such folder, sequence or split; a frame in training and test (:func:`check_apart`).
    """
    root = _find_root(dataset, data_root)
    sequences = find_sequences(root)
    given = _given_parts(root, sequences)
    taken = {part: _take(given, sequences, part) for part in (*given, 'train', 'val', 'test')}
    check_apart(root, taken)
    found = _take(given, sequences, split.lower())
    if not found:
        known = dict.fromkeys((*SPLITS, *given))
        raise UserError(
            f'{root} has no split {split!r}. Known: '
            f'{", ".join(name for name in known if _take(given, sequences, name))}.'
        )
    return found


@dataclass(frozen=True)
class LabelledFrames(Split):
    """Frames of sequences with their labels as masks, as a split for scoring; see :func:`labelled_frames`."""

    places: dict[str, tuple[FrameSequence, int]] = field(default_factory=dict, repr=False)

    def read_image(self, name: str, grey: GreyRule = 'opencv') -> np.ndarray:
        self._pair(name)
        sequence, place = self.places[name]
        return read_image(sequence.frames[place], grey) if not sequence.is_mix else sequence.read_frame(place)

    def read_mask(self, name: str, rule: MaskRule = 'positive') -> np.ndarray:
        return self._read(name) > 0

    def read_numbers(self, name: str) -> np.ndarray | None:
        sequence, _ = self.places[name]
        return None if sequence.label == 'masks' else self._read(name)

    def _read(self, name: str) -> np.ndarray:
        self._pair(name)
        sequence, place = self.places[name]
        return sequence.read_numbers(place, sequence.label, sequence.shape(place))

    def read_targets(self, name: str) -> np.ndarray | None:
        """See :meth:`FrameSequence.read_places`."""
        sequence, place = self.places[name]
        return sequence.read_places(place, sequence.label)


def labelled_frames(root: str | Path, names: Iterable[str]) -> LabelledFrames | None:
    """The labelled sequences below a folder that score maps are of.

    Args:
        root: Folder of sequences, or of one, with masks, points or boxes.
        names: Of the maps, as :func:`drpca.predict` calls those of a folder of frames: a frame is meant by the end of
            its path, folders such as ``images`` aside (``sequence1/images/0001``, ``0001``).

    Returns:
        All frames of the sequences that any map is of; None where there are none with labels.

    Raises:
        UserError: A name fits frames of several sequences; a frame of a map has no label, though others of its sequence
            have; or frames have labels, but are no sequences.
    """
    try:
        found = [sequence for sequence in find_sequences(root) if sequence.labels]
    except UserError:
        if _looks_labelled(Path(root)):
            raise
        return None  # masks alone, for example
    top = Path(root).resolve()
    ends: dict[tuple[str, ...], list[tuple[int, int]]] = {}
    for number, sequence in enumerate(found):
        for place, frame in enumerate(sequence.frames):
            words = _words((top.name, *frame.relative_to(root).with_suffix('').parts))
            for start in range(len(words)):
                ends.setdefault(words[start:], []).append((number, place))
    named: dict[tuple[int, int], str] = {}
    for name in names:
        fitting = ends.get(_words(name.split('/')), [])
        if len(fitting) > 1:
            several = ' and '.join(found[number].name for number, _ in fitting[:2])
            raise UserError(f'--masks {root}: frames of {several} are called {name}: name the folder of one of them.')
        if fitting:
            named[fitting[0]] = name
    if not named:
        return None
    for number, place in named:
        kind, sequence = found[number].label, found[number]
        if kind != 'points' or sequence.points is None:
            sequence.label_file(place, kind)
    places: dict[str, tuple[FrameSequence, int]] = {}
    for number in dict.fromkeys(number for number, _ in sorted(named)):
        sequence = found[number]
        for place, frame in enumerate(sequence.frames):
            name = named.get((number, place)) or frame.relative_to(root).with_suffix('').as_posix()
            places[name] = sequence, place
    files = {name: (sequence.frames[place],) * 2 for name, (sequence, place) in places.items()}
    told = _told((name, *of) for name, of in places.items())
    return LabelledFrames(top.name, 'all', Path(root), list(places), str(root), files, places=places, **told)


def frames_of(dataset: str, split: str = 'test', data_root: str | Path | None = None) -> LabelledFrames:
    """All frames of one split of a data set of sequences, called ``SEQUENCE/NAME``.

    Args and errors as :func:`open_sequences`; labels need not be there before they are read.
    """
    root = _find_root(dataset, data_root)
    frames = [
        (f'{sequence.name}/{frame.stem}', sequence, place)
        for sequence in open_sequences(dataset, split, data_root)
        for place, frame in enumerate(sequence.frames)
    ]
    places = {name: (sequence, place) for name, sequence, place in frames}
    files = {name: (sequence.frames[place],) * 2 for name, sequence, place in frames}
    return LabelledFrames(root.name, split, root, list(places), str(root), files, places=places, **_told(frames))


def _told(frames: Iterable[tuple[str, FrameSequence, int]]) -> dict[str, Any]:
    """What a :class:`LabelledFrames` says of its sequences and labels; of names and what they stand for."""
    sequences: dict[str, list[str]] = {}
    kinds: set[str] = set()
    for name, sequence, _ in frames:
        sequences.setdefault(sequence.name, []).append(name)
        kinds.update(sequence.labels[:1])
    note = f'Labels are {" and ".join(sorted(kinds))}'
    squares = ', points as squares of 3 × 3 pixels' * ('points' in kinds)
    notes = f'{note}{squares}: IoU, F1 and other figures of pixels are not those of masks.'
    return {'sequences': sequences, 'notes': (notes,) if kinds - {'masks'} else ()}


def _looks_labelled(root: Path) -> bool:
    """Beside or around pictures there are labels of frames, or folders of them."""
    if not root.is_dir():
        return False
    labels = {*_MASK_FOLDERS, _POINT_MASKS, *_POINT_FOLDERS}
    has_labels = any(
        name.lower() in labels or name == 'points.txt' for _, names, files in os.walk(root) for name in (*names, *files)
    )
    return any(has_labels or any(file.with_suffix('.txt').is_file() for file in files) for _, files in _folders(root))


def _words(parts: Iterable[str]) -> tuple[str, ...]:
    return tuple(part for part in parts if part.lower() not in _IMAGE_FOLDERS)


def _given_parts(root: Path, sequences: list[FrameSequence]) -> dict[str, list[FrameSequence]]:
    """Parts by name, as lists or folders give them; spellings such as ``training`` count as the usual one."""
    listed: dict[str, dict[str, FrameSequence]] = {}
    by_name = {sequence.name: sequence for sequence in sequences}
    for file in sorted([*list_files(root, ('.txt',)), *list_files(root / 'img_idx', ('.txt',))]):
        match = re.match(r'(trainval|train|val|test)(_|$)', file.stem, re.IGNORECASE)
        if match:
            names = listed.setdefault(match[1].lower(), {})  # several lists of one part add up
            for line in filter(None, _lines(file)):
                words = [word for word in re.split(r'[\\/]', line)[:-1] if word.lower() not in _IMAGE_FOLDERS]
                if '/'.join(words) not in by_name:
                    raise UserError(f'{file} lists {line[:60]!r}, but there is no such sequence under {root}.')
                names['/'.join(words)] = by_name['/'.join(words)]
    if listed:
        return {part: list(names.values()) for part, names in listed.items()}
    given: dict[str, list[FrameSequence]] = {}
    usual = {spelling: name for name, spellings in PARTS.items() for spelling in spellings}
    for sequence in sequences:
        if sequence.part:
            given.setdefault(usual.get(sequence.part, sequence.part), []).append(sequence)
    return given


_KINDS_TOGETHER = ({'trainval', 'train'}, {'trainval', 'val'})


def check_apart(root: Path, parts: Mapping[str, Iterable[FrameSequence]]) -> None:
    """Frames of one sequence are in one part alone: no file twice, and no sequence cut in two.

    ``trainval`` may hold sequences of ``train`` and ``val``, and several tests may share some. Sizes of files are
    compared first, then some bytes in the middle; whole files are read only where these agree.

    Args:
        root: Folder of the sequences.
        parts: Sequences by what they are for.

    Raises:
        UserError: A frame is in two parts, under whatever name; or the frames of a sequence go on in another part, in
            one of the same name.
    """
    ends: dict[str, list[_Place]] = {}
    places = []
    for part, sequences in parts.items():
        for sequence in sequences:
            places += [_Place(part, sequence, frame, _size(frame)) for frame in sequence.frames]
            ends.setdefault(sequence.name.removeprefix(f'{sequence.part}/'), []).append(places[-1])
    for one, other in _shared(places, (attrgetter('size'), _middle, _content)):
        files = ', '.join(dict.fromkeys(str(place.frame.relative_to(root)) for place in (one, other)))
        raise UserError(
            f'{root}: sequence {one.sequence.name} of {one.part} is also in {other.part}, as {other.sequence.name} '
            f'({files}): frames of one sequence resemble each other; put both into one of them, or take one out.'
        )
    for same in ends.values():
        for one, other in permutations(same, 2):
            first = other.sequence.frames[0]
            is_later = (frame_number(first) or 0) > (frame_number(one.frame) or 0)
            if is_later and _are_apart({one.part, other.part}):
                raise UserError(
                    f'{root}: sequence {one.sequence.name} of {one.part} goes on in {other.part}, from '
                    f'{one.frame.relative_to(root)} to {first.relative_to(root)}: frames of one sequence resemble each '
                    'other; put all into one of the two, or give two recordings two names.'
                )


class _Place(NamedTuple):
    """Where a frame is used; its size is 0 where it is no file, which is told when it is read."""

    part: str
    sequence: FrameSequence
    frame: Path
    size: int


def _are_apart(parts: set[str]) -> bool:
    kinds = {'test' if part.startswith('test') else part for part in parts}
    return len(kinds) > 1 and not any(kinds <= together for together in _KINDS_TOGETHER)


def _shared(places: list[_Place], keys: tuple[Callable[[_Place], object], ...]) -> Iterator[tuple[_Place, _Place]]:
    """Two places of parts that are apart whose frames agree in all keys, of which later ones cost more."""
    if not _are_apart({place.part for place in places}):
        return
    if not keys:
        yield next(pair for pair in combinations(places, 2) if _are_apart({place.part for place in pair}))
        return
    groups: dict[object, list[_Place]] = {}
    for place in places:
        groups.setdefault(keys[0](place), []).append(place)
    for group in groups.values():
        yield from _shared(group, keys[1:])


def _size(path: Path) -> int:
    try:
        status = os.stat(path)
    except OSError:
        return 0
    return status.st_size if stat.S_ISREG(status.st_mode) else 0


def _middle(place: _Place) -> bytes:
    try:
        with open(place.frame if place.size else os.devnull, 'rb', buffering=0) as file:
            file.seek(place.size // 2)
            return file.read(_GLANCE)
    except OSError:
        return b''


def _content(place: _Place) -> bytes:
    return hashlib.sha256(read_regular(place.frame, 'image')).digest()


def _take(given: dict[str, list[FrameSequence]], sequences: list[FrameSequence], split: str) -> list[FrameSequence]:
    if split == 'all':
        return sequences
    if split in given and (split != 'train' or 'val' in given):
        return given[split]
    if split == 'train' and 'val' in given:
        validation = [sequence.frames for sequence in given['val']]
        return [sequence for sequence in given.get('trainval', []) if sequence.frames not in validation]
    if split not in SPLITS or (given and split == 'test'):
        return []
    known = [given[part] for part in ('trainval', 'train', 'val') if part in given]
    if given and not known:
        return []
    pool = [sequence for part in known[: 1 if 'trainval' in given else None] for sequence in part] or sequences
    order = sorted(
        pool, key=lambda sequence: hashlib.sha256(sequence.name.removeprefix(f'{sequence.part}/').encode()).digest()
    )
    num_test = 0 if given else min(max(1, round(_SHARE * len(order))), len(order) - 1)
    num_val = min(max(1, round(_SHARE * len(order))), len(order) - num_test - 1)
    pieces = {'test': order[:num_test], 'trainval': order[num_test:]}
    if split == 'trainval' and given:
        return pool
    pieces |= {'val': pieces['trainval'][:num_val], 'train': pieces['trainval'][num_val:]}
    kept = {id(sequence) for sequence in pieces[split]}
    return [sequence for sequence in pool if id(sequence) in kept]
