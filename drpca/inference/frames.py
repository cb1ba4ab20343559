"""Frames from whatever holds them: arrays, tensors, image files, folders, videos, cameras, iterables of these."""

from __future__ import annotations

import os
import re
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from glob import glob, has_magic
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any, TypeVar

import cv2
import numpy as np
import torch
from PIL import Image

from drpca.datasets.io import IMAGE_SUFFIXES, GreyRule, finite, image_shape, picture_values, read_image
from drpca.datasets.sequences import check_length, check_size, frame_number, in_order
from drpca.errors import UserError
from drpca.files import is_visible, list_files
from drpca.inference.video import camera_frames, video_facts, video_frames

MASK_FOLDERS = ('mask', 'masks', 'label', 'labels', 'gt', 'annotations')
"""Folders of images that nothing is to be found in."""
Frame = tuple[str, np.ndarray]
T = TypeVar('T')
_Pixels = np.ndarray | torch.Tensor | Image.Image


class CheckedFrames:
    """Frames that a :class:`FrameSource` gave: they are not looked at again."""

    def __init__(self, frames: Iterable[Frame]) -> None:
        self.frames = frames

    def __iter__(self) -> Iterator[Frame]:
        return iter(self.frames)


MIN_SIDE = 8
VIDEO_SUFFIXES = ('.avi', '.mp4', '.m4v', '.mov', '.mkv', '.mpg', '.mpeg', '.webm', '.wmv')


def is_camera(source: object) -> bool:
    """Whether ``source`` names a camera, by its number, or a stream, by its URL."""
    return (isinstance(source, int) and not isinstance(source, bool)) or (isinstance(source, str) and '://' in source)


def is_video(path: str | os.PathLike[str]) -> bool:
    """Whether a path has the suffix of a video."""
    return Path(path).suffix.lower() in VIDEO_SUFFIXES


def by_number(path: str | os.PathLike[str]) -> list[tuple[str, int]]:
    """A key of the order in which people count: 9.png comes before 10.png."""
    return [(text, int(digits or 0)) for text, digits in re.findall(r'(\D*)(\d*)', os.fspath(path))]


def list_images(folder: str | Path) -> list[Path]:
    """The images of a folder, by name, numbers in names as numbers.

    Raises:
        UserError: No image in it, or two images of one name.
    """
    folder = Path(folder)
    files = list_files(folder, IMAGE_SUFFIXES)
    if not files:
        raise UserError(f'{folder}: no images there (expected {", ".join(IMAGE_SUFFIXES)}).')
    for file, following in pairwise(sorted(files, key=lambda file: file.stem)):
        if file.stem == following.stem:
            raise UserError(f'{folder}: two images are called {file.stem}; their maps would overwrite each other.')
    return sorted(files, key=by_number)


def holds_masks(holder: str | Path, folder: str | Path) -> bool:
    """Whether a subfolder of ``folder`` holds masks, by the names on the way to it."""
    return bool({*Path(holder).relative_to(folder).parts} & {*MASK_FOLDERS})


def list_frames(folder: str | Path) -> tuple[list[tuple[str, Path]], list[str]]:
    """Names and files of the images of a folder; where it has none itself, of its subfolders, as ``SUBFOLDER/STEM``.

    Returns:
        The images, sorted, and the subfolders that hold images but are left out: all of them beside images, else those
        of masks.

    Raises:
        UserError: No image, or two images of one name.
    """
    folder = Path(folder)
    holders = sorted({file.parent for file in list_files(folder, IMAGE_SUFFIXES, deep=True)})
    if folder in holders or not holders:
        files = list_images(folder)
        return [(file.stem, file) for file in files], [str(holder) for holder in holders if holder != folder]
    masks = [holder for holder in holders if holds_masks(holder, folder)]
    used = [holder for holder in holders if holder not in masks] or holders
    files = [file for holder in used for file in list_images(holder)]
    frames = [((file.parent.relative_to(folder) / file.stem).as_posix(), file) for file in files]
    return frames, [str(holder) for holder in holders if holder not in used]


def find_inputs(texts: Sequence[str]) -> tuple[list[Path | tuple[str, Path]], str]:
    """Several files, folders and patterns (``frames/*.png``, ``**``), and what their results are called.

    Names of images tell their place below the folder that is common to all.

    Raises:
        UserError: One matches nothing, is not there, or holds no image; or two images or videos of one name.
    """
    paths: list[Path] = []
    for text in texts:
        found = (
            sorted(glob(text, recursive=True), key=by_number) if has_magic(text) and not Path(text).exists() else [text]
        )
        if not found:
            raise UserError(f'--input {text}: nothing is called so.')
        for match in found:
            stem_of(match)
        paths += [Path(match) for match in found if match == text or is_visible(Path(match).name)]
    paths = list(dict.fromkeys(paths))
    above = Path(os.path.commonpath([path.resolve().parent for path in paths]))
    frames: list[Path | tuple[str, Path]] = []
    for path in paths:
        place = path.resolve().relative_to(above)
        if path.is_dir():
            frames += [(f'{place.as_posix()}/{name}', file) for name, file in list_frames(path)[0]]
        else:
            frames.append(path if is_video(path) else (place.with_suffix('').as_posix(), path))
    names = Counter(frame[0] if isinstance(frame, tuple) else frame.stem for frame in frames)
    if names and names.most_common(1)[0][1] > 1:
        raise UserError(f'Two inputs are called {names.most_common(1)[0][0]}; their maps would overwrite each other.')
    return frames, above.name or 'frames'


def _files_of(item: Any) -> Iterable[Any]:
    """The files of a folder, each of which may be damaged by itself; anything else as it is."""
    if isinstance(item, str | os.PathLike) and Path(item).is_dir() and Path(item).suffix.lower() not in IMAGE_SUFFIXES:
        return list_frames(Path(item))[0]
    return [item]


def stem_of(path: str | os.PathLike[str]) -> str:
    """What the results of an image, a video or a folder are called.

    Raises:
        UserError: There is none; a link that leads to itself is none, either.
    """
    if not Path(path).exists():
        raise UserError(f'--input {path}: no such image, video or folder.')
    return Path(path).resolve().stem


def sequence_of(name: str) -> tuple[str, str]:
    """What tells the sequences of frames apart: every folder (``FOLDER/NAME``) is one, and so is every video
    (``STEM_000000``, …)."""
    folder, _, last = name.rpartition('/')
    stem, _, number = last.rpartition('_')
    return folder, stem if len(number) >= 6 and number.isdecimal() else ''


class FrameSource:
    """An iterable of ``(name, (H, W) array)``, one frame in memory at a time.

    Args:
        images: A (H, W) or (H, W, 1) array or tensor; a colour picture (H, W, 3 or 4), blue first as OpenCV reads it;
            several as (N, H, W), (N, 1, H, W) or (N, H, W, 1, 3 or 4); a Pillow image; the path of an image, a video or
            a folder of images; the number of a camera or the URL of a stream; or an iterable of arrays, Pillow images
            and paths, in which ``(name, array or Path)`` names a frame. The type of the values tells their scale: uint8
            and bool have their own, floats are in [0, 1], and uint16 and all other integers are counts
            (:class:`drpca.datasets.io.ValueRange`); floats of image files and of Pillow images may be counts, too.
        keep_going: Note what cannot be read in ``failed`` and go on with the next frame, instead of raising.
        min_side: Smallest height and width.
        grey: How colour files become grey; see :func:`drpca.datasets.io.read_image`.
        counts: Floats of arrays may have any values, not only those in [0, 1].

    Attributes:
        failed: One line for each frame or file that could not be read.
        skipped: Subfolders with images that were left out.
        files: Name of a frame → name of its image file, with suffix, for the images read so far.
        total: How many frames there are, None if that shows only at the end.
        rate: Frames per second of a video, None for anything else.
        ahead: Frames that a thread reads while earlier ones are worked on; 0: none.

    Raises:
        UserError: While iterating: no such file, damaged, of another kind of values or shape, or too small; a video
            that ends before the number of frames it announces; a camera that gives no more frames.
    """

    def __init__(
        self,
        images: Any,
        keep_going: bool = False,
        min_side: int = MIN_SIDE,
        grey: GreyRule = 'opencv',
        counts: bool = False,
    ) -> None:
        self.skipped: list[str] = []
        if isinstance(images, str | os.PathLike) and not is_camera(images) and Path(images).is_dir():
            images, self.skipped = list_frames(Path(images))
        self.images = images
        self.keep_going = keep_going
        self.min_side = min_side
        self.grey: GreyRule = grey
        self.counts = counts
        self.ahead = 0
        self.failed: list[str] = []
        self.files: dict[str, str] = {}
        is_counted = isinstance(images, list) and not any(isinstance(item, Path) and is_video(item) for item in images)
        self.total: int | None = len(images) if is_counted else None
        self.rate: float | None = None
        if isinstance(images, str | os.PathLike) and not is_camera(images):
            self.total, self.rate = video_facts(images) if is_video(images) else (1, None)
        self._unnamed = 0

    @property
    def names(self) -> list[str] | None:
        """Of all frames; None of arrays, videos, cameras and iterators, where they show at the end."""
        items = self.images if isinstance(self.images, list) else [self.images]
        named = [item if _is_named(item) else (None, item) for item in items]
        if is_camera(self.images) or not all(_is_file(item) for _, item in named):
            return None
        return [name or Path(item).stem for name, item in named]

    def check_sequences(self, window: int) -> None:
        """Makes sure of sequences for a detector that looks at several frames, and puts them into their order.

        Image files of folders and patterns are meant: each folder is a sequence, ordered by the numbers that its names
        end with, if all do. One that cannot be read then ends it all, since windows would join those around it. Of
        videos the number of frames that they announce counts.

        Args:
            window: Frames; of 1 nothing is asked.

        Raises:
            UserError: A sequence is shorter, has a gap in its numbers or frames of several sizes; or a header cannot be
                read.
        """
        if window == 1:
            return
        items = self.images if isinstance(self.images, list) else [self.images]
        ordered: list[Any] = []
        for key, group in groupby(items, lambda item: sequence_of(item[0]) if _is_named_file(item) else None):
            sequence = list(group)
            if key is None:
                for video in sequence:
                    if isinstance(video, str | os.PathLike) and not is_camera(video) and is_video(video):
                        count = video_facts(video)[0]
                        check_length(window if count is None else count, window, str(video))
            else:
                names = {file: name for name, file in sequence}
                files = in_order(names) if all(frame_number(file) is not None for file in names) else tuple(names)
                folder = files[0].parent
                check_length(len(files), window, str(folder))
                first = image_shape(files[0])
                for file in files[1:]:
                    check_size(file, image_shape(file), first, str(folder))
                sequence = [(names[file], file) for file in files]
                self.keep_going = False
            ordered += sequence
        if isinstance(self.images, list):
            self.images = ordered

    def __iter__(self) -> Iterator[Frame]:
        return read_ahead(self._read(), self.ahead) if self.ahead else self._read()

    def _read(self) -> Iterator[Frame]:
        self._unnamed = 0
        is_one = isinstance(self.images, str | os.PathLike | _Pixels) or _is_named(self.images)
        if is_camera(self.images):
            parts: Iterable[Iterator[Frame]] = [camera_frames(self.images)]
        else:
            wholes = [self.images] if is_one else self.images
            parts = (self._frames(item) for whole in wholes for item in _files_of(whole))
        for frames in parts:
            while True:
                try:
                    name, frame = next(frames)
                    self._check(name, frame)
                except StopIteration:
                    break
                except UserError as error:
                    if not self.keep_going:
                        raise
                    self.failed.append(str(error))
                else:
                    yield name, frame

    def _frames(self, item: Any) -> Iterator[Frame]:
        name, item = item if _is_named(item) else (None, item)
        if isinstance(item, str | os.PathLike):
            path = Path(item)
            if is_video(path):
                yield from video_frames(path)
            else:
                name = name or path.stem
                self.files[name] = name + path.suffix if Path(name).name == path.stem else path.name
                yield name, read_image(path, self.grey)
        elif isinstance(item, _Pixels):
            for frame in [picture_values(item)] if isinstance(item, Image.Image) else _split(self._array(item)):
                self._unnamed += name is None
                yield name or f'frame_{self._unnamed - 1:06d}', frame
        else:
            raise UserError(
                f'Expected an array, a tensor, a Pillow image or a path as an image, got {type(item).__name__}.'
            )

    def _array(self, item: np.ndarray | torch.Tensor) -> np.ndarray:
        """As uint8, uint16, or float32: in [0, 1], or counts."""
        if isinstance(item, torch.Tensor):
            try:
                tensor = item.detach().cpu()
                item = (tensor.float() if tensor.is_floating_point() else tensor).numpy()
            except (RuntimeError, TypeError, NotImplementedError) as error:
                reason = str(error).split('.')[0][:100]
                raise UserError(f'Expected a dense tensor of numbers, got one that cannot be read: {reason}.') from None
        kind = item.dtype.kind
        if kind not in 'buif':
            raise UserError(f'Expected bool, integers or floats as grey values, got {item.dtype}.')
        if kind == 'f' and item.size and not self.counts and not (item.min() >= 0 and item.max() <= 1):
            raise UserError(
                'Expected float values in [0, 1], got others (or NaN); scale them first, or give a range: '
                "'minmax', two values."
            )
        if kind == 'b':
            return item.astype(np.uint8) * np.uint8(255)
        if item.dtype in (np.uint8, np.uint16):
            return item
        with np.errstate(over='ignore'):
            return finite(item.astype(np.float32), 'Cannot take array')

    def _check(self, name: str, frame: np.ndarray) -> None:
        if min(frame.shape) < self.min_side:
            raise UserError(
                f'{name} is {frame.shape[0]} × {frame.shape[1]} pixels; at least '
                f'{self.min_side} × {self.min_side} are needed.'
            )


def read_ahead(items: Iterator[T], count: int) -> Iterator[T]:
    """The same, in the same order; a thread makes up to ``count`` of them before they are asked for."""
    end: Any = object()
    with ThreadPoolExecutor(1) as pool:
        waiting = deque(pool.submit(next, items, end) for _ in range(count))
        while (item := waiting.popleft().result()) is not end:
            waiting.append(pool.submit(next, items, end))
            yield item


def _is_named(item: Any) -> bool:
    return (
        isinstance(item, tuple) and len(item) == 2 and isinstance(item[0], str) and isinstance(item[1], Path | _Pixels)
    )


def _is_named_file(item: Any) -> bool:
    return _is_named(item) and isinstance(item[1], Path)


def _is_file(item: Any) -> bool:
    return isinstance(item, str | os.PathLike) and not is_video(item) and not Path(item).is_dir()


def _split(array: np.ndarray) -> Iterator[np.ndarray]:
    """An array as (H, W) frames."""
    if array.ndim == 3 and array.shape[2] == 1:
        yield array[..., 0]
    elif array.ndim == 3 and array.shape[2] in (3, 4) and array.shape[0] not in (1, 3, 4):
        is_scaled = array.dtype == np.float32 and array.size and array.min() >= 0 and array.max() <= 1
        grey = cv2.cvtColor(np.ascontiguousarray(array[..., :3]), cv2.COLOR_BGR2GRAY)
        yield np.minimum(grey, 1) if is_scaled else grey  # its weights add up to 1 but for rounding
    elif array.ndim == 2:
        yield array
    elif array.ndim == 3 or (array.ndim == 4 and array.shape[1] == 1):
        yield from array.reshape(-1, *array.shape[-2:])
    elif array.ndim == 4 and array.shape[3] in (1, 3, 4):
        for picture in array:
            yield from _split(picture)
    else:
        raise UserError(
            'Expected (H, W), (H, W, 1, 3 or 4), (N, H, W), (N, 1, H, W) or (N, H, W, 1, 3 or 4), got shape '
            f'{array.shape}.'
        )
