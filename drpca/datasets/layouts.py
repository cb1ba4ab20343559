"""How data sets lie on disk: one reader for all layouts in use.

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
======================  ==============================================================================

Folder names are matched case-insensitively; an image and its mask may have different suffixes; the mask may
be called ``NAME_pixels0``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from drpca.datasets.io import IMAGE_SUFFIXES, read_regular
from drpca.errors import UserError

_IMAGE_FOLDERS = ('images', 'image', 'imgs', 'img', 'pngimages', 'irstd1k_img')
_MASK_FOLDERS = ('masks', 'mask', 'labels', 'label', 'binarymask', 'sirst/binarymask', 'irstd1k_label')
_PARTS = ('trainval', 'train', 'val', 'test')
_LIST_FOLDERS = ('splits', 'img_idx', '50_50')
_LIST_STEM = re.compile(r'(train|val|test)', re.IGNORECASE)
_LONGEST_LIST = 2**26
_MASK_ENDING = re.compile(r'_pixels\d+$')


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
    """

    root: Path
    parts: dict[str, Part]
    lists: dict[str, Path] = field(default_factory=dict)

    def __len__(self) -> int:
        return sum(len(part.images) for part in self.parts.values())

    def read_list(self, name: str) -> list[str]:
        """Names in the list called ``name``."""
        return read_list(self.lists[name])


def read_list(path: Path) -> list[str]:
    """Reads the image names of a list file, one a line.

    Byte order mark, CRLF, blanks around a name, blank lines, a missing last newline, folders before and an
    image suffix after the name are all taken care of.

    Raises:
        UserError: The file is no UTF-8 text, or no regular file.
    """
    try:
        lines = read_regular(path, 'list', _LONGEST_LIST).decode('utf-8-sig').splitlines()
    except UnicodeDecodeError as error:
        raise UserError(
            f'Cannot read list {path}: expected UTF-8 text with one image name a line ({error}).'
        ) from error
    names = (re.split(r'[\\/]', line.strip())[-1] for line in lines)
    return [_without_suffix(name) for name in names if name]


def _without_suffix(name: str) -> str:
    path = Path(name)
    return path.stem if path.suffix.lower() in IMAGE_SUFFIXES else name


def image_files(folder: Path) -> Iterable[Path]:
    """Image files of a folder (not its subfolders), sorted by name; hidden files left out."""
    files = (f for f in folder.iterdir() if f.suffix.lower() in IMAGE_SUFFIXES and not f.name.startswith('.'))
    return sorted(f for f in files if f.is_file())


def _subfolder(root: Path, candidates: Iterable[str]) -> Path | None:
    """First of the candidate folders ('a' or 'a/b', lower case) below ``root``, whatever their case."""
    for candidate in candidates:
        folder: Path | None = root
        for wanted in candidate.split('/'):
            entries = sorted(folder.iterdir()) if folder and folder.is_dir() else []
            folder = next((e for e in entries if e.name.lower() == wanted and e.is_dir()), None)
        if folder is not None:
            return folder
    return None


def _read_part(root: Path, name: str = '') -> Part | None:
    image_folder, mask_folder = _subfolder(root, _IMAGE_FOLDERS), _subfolder(root, _MASK_FOLDERS)
    if image_folder is None or mask_folder is None:
        return None
    images: dict[str, Path] = {}
    for file in image_files(image_folder):
        images.setdefault(file.stem, file)
    masks: dict[str, Path] = {}
    for file in image_files(mask_folder):
        stem = file.stem if file.stem in images else _MASK_ENDING.sub('', file.stem)
        masks.setdefault(stem, file)
    return Part(name, images, masks, image_folder, mask_folder)


def _find_lists(root: Path, images: dict[str, Path]) -> dict[str, Path]:
    """List files in the root and one folder below; the first of equal stems has the short name."""
    folders = [root]
    folders += [f for f in (_subfolder(root, [name]) for name in _LIST_FOLDERS) if f is not None]
    folders += [f for f in sorted(root.iterdir()) if f.is_dir() and f not in folders]
    lists: dict[str, Path] = {}
    for folder in folders:
        for file in sorted(folder.glob('*.txt')):
            if not (_LIST_STEM.match(file.stem) or _names_an_image(file, images)):
                continue
            key = file.stem.lower()
            lists[key if key not in lists else f'{folder.name}/{key}'.lower()] = file
    return lists


def _names_an_image(file: Path, images: dict[str, Path]) -> bool:
    if not file.is_file():  # opening a pipe would wait
        return False
    with file.open(encoding='utf-8-sig', errors='replace') as lines:
        return _without_suffix(lines.readline(4096).strip()) in images


def read_tree(root: Path) -> Tree | None:
    """Recognises the layout of a data set folder.

    A folder that merely wraps another (as unpacked archives often do) is looked through.

    Returns:
        What is there, or None if it follows none of the layouts.
    """
    if not root.is_dir():
        return None
    part = _read_part(root)
    if part is not None:
        return Tree(root, {'': part}, _find_lists(root, part.images))
    parts: dict[str, Part] = {}
    for name in _PARTS:
        folder = _subfolder(root, [name])
        part = _read_part(folder, name) if folder else None
        if part is not None:
            parts[name] = part
    if parts:
        return Tree(root, parts)
    inner = [f for f in root.iterdir() if f.is_dir() and not f.name.startswith('.')]
    return read_tree(inner[0]) if len(inner) == 1 else None
