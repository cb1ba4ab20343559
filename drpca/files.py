"""Files and folders that users name: whole or not at all, nothing replaced unasked, one writer at a time."""

from __future__ import annotations

import errno
import os
import platform
import re
import sys
import threading
from collections.abc import Callable, Container, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from drpca.errors import DiskFull, UserError, is_full, warn

LOCK = '.lock'
# The commands' own folders: made where they are named, with what is asked for below them.
_DEFAULTS = ('results', 'checkpoints')
_LEFT_BEHIND = ('thumbs.db', 'desktop.ini', '__macosx')


def list_files(folder: str | os.PathLike[str], suffixes: Container[str], deep: bool = False) -> list[Path]:
    """Files with one of these suffixes (in lower case), sorted by path: the one way to look for images and the like.

    What is hidden, as systems leave it behind (``._1.png``, ``.ipynb_checkpoints/``), is none of them. A folder that is
    called like a file is one, unless ``deep``: who reads it says what it is.

    Args:
        folder: Where they are.
        suffixes: ``('.png', …)``.
        deep: In its subfolders as well, links to folders aside.

    Returns:
        None of a folder that is not there, or cannot be read, of which a warning tells.
    """
    found = []
    for top, folders, names in os.walk(folder, onerror=_not_read):
        names += [] if deep else folders
        found += [
            Path(top, name) for name in names if is_visible(name) and os.path.splitext(name)[1].lower() in suffixes
        ]
        folders[:] = filter(is_visible, folders) if deep else []
    return sorted(found)


def is_visible(name: str) -> bool:
    """Whether a file or folder is none that systems hide or leave behind."""
    return name[:1] != '.' and name.lower() not in _LEFT_BEHIND


def _not_read(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError | NotADirectoryError):
        warn(f'{error.filename} is left out, since it cannot be read: {error.strerror}.')


def cannot_write(path: Path, error: BaseException) -> UserError:
    """What the system or a library says about a file that it does not write, as one line."""
    if is_full(error):
        return DiskFull(f'Cannot write {path}: the disk is full; free some space and start again.')
    reason = getattr(error, 'strerror', None) or str(error)[:200]
    return UserError(f'Cannot write {path}: {reason}; name another one, or check who may write there.')


def refuse_present(paths: Iterable[Path], overwrite: bool) -> None:
    """Refuses to replace files; called before the work, so that nothing is lost after it.

    Raises:
        UserError: One of them is there already, or is a folder.
    """
    for path in paths:
        if path.is_dir():
            raise UserError(f'Cannot write {path}: it is a folder; name a file.')
        if os.path.lexists(path) and not overwrite:
            raise UserError(f'{path} is there already: name another one, or replace it with --overwrite.')


def claim(folder: str | os.PathLike[str], names: Iterable[str], overwrite: bool) -> Path:
    """Makes a folder for files about to be written; called before the work, so that nothing is lost after it.

    Raises:
        UserError: One of them is there already, or the folder cannot be made.
    """
    refuse_present([Path(folder) / name for name in names], overwrite)
    return make_folder(folder)


def make_folder(path: str | os.PathLike[str]) -> Path:
    """Makes a folder, but not those above it: a mistyped path must not grow a tree.

    The commands' own folders, ``results`` and ``checkpoints``, are made as well, with all folders in them.

    Raises:
        UserError: The folder above it is missing, or it cannot be made.
    """
    path = check_folder(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write(path, error) from None
    return path


def check_folder(path: str | os.PathLike[str]) -> Path:
    """Raises what :func:`make_folder` would, before the work, and makes nothing."""
    path = Path(path)
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    if len(missing) > 1 and path.parts[0] not in _DEFAULTS:
        raise UserError(f'Cannot make {path}: there is no folder {missing[1]}; make it first, or name another.')
    there = next(folder for folder in (path, *path.parents) if folder.exists())
    if not there.is_dir():
        raise UserError(f'Cannot write {path}: {there} is a file where a folder is needed; name another.')
    return path


def save(path: str | Path, write: Callable[[Path], object], overwrite: bool = False) -> Path:
    """Has a file written beside its place and moved there once it is whole and on the disk.

    Args:
        path: The file.
        write: Called with the path of the draft, which has the same suffix.
        overwrite: Replace a file that is there; until the new one is whole it stays.

    Raises:
        UserError: It is there already, or cannot be written.
    """
    path = Path(path)
    refuse_present([path], overwrite)
    draft = open_draft(path)
    try:
        write(draft)
        put_in_place(draft, path)
    except OSError as error:
        raise cannot_write(path, error) from None
    finally:
        with suppress(OSError):
            draft.unlink(missing_ok=True)
    return path


def put_in_place(draft: Path, path: Path) -> None:
    """Moves a whole file to where it belongs; file and name outlast a power cut from then on.

    Raises:
        OSError: It cannot be moved, or the disk is full; the file that was there is left as it was.
    """
    _to_disk(draft)
    os.replace(draft, path)
    with suppress(OSError):  # not every system and file system does that for a folder
        _to_disk(path.parent)


def _to_disk(path: Path) -> None:
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def open_draft(path: Path) -> Path:
    """An empty file of the same suffix beside a file that is about to be written, for what writes it little by little.

    Raises:
        UserError: It cannot be made there.
    """
    make_folder(path.parent)
    draft = draft_of(path, path.suffix)
    try:
        _remove_drafts([path.parent])
        draft.touch()
    except OSError as error:
        raise cannot_write(path, error) from None
    return draft


def replace_quickly(path: Path, content: bytes) -> None:
    """Puts a file in place whole, as :func:`save` does, but leaves it to the system when it reaches the disk.

    For the many small files of a folder that is :func:`in_use`; that folder has to be there.

    Raises:
        UserError: It cannot be written.
    """
    draft = draft_of(path)
    try:
        draft.write_bytes(content)
        os.replace(draft, path)
    except OSError as error:
        with suppress(OSError):
            draft.unlink(missing_ok=True)
        raise cannot_write(path, error) from None


def append_whole(path: Path, content: bytes) -> None:
    """Adds to a file at once, or not at all.

    Raises:
        UserError: It cannot be written; it is as long as before.
    """
    try:
        with open(path, 'ab', buffering=0) as file:
            before = file.tell()
            if file.write(content) != len(content):
                file.truncate(before)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    except OSError as error:
        raise cannot_write(path, error) from None


def draft_of(path: Path, suffix: str = '') -> Path:
    """Where this thread writes a file before it is whole; without a suffix no reader takes it for one of its files."""
    return path.with_name(f'.{_drafts_here()}{os.getpid()}-{threading.get_ident()}.partial{suffix}')


def _drafts_here() -> str:
    return f'{platform.node()[:64]}-'


def _remove_drafts(folders: Iterable[Path]) -> None:
    """Removes what processes of this machine were writing there when they were killed."""
    pattern = re.compile(rf'\.{re.escape(_drafts_here())}(\d+)-\d+\.partial(\..*)?')
    for folder in folders:
        for name in os.listdir(folder):
            draft = pattern.fullmatch(name)
            if draft and not _is_running(int(draft[1])):
                with suppress(OSError):
                    (folder / name).unlink()


def _is_running(process: int) -> bool:
    if os.name == 'nt':  # where asking would end it
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass
    return True


def save_text(path: str | Path, text: str, overwrite: bool = False) -> Path:
    """A text file in UTF-8; see :func:`save`."""
    return save(path, lambda draft: draft.write_text(text, encoding='utf-8', newline=''), overwrite)


def save_bytes(path: str | Path, content: bytes, overwrite: bool = False) -> Path:
    """A file of bytes; see :func:`save`."""
    return save(path, lambda draft: draft.write_bytes(content), overwrite)


@contextmanager
def in_use(folder: str | Path, wait: bool = False) -> Iterator[None]:
    """Keeps other processes from writing to a folder meanwhile; makes it where there is none.

    The system gives the lock back when a process ends, however it ends, so none is ever left behind; the file
    ``.lock`` stays and says who held it last.

    Args:
        folder: The folder.
        wait: Until another process is done with it, with a note on standard error.

    Raises:
        UserError: Another process writes to it, or it is not writable.
    """
    from filelock import FileLock, Timeout  # here, since it takes longer to import than all else of this file

    path = Path(folder) / LOCK
    lock = FileLock(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=0.2, poll_interval=0.02)  # another may be looking whether it is free
        except Timeout:
            holder = ''
            with suppress(OSError):
                holder = path.read_text().strip()
            what = f'{folder} is in use by {holder or "another process"}'
            if not wait:
                raise UserError(f'{what}: wait for it, or choose another folder.') from None
            print(f'note: {what}: waiting for it', file=sys.stderr)
            lock.acquire()
        with suppress(OSError):  # it only tells others who holds it
            path.write_text(f'process {os.getpid()} on {platform.node()}\n')
    except OSError as error:
        raise cannot_write(Path(folder), error) from None
    try:
        _remove_drafts([path.parent, *(entry for entry in path.parent.iterdir() if entry.is_dir())])
        yield
    finally:
        lock.release()
