"""Data sets on disk, by name, and their splits: one reader for all layouts in use.

>>> split = open_split('SIRSTv1', 'test')  # doctest: +SKIP
>>> split.read_image(split.names[0])       # doctest: +SKIP

A data set folder holds one or more *parts*, each a folder of images beside a folder of masks, and possibly
*lists*, text files that name the images of a split. That covers

======================  ==============================================================================
SIRST kit               ``PNGImages/``, ``SIRST/BinaryMask/NAME_pixels0.png``, ``Splits/train_v1.txt`` …
two parts               ``{trainval,test}/{images,masks}/`` (also ``train``, ``val``)
IRSTD-1K archive        ``IRSTD1k_Img/``, ``IRSTD1k_Label/``, lists where there are any
BasicIRSTD              ``images/``, ``masks/``, ``img_idx/{train,test}_NAME.txt``
MSHNet                  ``images/``, ``masks/``, ``trainval.txt``, ``test.txt``
DNANet                  ``images/``, ``masks/``, ``50_50/{train,test}.txt``
plain                   ``images/``, ``masks/``
parts within            ``images/{train,val,test}/``, ``masks/{train,val,test}/``
open-sirst-v2           ``mixed/``, ``annotations/masks/NAME_pixels0.png``, ``splits/train_full.txt`` …
one folder              ``NAME.png``, ``NAME_mask.png``
======================  ==============================================================================

Folder names are matched case-insensitively; an image and its mask may have different suffixes; the mask may
be called ``NAME_pixels0``, ``NAME_mask``, ``NAME_gt`` or ``NAME_label``.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import TypeVar

import numpy as np

from drpca.datasets.io import (
    IMAGE_SUFFIXES,
    GreyRule,
    MaskRule,
    is_mask,
    read_given_mask,
    read_image,
    read_mask,
    read_regular,
)
from drpca.errors import UserError, did_you_mean
from drpca.files import is_visible, list_files
from drpca.names import KNOWN_DATASETS, canonical_name, joined_names, simplify
from drpca.options import called

STANDARD_SPLITS = ('train', 'val', 'trainval', 'test', 'all')
_VAL_FRACTION = 0.2
_TEST_FRACTION = 0.2
_KIT_PREFIXES = ('sirstdevkit', 'opensirst')
_IMAGE_FOLDERS = ('images', 'image', 'imgs', 'img', 'pngimages', 'jpegimages', 'irstd1k_img', 'mixed')
_MASK_FOLDERS = (
    'masks', 'mask', 'labels', 'label', 'binarymask', 'sirst/binarymask', 'irstd1k_label', 'gt', 'groundtruth',
    'ground_truth', 'annotations/masks', 'annotations', 'annotation', 'segmentationclass',
)  # fmt: skip
PARTS = {
    'trainval': ('trainval',), 'train': ('train', 'training'), 'val': ('val', 'valid', 'validation'),
    'test': ('test', 'testing'),
}  # fmt: skip
LABEL_SUFFIXES = ('.txt', '.xml', '.json', '.csv')
_LIST_FOLDERS = ('splits', 'img_idx', '50_50', 'imagesets/main', 'imagesets/segmentation')
_LIST_STEM = re.compile(r'(train|val|test)', re.IGNORECASE)
_LONGEST_LIST = 2**26
_MASK_ENDING = re.compile(r'[_-](pixels\d+|masks?|gt|labels?)$', re.IGNORECASE)


@dataclass(frozen=True)
class Part:
    """A folder of images with its folder of masks.

    Attributes:
        name: '' for the only part of a data set, else 'trainval', 'test', ….
        images: Image file by name (file name without suffix), sorted by name.
        masks: Mask file by the name of its image.
        image_folder: Where the images are.
        mask_folder: Where the masks are.
    """

    name: str
    images: dict[str, Path]
    masks: dict[str, Path]
    image_folder: Path
    mask_folder: Path


@dataclass(frozen=True)
class Tree:
    """A data set folder as it was found.

    Attributes:
        root: The folder.
        parts: Parts by name; the single part of a layout without parts is called ''.
        lists: List file by name in lower case: its stem, or ``folder/stem`` where the stem is taken already.
        doubled: What is wrong where two folders are the same part, such as train/ and training/; '' otherwise.
    """

    root: Path
    parts: dict[str, Part]
    lists: dict[str, Path] = field(default_factory=dict)
    doubled: str = ''

    def __len__(self) -> int:
        return sum(len(part.images) for part in self.parts.values())

    def read_list(self, name: str) -> list[tuple[Part, str]]:
        """What the list called ``name`` holds: the part of each image, and its name.

        With several parts, the folder before a name tells the part (``trainval/000002``), or else the first one that
        has an image of that name.

        Raises:
            UserError: As :func:`read_list`.
        """
        members = []
        for folders, stem in read_list(self.lists[name]):
            named = [part for key, part in self.parts.items() if key in map(str.lower, folders)]
            holding = [part for part in named or self.parts.values() if stem in part.images]
            members.append(((holding or named or list(self.parts.values()))[0], stem))
        return members


def read_list(path: Path) -> list[tuple[list[str], str]]:
    """Reads a list file, one image a line: the folders before its name, and the name.

    Byte order mark, CRLF, blanks around a name, blank lines, a missing last newline and an image suffix after the name
    are all taken care of.

    Raises:
        UserError: The file is no UTF-8 text, or no regular file.
    """
    try:
        lines = read_regular(path, 'list', _LONGEST_LIST).decode('utf-8-sig').splitlines()
    except UnicodeDecodeError as error:
        raise UserError(
            f'Cannot read list {path}: expected UTF-8 text with one image name a line ({error}).'
        ) from error
    return [entry for entry in map(_entry, lines) if entry[1]]


def _entry(line: str) -> tuple[list[str], str]:
    """The folders and the image name in a line of a list."""
    *folders, name = re.split(r'[\\/]', line.strip())
    return folders, Path(name).stem if Path(name).suffix.lower() in IMAGE_SUFFIXES else name


def image_files(folder: Path) -> list[Path]:
    """Image files of a folder (not its subfolders), sorted by name; hidden files left out."""
    return list_files(folder, IMAGE_SUFFIXES)


def _subfolders(root: Path, candidates: Iterable[str]) -> Iterable[Path]:
    """Those of the candidate folders ('a' or 'a/b', lower case) that are below ``root``, whatever their case."""
    for candidate in candidates:
        folder: Path | None = root
        for wanted in filter(None, candidate.split('/')):
            entries = sorted(folder.iterdir()) if folder and folder.is_dir() else []
            folder = next((e for e in entries if e.name.lower() == wanted and e.is_dir()), None)
        if folder is not None:
            yield folder


Files = tuple[Path, list[Path]]


def _full(folders: Iterable[Path]) -> list[Files]:
    """The folders that hold images, with these."""
    return [(folder, files) for folder in folders if (files := image_files(folder))]


def _in_common(pair: tuple[Files, Files]) -> int:
    """How many images of a folder have a mask in another."""
    (_, images), (_, masks) = pair
    stems = {file.stem for file in masks}
    return len({file.stem for file in images} & (stems | {_MASK_ENDING.sub('', stem) for stem in stems}))


def _read_part(root: Path, name: str = '', inner: str = '') -> Part | None:
    """The images and masks in the folders of ``root``, or in those called ``inner`` within; None: there are none."""
    image_folders = [*_subfolders(root, [f'{folder}/{inner}' for folder in _IMAGE_FOLDERS])]
    mask_folders = [*_subfolders(root, [f'{folder}/{inner}' for folder in _MASK_FOLDERS])]
    images_in, masks_in = _full([*image_folders, *([] if inner else [root])]), _full(mask_folders)
    if images_in and masks_in:
        pairs = list(product(images_in, masks_in))
        (image_folder, files), (mask_folder, mask_files) = pairs[0] if len(pairs) == 1 else max(pairs, key=_in_common)
    elif images_in:  # both in one folder, told apart by their names, or no masks at all
        image_folder, files = images_in[0]
        stems = {file.stem for file in files}
        mask_files = [f for f in files if (stem := _MASK_ENDING.sub('', f.stem)) != f.stem and stem in stems]
        is_labelled = any(list_files(folder, LABEL_SUFFIXES) for folder in mask_folders[:1])
        if not mask_files and (is_labelled or not mask_folders):
            return None
        files, mask_folder = sorted({*files} - {*mask_files}), image_folder if mask_files else mask_folders[0]
    elif masks_in and image_folders:
        image_folder, files, (mask_folder, mask_files) = image_folders[0], [], masks_in[0]
    else:
        return None
    images: dict[str, Path] = {}
    for file in files:
        images.setdefault(file.stem, file)
    masks: dict[str, Path] = {}
    for file in mask_files:
        stem = file.stem if file.stem in images else _MASK_ENDING.sub('', file.stem)
        masks.setdefault(stem, file)
    return Part(name, images, masks, image_folder, mask_folder)


def _find_lists(root: Path, parts: dict[str, Part]) -> dict[str, Path]:
    """List files in the root and one folder below; the first of equal stems has the short name."""
    images = {name for part in parts.values() for name in part.images}
    taken = {folder for part in parts.values() for folder in (part.image_folder, part.mask_folder)} - {root}
    folders = [root, *_subfolders(root, _LIST_FOLDERS)]
    folders += [f for f in _folders(root) if f not in folders]
    lists: dict[str, Path] = {}
    for folder in folders:
        for file in list_files(folder, ('.txt',)) if folder not in taken else []:
            if not (_LIST_STEM.match(file.stem) or _names_an_image(file, images)):
                continue
            key = file.stem.lower()
            lists[key if key not in lists else f'{folder.name}/{key}'.lower()] = file
    return lists


def _names_an_image(file: Path, images: Container[str]) -> bool:
    if not file.is_file():  # opening a pipe would wait
        return False
    with file.open(encoding='utf-8-sig', errors='replace') as lines:
        return _entry(lines.readline(4096).strip())[1] in images


def read_tree(root: Path) -> Tree | None:
    """Recognises the layout of a data set folder.

    A folder that merely wraps another (as unpacked archives often do) is looked through.

    Returns:
        What is there, or None if it follows none of the layouts.
    """
    if not root.is_dir():
        return None
    whole = _read_part(root)
    parts, doubled = {} if whole is None else {'': whole}, ''
    for name, spellings in PARTS.items() if whole is None else ():
        found = [_read_part(folder, name) for folder in _subfolders(root, spellings)]
        found += [_read_part(root, name, inner) for inner in spellings]
        for part in filter(None, found):
            if name in parts:
                both = f'{parts[name].image_folder} and {part.image_folder}'
                doubled = f'{both} are both the {name} images: put them into one folder, or take one away.'
            parts[name] = part
    if parts:
        return Tree(root, parts, _find_lists(root, parts), doubled)
    inner = _folders(root)
    if len(inner) != 1 or root.resolve().is_relative_to(inner[0].resolve()):  # a link that leads back
        return None
    return read_tree(inner[0])


@dataclass(frozen=True)
class Split:
    """The images of one split, with their masks.

    Attributes:
        dataset: Canonical name of the data set, 'SIRSTv1'; the folder name for data sets of one's own.
        split: Name as it was asked for.
        root: Folder of the data set.
        names: Image names (file names without suffix), in the order of the list or sorted.
        source: Where the split comes from: a list file, a folder, or the rule that divided it.
        parts: The splits that were joined (:func:`open_joined`); none otherwise.
        sequences: Names of the frames of each sequence, in order; none of single images.
        notes: What to know of the labels, a line each.
    """

    dataset: str
    split: str
    root: Path
    names: list[str]
    source: str
    _files: dict[str, tuple[Path, Path]] = field(repr=False)
    parts: tuple[Split, ...] = ()
    sequences: dict[str, list[str]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.names)

    def image_path(self, name: str) -> Path:
        """Image file of ``name``."""
        return self._pair(name)[0]

    def mask_path(self, name: str) -> Path:
        """Mask file of ``name``."""
        return self._pair(name)[1]

    def read_image(self, name: str, grey: GreyRule = 'opencv') -> np.ndarray:
        """(H, W) uint8 or uint16 grey values; see :func:`drpca.datasets.io.read_image`."""
        return read_image(self.image_path(name), grey)

    def read_mask(self, name: str, rule: MaskRule = 'positive') -> np.ndarray:
        """(H, W) bool; see :func:`drpca.datasets.io.read_mask`."""
        return read_mask(self.mask_path(name), rule)

    def read_numbers(self, name: str) -> np.ndarray | None:
        """(H, W) int32, the number of the target at each pixel, from 1; None of masks, whose components are targets."""
        return None

    def around(self, names: Iterable[str]) -> list[str]:
        """The whole sequences that any of these images belong to; of single images themselves."""
        wanted = list(names)
        found = [held for held in self.sequences.values() if not set(wanted).isdisjoint(held)]
        return [name for held in found for name in held] or wanted

    def _pair(self, name: str) -> tuple[Path, Path]:
        if name not in self._files:
            raise UserError(
                f'{self.dataset} {self.split} has no image {name!r} ({len(self)} images from {self.source}).'
            )
        return self._files[name]


class Masks(Split):
    """Masks alone, see :func:`open_masks`."""

    def read_mask(self, name: str, rule: MaskRule = 'positive') -> np.ndarray:
        return read_given_mask(self.mask_path(name))


def chosen_data_root(data_root: str | Path | None = None) -> Path:
    """The argument, else ``DRPCA_DATA``, else ``./datasets``; whether it is there or not."""
    return Path(data_root or os.environ.get('DRPCA_DATA') or 'datasets').expanduser()


def resolve_data_root(data_root: str | Path | None = None) -> Path:
    """The folder that holds the data sets: the argument, else ``DRPCA_DATA``, else ``./datasets``.

    Raises:
        UserError: It does not exist or holds nothing.
    """
    root = chosen_data_root(data_root)
    how = 'Give it with --data-root or DRPCA_DATA; datasets/README.md describes the layout.'
    if not root.is_dir():
        raise UserError(f'Data root {root} is not a folder. {how}')
    if not _folders(root):
        raise UserError(f'Data root {root} holds no data set folder. {how}')
    return root


def find_datasets(data_root: str | Path | None = None) -> dict[str, Tree]:
    """All data sets under the data root, by name.

    Raises:
        UserError: The data root is missing or empty.
    """
    root = resolve_data_root(data_root)
    found: dict[str, Tree] = {}
    for folder in _folders(root):
        tree = read_tree(folder)
        if tree is not None:
            for name in _names_of(folder, tree):
                found.setdefault(name, tree)
    return dict(sorted(found.items(), key=lambda item: item[0].lower()))


def unknown_folders(data_root: str | Path | None = None) -> list[Path]:
    """Folders under the data root that follow no known layout."""
    return [folder for folder in _folders(resolve_data_root(data_root)) if read_tree(folder) is None]


def find_dataset(dataset: str, data_root: str | Path | None = None) -> tuple[str, Tree]:
    """Finds one data set by any of its names.

    Returns:
        Canonical name and the tree.

    Raises:
        UserError: The data root is missing or empty, or the data set is not there.
    """
    root = resolve_data_root(data_root)
    wanted = canonical_name(dataset)
    folders = sorted(_folders(root), key=lambda f: (f.name != wanted, simplify(f.name) != simplify(wanted), f.name))
    for folder in folders:
        key = simplify(folder.name)
        if key in _keys(wanted) or key.startswith(_KIT_PREFIXES):
            tree = read_tree(folder)
            names = _names_of(folder, tree) if tree is not None else []
            if tree is not None and (wanted in names or key == simplify(dataset)):
                return (wanted if wanted in names else names[0]), tree
            if tree is None and key in _keys(wanted):
                raise UserError(
                    f'{folder} follows no known layout: expected images/ and masks/, in it or in its '
                    'trainval/ and test/; datasets/README.md lists the layouts.'
                )
    raise _not_found(dataset, wanted, root)


def open_split(dataset: str, split: str = 'test', data_root: str | Path | None = None) -> Split:
    """Opens one split of a data set.

    Splits are 'train', 'val', 'trainval', 'test', 'all' and the name of any list in the data set's folder,
    such as 'test_half'. SIRST V1 and V2 have official training, validation and test lists. Where there is no
    list for validation, 'val' is a fixed fifth of 'trainval' and 'train' the rest, so a lone list or folder
    'train' counts as 'trainval'; a folder of images without any list is divided 60/20/20. These divisions
    order the images by the SHA-256 of their names and so depend on the names alone.

    Args:
        dataset: Name of a known data set, in any spelling, or of a folder under the data root.
        split: Which images.
        data_root: Folder that holds the data sets; default ``DRPCA_DATA``, else ``./datasets``.

    Raises:
        UserError: Data root, data set or split not found; two folders of the same part; a listed image is
            missing; an image lacks its mask; in a split without a list, also a mask without image.
    """
    name, tree = find_dataset(dataset, data_root)
    if tree.doubled:
        raise UserError(tree.doubled)
    members, source = split_members(name, tree, split)
    files: dict[str, tuple[Path, Path]] = {}
    for part, stem in members:
        image, mask = part.images.get(stem), part.masks.get(stem)
        if image is None:
            what = 'a mask without image' if mask else f'no image of that name in {part.image_folder}'
            raise UserError(f'{name} {split}: {stem!r} has {what} (from {source}).')
        if mask is None:
            raise UserError(f'{name} {split}: image {image} has no mask in {part.mask_folder}.')
        if stem in files:
            raise UserError(f'{name} {split}: {stem!r} occurs twice (from {source}).')
        files[stem] = (image, mask)
    if not files:
        raise UserError(f'{name} {split} holds no images (from {source}).')
    return Split(name, split, tree.root, list(files), source, files)


def open_masks(folder: str | Path, names: Iterable[str]) -> Split:
    """Masks in a folder of any layout, also in subfolders (``SEQUENCE/NAME``), as a split without images.

    What lies in folders called ``images`` and the like is one only if it is called as one of the images and
    :func:`drpca.datasets.io.is_mask`.

    Args:
        folder: The masks, called as their images or ``NAME_mask`` and the like.
        names: What images are called.

    Raises:
        UserError: No folder, or no picture in it.
    """
    root = Path(folder)
    wanted = {*names}
    files: dict[str, tuple[Path, Path]] = {}
    for file in list_files(root, IMAGE_SUFFIXES, deep=True):
        name = file.relative_to(root).with_suffix('').as_posix()
        name = name if name in wanted else _MASK_ENDING.sub('', name)
        is_image = any(part.lower() in _IMAGE_FOLDERS for part in file.relative_to(root).parts[:-1])
        if is_image and not (name in wanted and is_mask(read_image(file))):
            continue
        if name in files:
            raise UserError(f'--masks {root}: {files[name][1]} and {file} are both masks of {name}: keep one.')
        files[name] = (file, file)
    if not files:
        raise UserError(
            f'--masks {root}: expected a folder with masks ({", ".join(IMAGE_SUFFIXES)}), got none there, folders of '
            'images aside.'
        )
    return Masks(root.resolve().name, 'all', root, sorted(files), str(root), files)


def open_joined(dataset: str | Sequence[str], split: str = 'train', data_root: str | Path | None = None) -> Split:
    """Opens one split of a data set, or of several as one.

    Args:
        dataset: ``'SIRSTv1'``; or several, ``'SIRSTv1+NUDT-SIRST'`` or a list. Images of several are called
            ``SIRSTv1/Misc_1``. (A folder under the data root whose own name holds a + is one data set.)
        split: As in :func:`open_split`; each has to have it.
        data_root: Likewise.

    Raises:
        UserError: As :func:`open_split`; or a data set is named twice.
    """
    root = resolve_data_root(data_root)
    whole = isinstance(dataset, str) and (root / dataset).is_dir()
    names = [str(dataset)] if whole else joined_names(dataset)
    if not names or not all(names):
        raise UserError(f'Expected names of data sets joined by +, such as SIRSTv1+NUDT-SIRST, got {dataset!r}.')
    parts = tuple(open_split(name, split, root) for name in names)
    if len(parts) == 1:
        return parts[0]
    for number, part in enumerate(parts):
        if part.dataset in (before.dataset for before in parts[:number]):
            raise UserError(f'{"+".join(names)} names {part.dataset} twice: name each data set once.')
    return Split(
        '+'.join(part.dataset for part in parts),
        split,
        root,
        [f'{part.dataset}/{name}' for part in parts for name in part.names],
        ' + '.join(part.source for part in parts),
        {f'{part.dataset}/{name}': part._pair(name) for part in parts for name in part.names},
        parts,
    )


Members = list[tuple[Part, str]]


def split_members(dataset: str, tree: Tree, split: str) -> tuple[Members, str]:
    """Names in a split, unchecked, each with the part it lies in; and where the split comes from.

    Raises:
        UserError: The data set has no such split.
    """
    found = _find_split(dataset, tree, split.lower())
    if found is None:
        known = available_splits(dataset, tree)
        hint = did_you_mean(split, known)
        raise UserError(f'{dataset} in {tree.root} has no split {split!r}.{hint} Known: {", ".join(known)}.')
    return found


def available_splits(dataset: str, tree: Tree) -> list[str]:
    """Names that :func:`open_split` takes for this data set: the standard ones, then its lists."""
    names = dict.fromkeys((*STANDARD_SPLITS, *tree.lists))
    return [name for name in names if _find_split(dataset, tree, name) is not None]


def _find_split(dataset: str, tree: Tree, split: str) -> tuple[Members, str] | None:
    if split == 'all':
        return [m for part in tree.parts.values() for m in _everything(part)], str(tree.root)
    given = _given_splits(dataset, tree)
    if split in given and (split != 'train' or 'val' in given):
        return given[split]
    if split not in STANDARD_SPLITS:
        key = tree.lists.get(split)
        return _listed(tree, split) if key else None
    if not given:
        return _divide(_everything(tree.parts['']), split, test=True)
    training = [given[key] for key in ('trainval', 'train', 'val') if key in given]
    if split == 'test' or not training:
        return None
    if 'trainval' in given:
        training = training[:1]
    members = [m for part, _ in training for m in part]
    if split == 'trainval':
        return members, ' + '.join(source for _, source in training)
    return _divide(members, split, test=False)


def _given_splits(dataset: str, tree: Tree) -> dict[str, tuple[Members, str]]:
    """The standard splits that the data set brings along, as lists or as parts."""
    if '' not in tree.parts:
        return {name: (_everything(part), str(part.image_folder)) for name, part in tree.parts.items()}
    official = KNOWN_DATASETS[dataset].list_ending if dataset in KNOWN_DATASETS else ''
    endings = (official, '', f'_{tree.root.name}'.lower(), *_data_set_endings(tree))
    given = {}
    for split in ('train', 'val', 'trainval', 'test'):
        key = next((split + ending for ending in endings if split + ending in tree.lists), None)
        if key is not None:
            given[split] = _listed(tree, key)
    return given


def _listed(tree: Tree, key: str) -> tuple[Members, str]:
    return tree.read_list(key), str(tree.lists[key])


def _data_set_endings(tree: Tree) -> list[str]:
    """What follows 'train' and 'test' in BasicIRSTD's lists, whatever the folder is called now."""
    known = {key for info in KNOWN_DATASETS.values() for key in info.keys}
    endings = {key.partition('_')[2] for key in tree.lists}
    return sorted(f'_{ending}' for ending in endings if simplify(ending) in known)


def _everything(part: Part) -> Members:
    return [(part, stem) for stem in sorted(part.images.keys() | part.masks.keys())]


def _divide(members: Members, split: str, test: bool) -> tuple[Members, str]:
    """Takes a split out of members by the order of their names' SHA-256."""
    order = sorted((stem for _, stem in members), key=lambda stem: hashlib.sha256(stem.encode()).digest())
    num_test = max(1, round(_TEST_FRACTION * len(order))) if test else 0
    num_val = max(1, round(_VAL_FRACTION * len(order)))
    pieces = {'test': order[:num_test], 'trainval': order[num_test:]}
    pieces |= {'val': pieces['trainval'][:num_val], 'train': pieces['trainval'][num_val:]}
    kept = set(pieces[split])
    rule = 'fixed 60/20/20 division of all images' if test else 'fixed 80/20 division of trainval'
    return [m for m in members if m[1] in kept], rule


def _folders(root: Path) -> list[Path]:
    return sorted(f for f in root.iterdir() if f.is_dir() and is_visible(f.name))


def _keys(name: str) -> tuple[str, ...]:
    return KNOWN_DATASETS[name].keys if name in KNOWN_DATASETS else (simplify(name),)


def _names_of(folder: Path, tree: Tree) -> list[str]:
    """Data sets in a folder: SIRST V1 and V2 come in kits of the same name, told apart by their content."""
    if not simplify(folder.name).startswith(_KIT_PREFIXES):
        return [canonical_name(folder.name)]
    second = any(key.endswith('_full') for key in tree.lists) or len(tree) > 700
    first = any(key.endswith('_v1') for key in tree.lists) or not second
    return ['SIRSTv1'] * first + ['SIRSTv2'] * second


def _not_found(dataset: str, wanted: str, root: Path) -> UserError:
    first, *others = joined_names(dataset)
    if others:
        return UserError(
            f'{dataset} joins data sets, which is for training: name one of them, such as --dataset {first}.'
        )
    present = list(find_datasets(root))
    here = f'Present under {root}: {", ".join(present) or "none"}.'
    if wanted == 'synthetic':
        return UserError(f'Data set synthetic is not under {root}. Make it: {called("make-synthetic")}. {here}')
    if wanted in KNOWN_DATASETS:
        return UserError(
            f'Data set {wanted} is not under {root}: expected {root / KNOWN_DATASETS[wanted].expected} '
            f'(datasets/README.md tells how to get it). {here}'
        )
    known = list(dict.fromkeys([*KNOWN_DATASETS, *present]))
    hint = did_you_mean(dataset, known)
    return UserError(f'Unknown data set {dataset!r}.{hint} Known: {", ".join(known)}. {here}')


T = TypeVar('T')


def spread(names: Sequence[T], limit: int | None) -> list[T]:
    """All of them, or ``limit`` of them evenly spread: always the same ones."""
    if limit is None or limit >= len(names):
        return list(names)
    return [names[i * len(names) // limit] for i in range(limit)]
