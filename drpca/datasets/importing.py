"""Data sets by name: what is known and what is here; taking in what a user has; fetching what can be fetched."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from drpca.datasets.archives import unpack
from drpca.datasets.check import Report, check_dataset
from drpca.datasets.convert import put_file, settle_lists, settle_parts, write_masks
from drpca.datasets.labels import Conversion, read_labels
from drpca.datasets.leaks import SIRST_FAMILY
from drpca.datasets.splits import Tree, chosen_data_root, find_dataset, find_datasets, read_list, read_tree
from drpca.errors import UserError, unknown_name
from drpca.fetch import fetch, fetch_archive, file_url
from drpca.files import cannot_write, is_visible, list_files, make_folder, save_text
from drpca.names import KNOWN_DATASETS, canonical_name, simplify
from drpca.options import called

_DEPTH = 5
_MOST_ARCHIVES = 8
_BOTH = 'open-sirst-v2'
"""Of a kit with the lists of SIRST V1 and V2: it is both, in a folder of that name."""

Put = Callable[[Path, Path], object]


@dataclass(frozen=True)
class KnownDataset:
    """A data set and whether it is here.

    Attributes:
        name: 'SIRSTv1'.
        images: Number of images of the whole set; None: not known.
        found: Number of images here; 0: it is missing.
        folder: Where it is; None: nowhere.
        advice: How to get it, in words.
    """

    name: str
    images: int | None
    found: int
    folder: Path | None
    advice: str


@dataclass(frozen=True)
class Imported:
    """What was taken in.

    Attributes:
        folder: Where it lies.
        report: Of its check, by the name of the data set.
        conversion: Of label files to masks; None: there were masks.
    """

    folder: Path
    report: Report
    conversion: Conversion | None


def list_datasets(data_root: str | Path | None = None) -> list[KnownDataset]:
    """The known data sets, and all others under the data root.

    Args:
        data_root: Folder of the data sets; default ``DRPCA_DATA``, else ``./datasets``, which may be missing.

    Raises:
        UserError: The folder that was named is none.
    """
    root = chosen_data_root(data_root)
    is_new = data_root is None and not root.exists()
    is_empty = root.is_dir() and not any(f.is_dir() for f in root.iterdir())
    here = {} if is_new or is_empty else find_datasets(data_root)
    rows = []
    for name in dict.fromkeys([*KNOWN_DATASETS, *here]):
        info, tree = KNOWN_DATASETS.get(name), here.get(name)
        advice = called('make-synthetic')
        if info and info.source:
            fetched = f'{called("data")} get {name}'
            advice = fetched if info.fetched else f'link at {info.source}, then {called("data")} import {name} ARCHIVE'
        images = info.images if info else None
        rows.append(KnownDataset(name, images, len(tree) if tree else 0, tree.root if tree else None, advice))
    return rows


def import_dataset(
    name: str,
    source: str | Path,
    data_root: str | Path | None = None,
    *,
    link: bool = False,
    rule: str = 'grow',
    overwrite: bool = False,
) -> Imported:
    """Takes a data set into the data root, in whatever layout and case it was unpacked or packed, and checks it.

    Images and masks go to ``images`` and ``masks``, of several parts to ``trainval/images`` and so on, with the lists
    beside them. Label files (COCO, YOLO, VOC, tables of boxes or points) become masks, see
    :func:`drpca.datasets.convert.convert_labels`. Nothing is there before all of it is.

    Args:
        name: What it is to be called; any spelling of a known data set.
        source: A folder, or a zip or tar archive.
        data_root: Folder of the data sets, made if missing; default ``DRPCA_DATA``, else ``./datasets``.
        link: Link the files of a folder instead of copying them.
        rule: How boxes become masks, 'box' or 'grow'.
        overwrite: Replace the data set of that name.

    Raises:
        UserError: No such source, nothing recognised in it, several data sets in it, a data set of that name there,
            or a bad name; see also :func:`drpca.datasets.archives.unpack`.
    """
    source, root = Path(source).expanduser(), chosen_data_root(data_root)
    if not source.exists():
        raise UserError(f'There is no {source}: give the folder or archive of the data set.')
    name = canonical_name(name)
    if not simplify(name) or name != Path(name).name or name.startswith('.') or '+' in name:
        raise UserError(f'{name!r} cannot be the name of a data set: letters, digits, - and _ make one.')
    if source.is_dir():
        return _take_in(name, source, root, os.symlink if link else None, rule, overwrite)
    if link:
        raise UserError(f'{source} is no folder: its files can be copied, not linked.')
    with _workshop(root) as folder:
        unpack(source, folder)
        return _take_in(name, folder, root, os.replace, rule, overwrite, source)


def _take_in(
    name: str, source: Path, root: Path, put: Put | None, rule: str, overwrite: bool, shown: Path | None = None
) -> Imported:
    tree = _find_tree(name, source)
    labels = None if tree else read_labels(source)
    archives = [] if tree or labels else list_files(source, ('.zip',), deep=True)
    if len(archives) > _MOST_ARCHIVES:
        raise UserError(f'{source} holds {len(archives)} zip archives, expected up to {_MOST_ARCHIVES}: unpack them.')
    if archives:  # as in the repository of SIRST V1: images.zip, masks.zip, and lists beside them
        with _workshop(root) as folder:
            for archive in archives:
                unpack(archive, folder / archive.stem)
                for inner in (folder / archive.stem).glob(f'{archive.stem}/*'):
                    os.replace(inner, folder / archive.stem / inner.name)
            for file in list_files(source, ('.txt',), deep=True):
                (folder / file.parent.name).mkdir(exist_ok=True)
                shutil.copyfile(file, folder / file.parent.name / file.name)
            if _find_tree(name, folder):
                return _take_in(name, folder, root, os.replace, rule, overwrite)
    if tree is None and labels is None:
        raise UserError(
            f'{shown or source} follows no known layout: expected images with masks or with labels (COCO, YOLO, VOC, '
            'tables); docs/data.md shows them.'
        )
    is_both = tree and name in SIRST_FAMILY and {'test_v1', 'test_full'} <= tree.lists.keys()
    target = root / (_BOTH if is_both else name)
    _check_target(target, root, overwrite)
    if target.resolve() in (source.resolve(), *source.resolve().parents):
        raise UserError(f'{source} is {target} itself, or in it: it is here already; check_dataset.py checks it.')
    if target.exists() and source.resolve() in target.resolve().parents:
        raise UserError(f'{target}, which would be replaced, lies in {source}: name a source beside the data root.')
    conversion = None
    with _workshop(root) as folder:
        draft = folder / 'set'
        if tree is not None:
            _place(tree, draft, put or shutil.copyfile)
        elif labels is not None:
            conversion = write_masks(labels, source, draft, rule, put is os.symlink)
        _swap(draft, target, folder / 'old')
    found, tree = find_dataset(name, root)
    return Imported(tree.root, check_dataset(found, tree), conversion)


def _check_target(target: Path, root: Path, overwrite: bool) -> None:
    if os.path.lexists(target) and not overwrite:
        raise UserError(f'{target} is there already: choose another name, or replace it with --overwrite.')
    present = root.iterdir() if root.is_dir() else ()
    twins = [f for f in present if simplify(f.name) == simplify(target.name) and f.name != target.name]
    if twins:
        raise UserError(f'{twins[0]} is called the same but for case and separators: rename or remove it.')


def _swap(draft: Path, target: Path, old: Path) -> None:
    try:
        if os.path.lexists(target):
            os.replace(target, old)
        os.replace(draft, target)
    except OSError as error:
        if os.path.lexists(old) and not os.path.lexists(target):
            os.replace(old, target)
        raise cannot_write(target, error) from None


@contextmanager
def _workshop(root: Path) -> Iterator[Path]:
    """A folder on the disk of the data root, which goes again."""
    was_there = root.exists()
    make_folder(root)
    try:
        folder = Path(tempfile.mkdtemp(prefix='.import-', dir=root))
    except OSError as error:
        raise cannot_write(root, error) from None
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if not was_there:
            with suppress(OSError):  # something was put there
                root.rmdir()


def _find_tree(name: str, source: Path) -> Tree | None:
    """The data set in a folder, wherever in it; of several the one of that name."""
    level = [source]
    for _ in range(_DEPTH):
        trees = [tree for folder in level if (tree := read_tree(folder)) is not None]
        if len(trees) > 1:
            keys = KNOWN_DATASETS[name].keys if name in KNOWN_DATASETS else (simplify(name),)
            named = [t for t in trees if any(simplify(part) in keys for part in t.root.relative_to(source).parts)]
            if len(named) != 1:
                listed = ', '.join(str(tree.root.relative_to(source)) for tree in trees[:8])
                raise UserError(f'{source} holds several data sets: {listed}; give the folder of one.')
            trees = named
        if trees and trees[0].doubled:
            raise UserError(trees[0].doubled)
        if trees:
            return trees[0]
        level = [
            inner
            for folder in level
            for inner in sorted(folder.iterdir())
            if inner.is_dir() and not inner.is_symlink() and is_visible(inner.name)
        ]
    return None


def _place(tree: Tree, draft: Path, put: Put) -> None:
    """Images, masks and lists of a data set in the plain layout."""
    parts = settle_parts(tree.parts)
    kept = settle_lists(path.stem.lower() for path in tree.lists.values())
    for key, path in tree.lists.items():
        lines = [f'{parts[part.name]}/{stem}'.lstrip('/') for part, stem in tree.read_list(key)]
        folder = draft if path.parent == tree.root else draft / path.parent.name
        if name := kept.get(path.stem.lower()):
            folder.mkdir(parents=True, exist_ok=True)
            file = folder / (path.name if name == path.stem.lower() else f'{name}.txt')
            save_text(file, '\n'.join(lines) + '\n')
    for part in tree.parts.values():
        for kind, files in (('images', part.images), ('masks', part.masks)):
            folder = draft / parts[part.name] / kind
            folder.mkdir(parents=True)
            for file in files.values():
                put_file(put, file, folder / file.name)


_KIT, _KIT_COMMIT = 'YimianDai/open-sirst-v2', 'a927e5c67a7d2e22c7c96b54703ffe9ae01a1f35'
_FIRST = 'YimianDai/sirst'
_LINKS = 'https://github.com/GrokCV/DRPCA-Net'
_FIRST_ARCHIVES = {
    'images.zip': 'b36e90612022ff2c58b59571c4f76be4debd689f',
    'masks.zip': '7e7c661edf89c82483b2e84520ced07d38d571d4',
}
"""Git's identifiers of them."""
_FIRST_LISTS = {
    'train_v1': 'f1e4856c69dbe11579dd7c1c5b92bd6bef456e78e20fb695ecc70f781a584855',
    'val_v1': 'f6b6d0485a7cd8cf7c42456b5f4514921814526a7b347b67bfa63292665a978c',
    'trainval_v1': 'c83c1062db6eb5d2defef6c076ad85ab2d49d8ea2af54b790e4e1f1a8f4270c8',
    'test_v1': '52465041275dc5bd93e165feae1e0bf7404bd047244390eefe8aed8ec92b6e98',
}
"""SHA-256 of the sorted names, joined by newlines."""


def get_dataset(
    name: str, data_root: str | Path | None = None, *, overwrite: bool = False, progress: bool = True
) -> Imported:
    """Fetches SIRST V1 or V2 from its authors' repository, verifies it, and takes it into the data root.

    Args:
        name: 'SIRSTv1' or 'SIRSTv2', in any spelling. With V2 come the images and lists of V1.
        data_root: Folder of the data sets, made if missing; default ``DRPCA_DATA``, else ``./datasets``.
        overwrite: Replace the data set of that name.
        progress: Show the transfer on standard error.

    Raises:
        UserError: Another data set, with where it comes from and what to do; no network, or files that are not the
            published ones (:func:`drpca.fetch.fetch`); a data set of that name there.
    """
    name, root = canonical_name(name), chosen_data_root(data_root)
    info = KNOWN_DATASETS.get(name)
    if info is None or not info.source:
        raise unknown_name('data set', name, [known.name for known in KNOWN_DATASETS.values() if known.source])
    if not info.fetched:
        raise UserError(
            f'{name} lies on a drive that only a browser can open: find the link at {info.source} (or at '
            f'{_LINKS}), download it, then: {called("data")} import {name} ARCHIVE'
        )
    _check_target(root / (_BOTH if name == 'SIRSTv2' else name), root, overwrite)
    if name == 'SIRSTv2':
        archive = fetch_archive(_KIT, _KIT_COMMIT, f'datasets/{_BOTH}.zip', limit=2**30, progress=progress)
        return import_dataset(name, archive, root, overwrite=overwrite)
    with _workshop(root) as folder:
        (folder / 'splits').mkdir()
        for file, blob in _FIRST_ARCHIVES.items():
            url = file_url(_FIRST, 'master', file)
            path = fetch(url, f'datasets/sirst/{file}', blob=blob, limit=2**27, progress=progress)
            shutil.copyfile(path, folder / file)
        for stem, digest in _FIRST_LISTS.items():
            url = file_url(_KIT, _KIT_COMMIT, f'splits/{stem}.txt')
            path = fetch(url, f'datasets/sirst/{stem}.txt', check=partial(_fault_of_list, digest), progress=progress)
            shutil.copyfile(path, folder / 'splits' / f'{stem}.txt')
        return import_dataset(name, folder, root, overwrite=overwrite)


def _fault_of_list(digest: str, path: Path) -> str:
    names = '\n'.join(sorted(name for _, name in read_list(path)))
    return '' if hashlib.sha256(names.encode()).hexdigest() == digest else 'it does not hold the published names'
