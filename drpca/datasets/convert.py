"""From boxes, outlines and points to masks, and from masks to label files."""

from __future__ import annotations

import json
import math
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from scipy import ndimage
from skimage.draw import polygon

from drpca.datasets.io import parallel_map, read_image
from drpca.datasets.labels import (
    CARD,
    Conversion,
    Labelled,
    Labels,
    Outlined,
    Target,
    coco_text,
    components,
    read_labels,
    table_text,
    voc_text,
    yolo_text,
)  # fmt: skip
from drpca.datasets.splits import Split, available_splits, find_dataset, open_split, read_list
from drpca.errors import UserError, unknown_name
from drpca.files import cannot_write, list_files, make_folder, replace_quickly, save_text

RULES = ('grow', 'box')
FORMATS = ('coco', 'yolo', 'voc', 'csv', 'points')
_AROUND = 6
_REACH = 7
_CERTAIN = 3.0
_LEVEL = 0.3
_EPSILON = 1e-3


def convert_labels(source: str | Path, out: str | Path, *, rule: str = 'grow', link: bool = False) -> Conversion:
    """Makes a data set with masks of images with label files.

    The format, and which label belongs to which image and part, show in the files. Outlines (polygons, run lengths of
    COCO) become masks as they are. Of boxes and points nobody knows the mask, so one is made by a rule, and the data
    set's card says that the labels are pseudo labels:

    'box': every pixel that the box touches; of a point, 3 × 3 pixels.
    'grow': the 8-connected pixels of the box that differ from the surroundings by at least 0.3 of what the most
    different one does, in the same direction, and are connected to that. The surroundings are the 6 pixels around the
    box, by their median. Of a point, the box is 15 × 15 pixels and the most different pixel one of the 3 × 3 nearest.
    Where that pixel differs by less than 3 σ (1.4826 times the median absolute deviation around), as 'box'.

    Args:
        source: Folder with images and COCO, YOLO, VOC, table or point files, wherever in it.
        out: Folder of the data set, made anew.
        rule: 'grow' or 'box'.
        link: Link the images instead of copying them.

    Raises:
        UserError: An unknown rule; no labels there; damaged ones; a box outside its image; ``out`` is there already.
    """
    source, out = Path(source), Path(out)
    labels = read_labels(source) if source.is_dir() else None
    if labels is None:
        raise UserError(f'{source} holds no images with labels (COCO, YOLO, VOC, tables of boxes or points).')
    if os.path.lexists(out):
        raise UserError(f'{out} is there already: name another folder.')
    return write_masks(labels, source, out, rule, link)


def write_masks(labels: Labels, source: Path, out: Path, rule: str, link: bool) -> Conversion:
    """Of labels that were read from ``source``; see :func:`convert_labels`."""
    if rule not in RULES:
        raise unknown_name('rule', rule, RULES)
    parts = settle_parts({image.part for image in labels.images})
    names = _names(source, labels.images, parts)

    put = os.symlink if link else shutil.copyfile

    def place(image: Labelled) -> list[str]:
        mask, how = draw_targets(image, rule)
        folder, name = out / parts[image.part], names[image.image]
        put_file(put, image.image, folder / 'images' / f'{name}{image.image.suffix}')
        replace_quickly(folder / 'masks' / f'{name}.png', cv2.imencode('.png', mask)[1].tobytes())
        return how

    make_folder(out)
    for part in set(parts.values()):
        for kind in ('images', 'masks'):
            (out / part / kind).mkdir(parents=True)
    how = [made for targets in parallel_map(place, labels.images) for made in targets]
    if set(parts.values()) == {''}:
        _copy_lists(source, out, set(names.values()))
    counts = {key: how.count(key) for key in ('outlined', 'grown', 'filled')}
    conversion = Conversion(
        labels.format, rule, len(how) > counts['outlined'], len(labels.images), len(how), **counts,
        left_out=len(labels.left_out),
    )  # fmt: skip
    save_text(out / CARD, json.dumps(asdict(conversion), indent=1) + '\n')
    return conversion


def settle_parts(parts: Iterable[str]) -> dict[str, str]:
    """Part → what it is called here: a lone part is the whole, and without a test part, 'val' is the one held out."""
    parts = set(parts)
    if len(parts) == 1:
        return dict.fromkeys(parts, '')
    return {part: 'test' if part == 'val' and 'test' not in parts else part or 'trainval' for part in parts}


def draw_targets(image: Labelled, rule: str) -> tuple[np.ndarray, list[str]]:
    """The mask (H, W) of an image, 0 and 255, and how each target got there: 'outlined', 'grown' or 'filled'.

    Raises:
        UserError: The image is damaged, of another size than the labels say, or a target lies outside.
    """
    pixels = read_image(image.image)
    if image.size not in (None, pixels.shape):
        height, width = image.size or (0, 0)
        raise UserError(
            f'{image.source} is for an image of {width} × {height}, but {image.image} is {pixels.shape[1]} × '
            f'{pixels.shape[0]} (width × height): repair it.'
        )
    mask, how = np.zeros(pixels.shape, np.uint8), []
    for target in image.targets:
        own = _outline(target, pixels.shape, image.source)
        how.append('outlined')
        if own is None:
            window = _window(target, pixels.shape, _REACH if rule == 'grow' else 1)
            if window is None:
                raise UserError(
                    f'{image.source}: a target at x {target.left:g}, y {target.top:g} lies outside {image.image} '
                    f'({pixels.shape[1]} × {pixels.shape[0]}): repair it.'
                )
            own = _grow(pixels, window, target) if rule == 'grow' else None
            how[-1] = 'filled' if own is None else 'grown'
            if own is None:
                own = np.zeros(pixels.shape, bool)
                own[_window(target, pixels.shape, 1) or window] = True
        mask[own] = 255
    return mask, how


def _outline(target: Target, shape: tuple[int, ...], source: Path) -> np.ndarray | None:
    """A mask from polygons (pixels whose middle lies inside) or run lengths; None where there are none."""
    if target.runs:
        if sum(target.runs) != math.prod(shape) or min(target.runs) < 0:
            raise UserError(f'{source}: run lengths of {sum(target.runs)} pixels for an image of {math.prod(shape)}.')
        values = np.repeat(np.arange(len(target.runs)) % 2 == 1, target.runs)
        return values.reshape(shape, order='F')
    if not target.polygons:
        return None
    mask = np.zeros(shape, bool)
    for outline in target.polygons:
        mask[polygon(np.array(outline[1::2]) - 0.5, np.array(outline[::2]) - 0.5, shape)] = True
    return mask if mask.any() else None


def _window(target: Target, shape: tuple[int, ...], reach: int) -> tuple[slice, slice] | None:
    """The pixels of a box, or those within ``reach`` of a point; None: they are outside."""
    if target.width:
        left, right = math.floor(target.left + _EPSILON), math.ceil(target.left + target.width - _EPSILON)
        top, bottom = math.floor(target.top + _EPSILON), math.ceil(target.top + target.height - _EPSILON)
    else:
        x, y = math.floor(target.left), math.floor(target.top)
        if not (0 <= x < shape[1] and 0 <= y < shape[0]):
            return None
        left, right, top, bottom = x - reach, x + reach + 1, y - reach, y + reach + 1
    rows, columns = slice(max(top, 0), min(bottom, shape[0])), slice(max(left, 0), min(right, shape[1]))
    return (rows, columns) if rows.start < rows.stop and columns.start < columns.stop else None


def _grow(pixels: np.ndarray, window: tuple[slice, slice], target: Target) -> np.ndarray | None:
    """The pixels of a target by its contrast, see :func:`convert_labels`; None where it has not enough."""
    rows, columns = window
    around = np.s_[
        max(rows.start - _AROUND, 0) : rows.stop + _AROUND, max(columns.start - _AROUND, 0) : columns.stop + _AROUND
    ]
    outside = np.ones(pixels.shape, bool)
    outside[window] = False
    ring = pixels[around][outside[around]].astype(np.float64)
    if not len(ring):
        return None
    middle = np.median(ring)
    difference = pixels[window] - middle
    near = np.zeros(pixels.shape, bool)
    near[window if target.width else _window(target, pixels.shape, 1) or window] = True
    strength = np.where(near[window], np.abs(difference), -1)
    seed = np.unravel_index(strength.argmax(), strength.shape)
    peak = difference[seed]
    if abs(peak) < max(_CERTAIN * 1.4826 * np.median(np.abs(ring - middle)), 1):
        return None
    labels, _ = ndimage.label(np.sign(peak) * difference >= _LEVEL * abs(peak), np.ones((3, 3)))
    own = np.zeros(pixels.shape, bool)
    own[window] = labels == labels[seed]
    return own


def _names(source: Path, images: Sequence[Labelled], parts: dict[str, str]) -> dict[Path, str]:
    """Image → its name in the data set: its own, or where several in a part are called so, with the folders before."""
    taken: dict[tuple[str, str], int] = {}
    for image in images:
        key = (parts[image.part], image.image.stem)
        taken[key] = taken.get(key, 0) + 1
    return {
        image.image: image.image.stem
        if taken[parts[image.part], image.image.stem] == 1
        else '_'.join(image.image.relative_to(source).with_suffix('').parts)
        for image in images
    }


def settle_lists(stems: Iterable[str]) -> dict[str, str]:
    """List → its name here, of those that are kept: without a list of test images, 'val' is the one held out."""
    stems = set(stems)
    if 'val' not in stems or any(stem.startswith('test') for stem in stems):
        return {stem: stem for stem in stems}
    return {stem: 'test' if stem == 'val' else stem for stem in stems if stem != 'trainval'}


def _copy_lists(source: Path, out: Path, names: set[str]) -> None:
    """Takes along the lists of splits: text files that name nothing but images."""
    lists: dict[str, list[str]] = {}
    for path in list_files(source, ('.txt',), deep=True):
        with suppress(UserError):
            members = [name for _, name in read_list(path)]
            if members and names.issuperset(members):
                lists.setdefault(path.stem.lower(), members)
    for stem, name in settle_lists(lists).items():
        save_text(out / f'{name}.txt', '\n'.join(lists[stem]) + '\n')


def export_labels(
    dataset: str | Path, to: str, out: str | Path, *, data_root: str | Path | None = None, link: bool = False
) -> dict[str, int]:
    """Writes the masks of a data set as label files, one target per 8-connected component, beside its images.

    ======  =========================================================================================
    coco    ``images/SPLIT/``, ``annotations/instances_SPLIT.json``; masks exact, as run lengths
    yolo    ``images/SPLIT/``, ``labels/SPLIT/NAME.txt``, ``data.yaml``; one class
    voc     ``JPEGImages/``, ``Annotations/NAME.xml``, ``ImageSets/Main/SPLIT.txt``
    csv     ``images/SPLIT/``, ``boxes_SPLIT.csv``: image, x, y, width, height
    points  ``images/SPLIT/``, ``points_SPLIT.csv``: image, x, y; the mean of the pixels' columns and rows
    ======  =========================================================================================

    Args:
        dataset: Name of a data set, or a folder in a known layout.
        to: One of ``FORMATS``.
        out: Folder for them, made anew.
        data_root: Folder of the data sets; default ``DRPCA_DATA``, else ``./datasets``.
        link: Link the images instead of copying them.

    Returns:
        By split, its number of images.

    Raises:
        UserError: An unknown format; no such data set; damaged masks; ``out`` is there already.
    """
    out = Path(out)
    if to not in FORMATS:
        raise unknown_name('format', to, FORMATS)
    if os.path.lexists(out):
        raise UserError(f'{out} is there already: name another folder.')
    folder = Path(dataset)
    if folder.is_dir() and len(folder.parts) > 1:
        dataset, data_root = folder.name, folder.parent
    name, tree = find_dataset(str(dataset), data_root)
    splits = [split for split in ('train', 'val', 'test') if split in available_splits(name, tree)]
    opened = [open_split(name, split, data_root) for split in splits]
    twice = [stem for stem, count in Counter(stem for split in opened for stem in split.names).items() if count > 1]
    if to == 'voc' and twice:
        raise UserError(f'VOC has one folder for all splits, and {twice[0]!r} is in several: take another format.')
    put = os.symlink if link else shutil.copyfile
    make_folder(out)
    for split in opened:
        folder = out / ('JPEGImages' if to == 'voc' else f'images/{split.split}')
        folder.mkdir(parents=True, exist_ok=True)
        for stem in split.names:
            put_file(put, split.image_path(stem), folder / split.image_path(stem).name)
        _write_labels(out, to, split.split, parallel_map(partial(_outlined, split), split.names))
    if to == 'yolo':
        lines = ['path: .', *(f'{split}: images/{split}' for split in splits), 'names: {0: target}']
        save_text(out / 'data.yaml', '\n'.join(lines) + '\n')
    return {split.split: len(split) for split in opened}


def _outlined(split: Split, name: str) -> Outlined:
    mask = split.read_mask(name)
    return Outlined(split.image_path(name).name, (mask.shape[0], mask.shape[1]), components(mask))


def put_file(put: Callable[[Path, Path], object], file: Path, target: Path) -> None:
    """Copies, links or moves a file, as ``put`` does.

    Raises:
        UserError: That cannot be.
    """
    try:
        put(file.resolve(), target)
    except OSError as error:
        raise cannot_write(target, error) from None


def _write_labels(out: Path, to: str, split: str, images: Sequence[Outlined]) -> None:
    if to in ('csv', 'points'):
        name = f'{"boxes" if to == "csv" else "points"}_{split}.csv'
        save_text(out / name, table_text(images, to == 'points'))
    elif to == 'coco':
        (out / 'annotations').mkdir(exist_ok=True)
        save_text(out / f'annotations/instances_{split}.json', coco_text(images))
    else:
        folder = out / ('Annotations' if to == 'voc' else f'labels/{split}')
        folder.mkdir(parents=True, exist_ok=True)
        for image in images:
            file = folder / f'{Path(image.file).stem}.{"xml" if to == "voc" else "txt"}'
            replace_quickly(file, (voc_text if to == 'voc' else yolo_text)(image).encode())
        if to == 'voc':
            lists = out / 'ImageSets/Main'
            lists.mkdir(parents=True, exist_ok=True)
            save_text(lists / f'{split}.txt', ''.join(f'{Path(image.file).stem}\n' for image in images))
