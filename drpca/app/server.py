"""The web server of the page, and its limits.

Pictures are data URLs and the download is sent as bytes, so no answer names a file of this machine. The library's
own scripts and fonts are served from its package.
"""

from __future__ import annotations

import functools
import logging
import sys
from collections.abc import Callable, Sequence
from inspect import isawaitable
from typing import Any

from nicegui import app, core, ui
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from drpca.app.choices import DetectorStore
from drpca.app.page import Page
from drpca.app.samples import Sample
from drpca.app.work import WorkQueue

_FORM_OVERHEAD = 64 * 1024
# Nobody shows the page inside another one, or guesses what kind of file an answer is.
_HEADERS = (
    (b'x-frame-options', b'DENY'),
    (b'content-security-policy', b"frame-ancestors 'none'"),
    (b'x-content-type-options', b'nosniff'),
    (b'referrer-policy', b'no-referrer'),
)
_LOOPBACK_NAMES = ['localhost', '127.0.0.1', '::1', '[::1]']
_ICON = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><rect width="32" height="32" rx="7" fill="#1f3a5f"/>'
    '<circle cx="21" cy="11" r="3.5" fill="#ffb020"/><path d="M4 24h24M4 20h24M4 28h24" stroke="#6f93bd"/></svg>'
)


class Limits:
    """Refuses request bodies above a size before they are read, and puts protective headers on every answer.

    A body above the size is answered with 413, one of no announced size with 411, and an upload form whose entries are
    no files with 400.

    Args:
        app: The application behind it.
        max_bytes: Largest file; forms may be a little larger.
    """

    def __init__(self, app: ASGIApp, max_bytes: int) -> None:
        self.app = app
        self.max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope['type'] == 'websocket':
            try:
                await self.app(scope, receive, send)
            except (KeyError, TypeError, ValueError) as error:  # the library's parser meets what is no message
                print(f'closed a socket after a malformed message ({type(error).__name__})', file=sys.stderr)
            return
        if scope['type'] != 'http':
            await self.app(scope, receive, send)
            return

        async def send_protected(message: Message) -> None:
            if message['type'] == 'http.response.start':
                message['headers'] = [*message.get('headers', ()), *_HEADERS]
            await send(message)

        if scope['method'] not in ('GET', 'HEAD', 'OPTIONS'):
            length = dict(scope['headers']).get(b'content-length', b'')
            if not length.isdigit():
                await PlainTextResponse('Content-Length is needed.', 411)(scope, receive, send_protected)
                return
            if int(length) > self.max_bytes + _FORM_OVERHEAD:
                await PlainTextResponse('The file is too large.', 413)(scope, receive, send_protected)
                return
        try:
            await self.app(scope, receive, send_protected)
        except AttributeError:
            if '/upload/' not in scope['path']:
                raise
            await PlainTextResponse('A file is needed.', 400)(scope, receive, send_protected)


def _one_line(handler: Callable[..., Any]) -> Callable[..., Any]:
    """A handler of socket messages that answers a malformed one with a line, not with a traceback."""

    @functools.wraps(handler)
    async def run(*args: Any) -> Any:
        try:
            result = handler(*args)
            return await result if isawaitable(result) else result
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            print(f'refused a malformed message ({type(error).__name__})', file=sys.stderr)
            return False

    return run


def _without_traceback(record: logging.LogRecord) -> bool:
    """A filter of log records: what the socket library says of a malformed message becomes one line."""
    if record.name == 'asyncio':
        if 'AsyncServer._handle_event_internal' not in record.getMessage():
            return True
        record.msg, record.args = 'refused a malformed message', ()
    record.exc_info = record.exc_text = None
    return True


def guard_sockets() -> None:
    """Lets sockets be opened from the page's own origin alone, and by messages of the right form alone."""
    core.sio.eio.cors_allowed_origins = None  # the library's word for: the host that was asked
    handlers = core.sio.handlers['/']
    for name in handlers.keys() - {'connect', 'disconnect'}:  # these hold nothing that a visitor writes
        handlers[name] = _one_line(handlers[name])
    for name in ('engineio.server', 'socketio.server', 'asyncio'):
        logging.getLogger(name).addFilter(_without_traceback)


def protect(loopback: bool, max_upload: int) -> None:
    """Puts the limits in front of the application.

    Args:
        loopback: Answer only to names of this machine, so that no other site's name can be pointed at it.
        max_upload: Largest file in bytes.
    """
    guard_sockets()
    app.add_middleware(Limits, max_bytes=max_upload)
    if loopback:
        app.add_middleware(TrustedHostMiddleware, allowed_hosts=_LOOPBACK_NAMES)
    app.on_page_exception(lambda: ui.label('The page cannot be shown; the terminal it runs in tells why.'))


def serve(
    store: DetectorStore,
    samples: Sequence[Sample],
    *,
    host: str,
    port: int,
    loopback: bool,
    max_upload: int,
    show: bool,
) -> None:
    """Serve the page until the process is stopped.

    Args:
        store: The detectors.
        samples: The samples.
        host: Address to answer on.
        port: Free port.
        loopback: The address is reached from this machine alone.
        max_upload: Largest image file in bytes.
        show: Open the page in a browser.
    """
    protect(loopback, max_upload)
    shown = f'[{host}]' if ':' in host else host
    app.on_startup(lambda: print(f'The page is at http://{shown}:{port} (Ctrl-C stops it)', flush=True))
    queue = WorkQueue()
    app.on_shutdown(lambda: queue.close())  # the library would hand itself over

    def build() -> None:
        Page(store, samples, max_upload, queue, ui.context.client.request.query_params).build()

    ui.run(
        build, host=host, port=port, title='drpca', favicon=_ICON,
        dark=None, language='en-GB', show=show, reload=False, show_welcome_message=False, reconnect_timeout=15,
    )  # fmt: skip
