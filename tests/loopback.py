"""A server on loopback that stands in for the hosts of published files, and misbehaves when told to."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest


class Host(ThreadingHTTPServer):
    """What it serves and what was asked of it.

    Attributes:
        files: Path → content.
        requests: Path and headers of each request.
        cuts: Bytes after which the connection of each coming request ends, in their order.
        redirects: Path → address.
        status: Of all answers, if not 0.
        length: Said in place of the true length, if not None.
        chunks: Answer without saying a length.
        etag: The server's name of the version.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(('127.0.0.1', 0), _Handler)
        self.files: dict[str, bytes] = {}
        self.requests: list[tuple[str, dict[str, str]]] = []
        self.cuts: list[int] = []
        self.redirects: dict[str, str] = {}
        self.status, self.length, self.chunks, self.etag = 0, None, False, '"one"'

    @property
    def address(self) -> str:
        return f'http://127.0.0.1:{self.server_port}'


class _Handler(BaseHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        host: Host = self.server  # type: ignore[assignment]
        host.requests.append((self.path, dict(self.headers)))
        if host.status or self.path in host.redirects or self.path not in host.files:
            self.send_response(host.status or (302 if self.path in host.redirects else 404))
            self.send_header('Location', host.redirects.get(self.path, ''))
            self.send_header('Content-Length', '0')
            self.end_headers()
            return
        content, begin = host.files[self.path], 0
        if 'Range' in self.headers and self.headers.get('If-Range') == host.etag:
            begin = int(self.headers['Range'].removeprefix('bytes=').removesuffix('-'))
        if begin > len(content):
            self.send_error(416)
            return
        self.send_response(206 if begin else 200)
        if begin:
            self.send_header('Content-Range', f'bytes {begin}-{len(content) - 1}/{len(content)}')
        if not host.chunks:
            self.send_header('Content-Length', str(host.length or len(content) - begin))
        self.send_header('ETag', host.etag)
        self.end_headers()
        self.wfile.write(content[begin:][: host.cuts.pop(0) if host.cuts else None])


@contextmanager
def serving(files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    """A host of these files; downloads of this process go there, without a proxy and without pauses."""
    host = Host()
    host.files = files
    thread = threading.Thread(target=host.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    monkeypatch.setenv('DRPCA_MIRROR', host.address)
    for name in ('http_proxy', 'https_proxy', 'all_proxy'):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setattr('drpca.fetch.PAUSE', 0.0)
    try:
        yield host
    finally:
        host.shutdown()
        host.server_close()
        thread.join()
