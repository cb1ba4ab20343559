"""Files from the network, kept in a cache once they have proven to be the ones that were asked for.

A file is named by repository, commit and path on GitHub, so that its address never changes, and is known by git's own
identifier of its content. Neither pooch nor ``torch.hub`` takes up a broken transfer or knows such identifiers, hence
the transfer below, over the standard library.
"""

from __future__ import annotations

import hashlib
import http.client
import os
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
import zipfile
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from drpca.errors import UserError, warn
from drpca.files import cannot_write, in_use

HOME, MIRROR = 'DRPCA_HOME', 'DRPCA_MIRROR'
"""Variables of the environment: the folder of the cache; an address in place of the hosts of GitHub."""
RAW, CODELOAD = 'https://raw.githubusercontent.com', 'https://codeload.github.com'
LIMIT = 2**26
"""Most bytes of a file of unknown size."""
ATTEMPTS, PAUSE, TIMEOUT = 4, 1.0, 30.0
"""How often a transfer is taken up, the seconds before the second time, and those without a byte that end one."""
_CHUNK = 2**18
_PASSING = {408, 425, 429, 500, 502, 503, 504}


def cache_folder() -> Path:
    """Where fetched files are kept: ``$DRPCA_HOME``, else ``drpca`` in the user's cache folder of the platform."""
    if os.environ.get(HOME):
        return Path(os.environ[HOME]).expanduser()
    import platformdirs

    return platformdirs.user_cache_path('drpca', appauthor=False)


def file_url(repository: str, commit: str, path: str) -> str:
    """Address of a file of a GitHub repository (``'OWNER/REPO'``), or of a mirror with the same paths."""
    return f'{_base(RAW)}/{repository}/{commit}/{urllib.parse.quote(path)}'


def archive_url(repository: str, commit: str) -> str:
    """Address of a whole commit as a zip archive, or of a mirror with the same paths."""
    return f'{_base(CODELOAD)}/{repository}/zip/{commit}'


def _base(host: str) -> str:
    return (os.environ.get(MIRROR) or host).rstrip('/')


def blob_id(path: str | Path) -> str:
    """Git's identifier of a file: the SHA-1 of ``blob <size in bytes>\\0`` and the content, in hexadecimal digits."""
    start = f'blob {os.path.getsize(path)}\0'.encode()
    return _digest(Path(path), hashlib.sha1(start, usedforsecurity=False))


def _digest(path: Path, state: Any) -> str:
    with open(path, 'rb') as file:
        while chunk := file.read(_CHUNK):
            state.update(chunk)
    return state.hexdigest()


def fault_of(path: Path, size: int | None = None, blob: str | None = None, sha256: str | None = None) -> str:
    """Why a file is not the one with these properties; '' if it is, as far as they tell."""
    if size is not None and path.stat().st_size != size:
        return f'it has {path.stat().st_size:,} bytes, expected {size:,}'
    if blob is not None and (found := blob_id(path)) != blob:
        return f"git's identifier of it is {found}, expected {blob}"
    if sha256 is not None and (found := _digest(path, hashlib.sha256())) != sha256:
        return f'its SHA-256 is {found}, expected {sha256}'
    return ''


def fetch(
    url: str,
    name: str,
    *,
    size: int | None = None,
    blob: str | None = None,
    sha256: str | None = None,
    check: Callable[[Path], str] | None = None,
    limit: int = LIMIT,
    progress: bool = True,
) -> Path:
    """A file out of the cache, fetched first if it is not there; what comes back has been verified.

    A broken transfer is taken up where it ended, also by a later call. Of two processes that want the same file, one
    fetches it and the other waits. Nothing that has not been verified ever has the file's name.

    Args:
        url: ``https://…``, or ``http://…`` (a mirror); see :func:`file_url`.
        name: What it is called below :func:`cache_folder`, ``'weights/RPCANet.pkl'``.
        size: In bytes, if known.
        blob: See :func:`blob_id`.
        sha256: In hexadecimal digits.
        check: A further check of the whole file: why it cannot be used, '' if it can.
        limit: Most bytes, where the size is not known.
        progress: Show it on standard error.

    Returns:
        Its path. It is checked again with every call.

    Raises:
        UserError: No connection, another address than HTTP, a file that is not the expected one, or a cache that
            cannot be written.
        ValueError: Nothing to verify it by.
    """
    if not (blob or sha256 or check):
        raise ValueError('Nothing to verify the file by.')
    target = cache_folder() / name

    def fault(path: Path) -> str:
        return fault_of(path, size, blob, sha256) or (check(path) if check else '')

    if target.is_file() and not fault(target):
        return target
    with in_use(target.parent, wait=True):
        if target.is_file():  # of another process, meanwhile; or saved by hand
            if not (found := fault(target)):
                return target
            warn(f'{target} is not the file that was asked for: {found}; it is fetched anew.')
        part = target.with_name(f'.{target.name}.part')
        was_there = part.is_file()
        found = ''
        if not was_there or fault(part):
            found = _transfer(url, part, target, size, size or limit, progress) or fault(part)
        if found and was_there:  # it is of another time, or damaged
            _forget(part)
            found = _transfer(url, part, target, size, size or limit, progress) or fault(part)
        if found:
            _forget(part)
            raise UserError(
                f'{url} is not the file that was asked for: {found}; it was thrown away. Try again, or without the '
                'proxy or mirror in between.'
            )
        try:
            with open(part, 'rb+') as file:
                os.fsync(file.fileno())
            os.replace(part, target)
        except OSError as error:
            raise cannot_write(target, error) from None
        _forget(part)
    return target


def fetch_archive(repository: str, commit: str, name: str, *, limit: int, progress: bool = True) -> Path:
    """A whole commit of a GitHub repository as a zip archive, as :func:`fetch`.

    GitHub makes such archives when they are asked for, so no hash of them is known. One is taken if it names the commit
    (its comment, which ``git archive`` writes) and the checksums of all files in it are right.

    Args:
        repository: ``'OWNER/REPO'``.
        commit: In 40 hexadecimal digits.
        name: What it is called below :func:`cache_folder`.
        limit: Most bytes, of the archive and of what is in it.
        progress: Show it on standard error.

    Raises:
        UserError: As :func:`fetch`.
    """

    def check(path: Path) -> str:
        try:
            with zipfile.ZipFile(path) as archive:
                if archive.comment.decode('ascii', 'replace') != commit:
                    return f'it is no archive of commit {commit}'
                if sum(entry.file_size for entry in archive.infolist()) > limit:
                    return f'what is in it is larger than {limit:,} bytes'
                damaged = archive.testzip()
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError) as error:
            return f'it is no whole zip archive ({error})'
        return '' if damaged is None else f'{damaged} in it is damaged'

    return fetch(archive_url(repository, commit), name, check=check, limit=limit, progress=progress)


class _BrokenError(Exception):
    """A transfer that ended early, or did not begin, for a reason that may pass."""


class _Redirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, request: Any, file: Any, code: int, text: str, headers: Any, url: str) -> Any:
        _check_scheme(url, ('https',) if request.type == 'https' else ('https', 'http'))
        return super().redirect_request(request, file, code, text, headers, url)


def _check_scheme(url: str, allowed: tuple[str, ...]) -> None:
    if not url.lower().startswith(tuple(f'{scheme}://' for scheme in allowed)):
        raise UserError(
            f'Expected an address that begins with {" or ".join(f"{scheme}://" for scheme in allowed)}, got '
            f'{url[:200]!r}: nothing was fetched; correct {MIRROR}, or do without that mirror or proxy.'
        )


def _opener() -> urllib.request.OpenerDirector:
    """HTTP and HTTPS, by the proxies of the environment, and nothing else."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler, urllib.request.HTTPHandler, urllib.request.HTTPSHandler, _Redirects,
        urllib.request.HTTPErrorProcessor, urllib.request.HTTPDefaultErrorHandler, urllib.request.UnknownHandler,
    ):  # fmt: skip
        opener.add_handler(handler())
    return opener


def _source_of(part: Path) -> Path:
    """The file beside a part that says where it is from: its address, and the server's name of that version."""
    return part.with_name(f'{part.name}.source')


def _forget(part: Path) -> None:
    for path in (part, _source_of(part)):
        with suppress(OSError):
            path.unlink(missing_ok=True)


def _transfer(url: str, part: Path, target: Path, size: int | None, limit: int, progress: bool) -> str:
    """Fills a file up to its end; why what comes cannot be what was asked for, '' if it may be."""
    _check_scheme(url, ('https', 'http'))
    reason = ''
    for attempt in range(ATTEMPTS):
        time.sleep(PAUSE * attempt)
        try:
            return _receive(url, part, size, limit, progress)
        except _BrokenError as error:
            reason = str(error)
    kept = ' What has arrived is kept and taken up again.' if part.is_file() else ''
    raise UserError(
        f'Cannot fetch {url}: {reason}. Check the network or the proxy (HTTPS_PROXY), name a mirror ({MIRROR}), or '
        f'save that address as {target}: it is checked before it is used.{kept}'
    )


def _receive(url: str, part: Path, size: int | None, limit: int, progress: bool) -> str:
    """One request, for what is missing of a part; see :func:`_transfer`."""
    request = urllib.request.Request(url, headers={'User-Agent': 'drpca', 'Accept-Encoding': 'identity'})
    there = _resumable(part, url)
    if there:
        request.add_header('Range', f'bytes={there[0]}-')
        request.add_header('If-Range', there[1])
    try:
        with _opener().open(request, timeout=TIMEOUT) as response:
            begin = there[0] if there and response.status == 206 else 0
            total = _total(response, begin)
            if total is not None and (total > limit or (size is not None and total != size)):
                return f'it has {total:,} bytes, expected {f"{size:,}" if size is not None else f"{limit:,} at most"}'
            _note_source(part, url, response)
            return _write(response, part, begin, size if total is None else total, limit, progress)
    except urllib.error.HTTPError as error:
        if error.code in _PASSING:
            raise _BrokenError(f'the server says {error.code} {error.reason}') from None
        if error.code == 416:  # the part ends where no file of that size does
            _forget(part)
            raise _BrokenError('the server has nothing from there on') from None
        raise UserError(
            f'Cannot fetch {url}: the server says {error.code} {error.reason[:200]}; it may have moved, or {MIRROR} '
            'names another place.'
        ) from None
    except (http.client.HTTPException, OSError, ValueError) as error:  # URLError, timeouts, TLS; a malformed answer
        reason = getattr(error, 'reason', error)
        raise _BrokenError(str(reason)[:200] or type(error).__name__) from None


def _resumable(part: Path, url: str) -> tuple[int, str] | None:
    """The bytes that are there and the server's name of their version, if they are of this address."""
    with suppress(OSError, ValueError):
        source, version = _source_of(part).read_text(encoding='utf-8').splitlines()
        if source == url and version and part.stat().st_size:
            return part.stat().st_size, version
    return None


def _note_source(part: Path, url: str, response: Any) -> None:
    version = response.headers.get('ETag') or ''
    if not version.startswith('"'):  # a weak one stands for several contents
        version = response.headers.get('Last-Modified') or ''
    try:
        _source_of(part).write_text(f'{url}\n{version}\n', encoding='utf-8')
    except OSError as error:
        raise cannot_write(part, error) from None


def _total(response: Any, begin: int) -> int | None:
    """Bytes of the whole file, as the server says."""
    if response.status == 206:
        span, _, total = (response.headers.get('Content-Range') or '').removeprefix('bytes ').partition('/')
        if span.partition('-')[0] != str(begin):
            raise ValueError('another part than asked for')
        return int(total)
    length = response.headers.get('Content-Length')
    return None if length is None else int(length)


def _write(response: Any, part: Path, begin: int, total: int | None, limit: int, progress: bool) -> str:
    from tqdm import tqdm

    try:
        file = open(part, 'ab' if begin else 'wb')  # noqa: SIM115
    except OSError as error:
        raise cannot_write(part, error) from None
    bar = tqdm(
        desc=part.name[1:-5], total=total, initial=begin, unit='B', unit_scale=True, leave=False, file=sys.stderr,
        disable=None if progress else True,
    )  # fmt: skip
    count = begin
    with file, bar:
        while chunk := response.read(_CHUNK):
            count += len(chunk)
            if count > limit:
                return f'it has more than {limit:,} bytes'
            try:
                file.write(chunk)
                file.flush()
            except OSError as error:
                raise cannot_write(part, error) from None
            bar.update(len(chunk))
    if total is not None and count < total:
        raise _BrokenError(f'the connection ended after {count:,} of {total:,} bytes')
    return ''
