"""Unpacking archives that strangers made: pictures, lists and labels out of zip and tar files, and nothing else.

Refused are names that lead out of the folder, links, devices, encrypted files, and archives that grow out of
proportion.
"""

from __future__ import annotations

import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO

from drpca.datasets.io import IMAGE_SUFFIXES
from drpca.datasets.splits import LABEL_SUFFIXES
from drpca.errors import DiskFull, UserError
from drpca.files import cannot_write, is_visible

MAX_FILES = 500_000
MAX_RATIO = 200
"""Unpacked bytes for each byte of an archive; pictures shrink to a tenth at most, empty masks to a hundredth."""
_FREE_BYTES = 2**26
_CHUNK = 2**20
_BROKEN = (
    tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, RuntimeError, ValueError,
)  # fmt: skip

Entry = tuple[str, int, Callable[[], IO[bytes] | None]]


def is_archive(path: Path) -> bool:
    """Whether a file is a zip or tar archive, by its content."""
    try:
        return path.is_file() and (zipfile.is_zipfile(path) or tarfile.is_tarfile(path))
    except _BROKEN:
        return False


def unpack(archive: Path, folder: Path) -> int:
    """Unpacks what a data set consists of: PNG, BMP, TIFF, JPEG, TXT, XML, JSON and CSV files; hidden ones left out.

    Args:
        archive: A zip file, or a tar file, also a compressed one.
        folder: Where to; made if it is not there.

    Returns:
        Number of files.

    Raises:
        UserError: No such archive, a damaged one, one with links, devices, encrypted files, or names that lead out of
            the folder, or one that would grow beyond 200 times its size, 500,000 files or the free space.
    """
    if not is_archive(archive):
        what = 'no zip or tar archive; unpack it with the program that made it, and give the folder'
        raise UserError(f'Cannot unpack {archive}: {what if archive.exists() else "no such file"}.')
    limit = MAX_RATIO * archive.stat().st_size + _FREE_BYTES
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    total = seen = count = 0
    try:
        with _entries(archive) as entries:
            for name, size, read in entries:
                total, seen = total + size, seen + 1
                if total > limit or seen > MAX_FILES:
                    raise UserError(
                        f'Cannot unpack {archive}: it would grow to more than {min(total, limit):,} bytes or '
                        f'{MAX_FILES:,} files, out of proportion to its {archive.stat().st_size:,} bytes; unpack it '
                        'yourself if you trust it, and give the folder.'
                    )
                if total > free:
                    raise DiskFull(f'Cannot unpack {archive}: it needs more than the {free:,} bytes that are free.')
                path = _place(archive, name)
                if path is not None:
                    _copy(read, folder / path, size)
                    count += 1
    except UserError:
        raise
    except _BROKEN as error:
        raise UserError(
            f'Cannot unpack {archive}: damaged ({str(error)[:160] or "it ends early"}); fetch it again.'
        ) from None
    return count


def _place(archive: Path, name: str) -> PurePosixPath | None:
    """Where a file goes, relative to the folder; None: nowhere."""
    path = PurePosixPath(name.replace('\\', '/'))
    if path.is_absolute() or '..' in path.parts or ':' in name or '\0' in name:
        raise UserError(f'Cannot unpack {archive}: the name {name[:100]!r} leads out of its folder; do not trust it.')
    if path.suffix.lower() not in (*IMAGE_SUFFIXES, *LABEL_SUFFIXES, '.zip'):
        return None
    return path if all(map(is_visible, path.parts)) else None


def _copy(read: Callable[[], IO[bytes] | None], path: Path, size: int) -> None:
    source = read()
    if source is None:
        raise ValueError('a file without content')
    path.parent.mkdir(parents=True, exist_ok=True)
    left = size
    with source:
        try:
            file = open(path, 'xb')  # noqa: SIM115
        except FileExistsError:
            raise ValueError(f'{path.name} is in it twice') from None
        except OSError as error:
            raise cannot_write(path, error) from None
        with file:
            while chunk := source.read(_CHUNK):
                left -= len(chunk)
                if left < 0:
                    raise ValueError(f'{path.name} is longer than it says')
                try:
                    file.write(chunk)
                except OSError as error:
                    raise cannot_write(path, error) from None
    if left:
        raise ValueError(f'{path.name} ends early')


@contextmanager
def _entries(archive: Path) -> Iterator[Iterator[Entry]]:
    """Name, size and content of each file."""
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as file:
            yield _zip_entries(archive, file)
    else:
        with tarfile.open(archive) as packed:
            yield _tar_entries(archive, packed)


def _zip_entries(archive: Path, file: zipfile.ZipFile) -> Iterator[Entry]:
    for info in file.infolist():
        kind = info.external_attr >> 28  # of a Unix mode: 4 folder, 8 file, 0 not said
        if info.is_dir():
            continue
        if kind not in (0, 8) or info.flag_bits & 1:
            raise _refused(archive, info.filename)
        yield info.filename, info.file_size, lambda info=info: file.open(info)  # type: ignore[misc]


def _tar_entries(archive: Path, packed: tarfile.TarFile) -> Iterator[Entry]:
    for member in packed:
        if member.isdir():
            continue
        if not member.isreg() or member.issparse():
            raise _refused(archive, member.name)
        yield member.name, member.size, lambda member=member: packed.extractfile(member)  # type: ignore[misc]


def _refused(archive: Path, name: str) -> UserError:
    return UserError(
        f'Cannot unpack {archive}: {name[:100]!r} in it is a link, a device or encrypted; unpack it yourself if you '
        'trust it, and give the folder.'
    )
