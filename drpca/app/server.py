"""The web server of the page, and its limits.

Pictures are data URLs and the download is sent as bytes, so no answer names a file of this machine. The library's
own scripts and fonts are served from its package.
"""

from __future__ import annotations

from collections.abc import Sequence

from nicegui import app, ui
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from drpca.app.choices import DetectorStore
from drpca.app.page import Page
from drpca.app.samples import Sample

_FORM_OVERHEAD = 64 * 1024
_LOOPBACK_NAMES = ['localhost', '127.0.0.1', '::1', '[::1]']
_ICON = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><rect width="32" height="32" rx="7" fill="#1f3a5f"/>'
    '<circle cx="21" cy="11" r="3.5" fill="#ffb020"/><path d="M4 24h24M4 20h24M4 28h24" stroke="#6f93bd"/></svg>'
)


class UploadLimit:
    """Refuses request bodies above a size before they are read: 413, or 411 where none is announced.

    Args:
        app: The application behind it.
        max_bytes: Largest file; forms may be a little larger.
    """

    def __init__(self, app: ASGIApp, max_bytes: int) -> None:
        self.app = app
        self.max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope['type'] == 'http' and scope['method'] not in ('GET', 'HEAD', 'OPTIONS'):
            length = dict(scope['headers']).get(b'content-length', b'')
            if not length.isdigit():
                await PlainTextResponse('Content-Length is needed.', 411)(scope, receive, send)
                return
            if int(length) > self.max_bytes + _FORM_OVERHEAD:
                await PlainTextResponse('The file is too large.', 413)(scope, receive, send)
                return
        await self.app(scope, receive, send)


def protect(loopback: bool, max_upload: int) -> None:
    """Puts the limits in front of the application.

    Args:
        loopback: Answer only to names of this machine, so that no other site's name can be pointed at it.
        max_upload: Largest file in bytes.
    """
    app.add_middleware(UploadLimit, max_bytes=max_upload)
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
    ui.run(
        lambda: Page(store, samples, max_upload).build(),
        host=host,
        port=port,
        title='drpca',
        favicon=_ICON,
        dark=None,
        language='en-GB',
        show=show,
        reload=False,
        show_welcome_message=False,
    )
