"""Files from the network: verified before they are used, taken up where they broke off, fetched once."""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import threading
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from drpca import fetch as F
from drpca.errors import UserError
from drpca.fetch import archive_url, blob_id, cache_folder, fetch, fetch_archive, file_url
from drpca.files import in_use
from tests.loopback import Host, serving
from tests.support import limited_files

CONTENT = bytes(range(256)) * 4000
BLOB = hashlib.sha1(b'blob %d\0' % len(CONTENT) + CONTENT).hexdigest()
SHA256 = hashlib.sha256(CONTENT).hexdigest()
PATH = '/someone/net/c0ffee/a%20b/w%2B.pkl'
COMMIT = 'ab' * 20


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    monkeypatch.setenv('DRPCA_HOME', str(tmp_path / 'home'))
    with serving({PATH: CONTENT}, monkeypatch) as host:
        yield host


def get(**more: Any) -> Path:
    known = {'size': len(CONTENT), 'blob': BLOB, 'sha256': SHA256, 'progress': False}
    return fetch(file_url('someone/net', 'c0ffee', 'a b/w+.pkl'), 'weights/w.pkl', **(known | more))


def kept() -> list[str]:
    return sorted(path.name for path in (cache_folder() / 'weights').iterdir() if path.name != '.lock')


def test_the_identifier_is_that_of_git(tmp_path: Path) -> None:
    (tmp_path / 'file').write_bytes(CONTENT)
    assert blob_id(tmp_path / 'file') == BLOB
    git = subprocess.run(['git', 'hash-object', tmp_path / 'file'], capture_output=True, text=True, check=False)
    assert git.returncode != 0 or git.stdout.strip() == BLOB


def test_fetched_once_then_taken_from_the_cache(host: Host) -> None:
    assert get() == cache_folder() / 'weights' / 'w.pkl'
    assert get().read_bytes() == CONTENT
    assert [path for path, _ in host.requests] == [PATH]
    assert kept() == ['w.pkl']
    host.shutdown()
    assert get().read_bytes() == CONTENT, 'without a network, too'


def test_a_file_of_the_cache_that_has_changed_is_fetched_again(host: Host) -> None:
    get().write_bytes(CONTENT[:-1] + b'x')
    assert get().read_bytes() == CONTENT
    assert len(host.requests) == 2


@pytest.mark.parametrize('known', [{'sha256': None}, {'blob': None}, {'size': None}, {'size': None, 'sha256': None}])
@pytest.mark.parametrize(
    'wrong', [CONTENT[:-1] + b'x', CONTENT[:-1], CONTENT + b'x', b'', b'<html>'], ids=len
)  # fmt: skip
@pytest.mark.parametrize('chunks', [False, True])
def test_another_file_is_refused_and_nothing_of_it_stays(host: Host, known: dict, wrong: bytes, chunks: bool) -> None:
    host.files[PATH], host.chunks = wrong, chunks
    with pytest.raises(UserError, match=r'is not the file that was asked for|the connection ended after') as error:
        get(**known)
    assert [name for name in kept() if not name.startswith('.')] == []
    if 'is not the file' in str(error.value):
        assert kept() == []
    host.files[PATH], host.chunks = CONTENT, False
    assert get(**known).read_bytes() == CONTENT


def test_more_than_the_limit_is_refused_before_it_is_read(host: Host) -> None:
    for host.chunks in (False, True):
        with pytest.raises(UserError, match='1,000'):
            get(size=None, limit=1000)
    assert kept() == []


def test_a_broken_transfer_goes_on_where_it_ended(host: Host) -> None:
    host.cuts = [300_000, 400_000]
    assert get().read_bytes() == CONTENT
    asked = [headers.get('Range') for _, headers in host.requests]
    assert asked == [None, 'bytes=300000-', 'bytes=700000-']
    assert kept() == ['w.pkl']


def test_a_later_call_goes_on_and_a_changed_source_begins_anew(host: Host) -> None:
    def break_off() -> None:
        host.cuts, host.requests = [300_000, 0, 0, 0], []
        with pytest.raises(UserError, match=r'ended after 300,000 of 1,024,000 bytes.*DRPCA_MIRROR.*w\.pkl'):
            get()
        assert kept() == ['.w.pkl.part', '.w.pkl.part.source']

    break_off()
    assert get().read_bytes() == CONTENT
    assert host.requests[-1][1]['If-Range'] == '"one"'

    get().unlink()
    break_off()
    host.etag = '"two"'
    assert get().read_bytes() == CONTENT

    get().unlink()
    break_off()
    part = cache_folder() / 'weights' / '.w.pkl.part'
    part.write_bytes(b'x' * 300_000)
    assert get().read_bytes() == CONTENT, 'a part that is damaged is thrown away'

    get().unlink()
    break_off()
    part.write_bytes(CONTENT)
    host.requests = []
    assert get().read_bytes() == CONTENT
    assert host.requests == [], 'it was whole already'

    get().unlink()
    break_off()
    part.write_bytes(CONTENT + b'x')
    assert get().read_bytes() == CONTENT, 'a part that is too long, which the server refuses to continue'


def test_a_server_without_names_of_versions_is_asked_for_the_whole(host: Host) -> None:
    host.etag, host.cuts = 'W/"weak"', [300_000]
    assert get().read_bytes() == CONTENT
    assert [headers.get('Range') for _, headers in host.requests] == [None, None]


def test_no_network(host: Host) -> None:
    host.shutdown()
    host.server_close()
    with pytest.raises(UserError, match=r'Cannot fetch http://127.*HTTPS_PROXY.*DRPCA_MIRROR.*home/weights/w\.pkl'):
        get()
    target = cache_folder() / 'weights' / 'w.pkl'
    target.write_bytes(CONTENT)
    assert get() == target, 'as the message says'


@pytest.mark.parametrize(('status', 'requests'), [(404, 1), (403, 1), (503, 4)])
def test_the_servers_refusals(host: Host, status: int, requests: int) -> None:
    host.status = status
    with pytest.raises(UserError, match=str(status)):
        get()
    assert len(host.requests) == requests


def test_only_http(host: Host, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    secret = tmp_path / 'secret'
    secret.write_bytes(CONTENT)
    for address in (secret.as_uri(), f'ftp://127.0.0.1:{host.server_port}/x', 'data:,x', f'{host.address}/elsewhere'):
        host.redirects[PATH] = address
        with pytest.raises(UserError, match=r'not allowed|Expected an address|404'):
            get()
    host.redirects[PATH], host.files['/elsewhere'] = '/elsewhere', CONTENT
    assert get().read_bytes() == CONTENT
    with pytest.raises(UserError, match='begins with https://'):
        F._Redirects().redirect_request(F.urllib.request.Request('https://a/b'), None, 302, '', {}, 'http://a/c')
    monkeypatch.setenv('DRPCA_MIRROR', tmp_path.as_uri())
    get().unlink()
    with pytest.raises(UserError, match=r'Expected an address that begins with https:// or http://'):
        get()


def test_by_way_of_a_proxy(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('http_proxy', host.address)
    monkeypatch.setenv('no_proxy', '')
    monkeypatch.setenv('DRPCA_MIRROR', 'http://mirror.invalid')
    host.files[f'http://mirror.invalid{PATH}'] = CONTENT
    assert get().read_bytes() == CONTENT


def test_two_at_once_fetch_once(host: Host, capfd: pytest.CaptureFixture) -> None:
    deadline = time.monotonic() + 10
    with in_use(cache_folder() / 'weights'):
        threads = [threading.Thread(target=get) for _ in range(2)]
        for thread in threads:
            thread.start()
        said = ''
        while said.count('waiting for it') < 2 and time.monotonic() < deadline:
            said += capfd.readouterr().err
            time.sleep(0.01)
    for thread in threads:
        thread.join()
    assert said.count('waiting for it') == 2
    assert len(host.requests) == 1
    assert kept() == ['w.pkl']


def test_a_full_disk(host: Host) -> None:
    with limited_files(400_000), pytest.raises(UserError, match='disk is full'):
        get()
    assert get().read_bytes() == CONTENT


def test_where_files_are(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ('DRPCA_HOME', 'DRPCA_MIRROR'):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv('XDG_CACHE_HOME', '/somewhere')
    assert cache_folder().name == 'drpca'
    assert os.name != 'posix' or os.uname().sysname != 'Linux' or cache_folder() == Path('/somewhere/drpca')
    assert file_url('a/b', 'c', 'd/e f+.pkl') == 'https://raw.githubusercontent.com/a/b/c/d/e%20f%2B.pkl'
    assert archive_url('a/b', 'c') == 'https://codeload.github.com/a/b/zip/c'
    with pytest.raises(ValueError, match='verify'):
        fetch('https://a', 'b')


def zipped(comment: str, damage: bool = False) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, 'w') as archive:
        archive.comment = comment.encode()
        archive.writestr('repo/picture.png', b'picture' * 100)
    content = buffer.getvalue()
    return content.replace(b'picture' * 100, b'pictura' * 100) if damage else content


def test_archives(host: Host) -> None:
    path = f'/someone/net/zip/{COMMIT}'
    for content, reason in (
        (zipped('cd' * 20), 'no archive of commit'),
        (zipped(COMMIT, damage=True), 'picture.png in it is damaged'),
        (zipped(COMMIT)[:-60], 'no whole zip'),
        (CONTENT[:500], 'no whole zip'),
    ):
        host.files[path] = content
        with pytest.raises(UserError, match=reason):
            fetch_archive('someone/net', COMMIT, 'weights/net.zip', limit=10_000, progress=False)
        assert kept() == []
    host.files[path] = zipped(COMMIT)
    with pytest.raises(UserError, match=r'expected 650 at most'):
        fetch_archive('someone/net', COMMIT, 'weights/net.zip', limit=650, progress=False)
    found = fetch_archive('someone/net', COMMIT, 'weights/net.zip', limit=10_000, progress=False)
    assert zipfile.ZipFile(found).namelist() == ['repo/picture.png']


def test_a_file_saved_by_hand_that_is_another_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('DRPCA_HOME', str(tmp_path))
    monkeypatch.setattr('drpca.fetch.PAUSE', 0)
    (tmp_path / 'w').write_bytes(b'<html>')
    with pytest.warns(UserWarning, match='has 6 bytes, expected 9'), pytest.raises(UserError, match='Cannot fetch'):
        fetch('http://127.0.0.1:9/w', 'w', size=9, blob='0' * 40)
