"""Parts that the page is made of."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from fastapi import HTTPException
from nicegui import ui

from drpca.app.pictures import data_url
from drpca.inference.detections import Target

COLUMNS = ('no.', 'row', 'column', 'area', 'peak', 'SNR')

STYLE = """
.tiles { display: grid; gap: 0.75rem; grid-template-columns: repeat(auto-fit, minmax(min(12rem, 100%), 1fr)); }
.file-drop { display: flex; flex-wrap: wrap; gap: 0.5rem; align-items: center; padding: 0.75rem; width: 100%;
  border: 2px dashed #6f93bd; border-radius: 6px; font-size: 0.875rem; }
.file-drop.over { background: #2f5f9833; }
.file-drop-buttons { display: flex; gap: 0.5rem; }
.file-drop button { padding: 0.25rem 0.75rem; border-radius: 4px; background: #2f5f98; color: #fff; }
.file-drop button:focus-visible { outline: 3px solid #6f93bd; }
.linked-image { position: relative; overflow: hidden; width: 100%; border-radius: 6px; background: #000;
  cursor: crosshair; }
.linked-image:focus-visible { outline: 3px solid #2f5f98; outline-offset: 1px; }
.linked-image img, .linked-image svg { position: absolute; inset: 0; width: 100%; height: 100%; }
.linked-image img { image-rendering: pixelated; transform-origin: 0 0; max-width: none; }
.linked-image svg, .linked-cursor { pointer-events: none; }
.linked-cursor { position: absolute; width: 13px; height: 13px; margin: -7px 0 0 -7px; border: 1px solid #fff;
  outline: 1px solid #000; border-radius: 50%; }
.table-box { overflow-x: auto; }
.table-box .q-table__container, .table-box .q-table__middle { overflow: visible; min-width: max-content; }
.stale .linked-image, .stale img { opacity: 0.35; filter: grayscale(1); }
.stale .q-table__container { opacity: 0.65; }
"""

Attempt = Callable[..., Any]
"""``await attempt(function, *args)``: calls it in a thread, tells what goes wrong, gives None then."""


class Upload(ui.upload, component='file_drop.js'):
    """The library's upload, refusing forms without a file, with a face that keyboards and screen readers can use.

    Files are sent one by one. It sends ``begin``, with ``files``, their number, ``failed`` for each that was not taken,
    and ``finish``.
    """

    async def handle_uploads(self, files: list[Any]) -> None:
        if not files:
            raise HTTPException(400, 'A file is needed.')
        await super().handle_uploads(files)


class LinkedImage(ui.element, component='linked_image.js'):
    """A picture with a drawing on top, zoomed and moved together with all others of the page.

    It sends ``at``, where the cursor is, and ``pick``, where it was pressed: ``u`` and ``v`` are shares of the frame,
    from its left and its upper edge.

    Args:
        label: What it shows, for those who do not see it.
    """

    def __init__(self, label: str) -> None:
        super().__init__()
        self._props.update(src='', content='', label=label, width=1, height=1)

    @property
    def source(self) -> str:
        """The picture as a URL."""
        return str(self._props['src'])

    @property
    def content(self) -> str:
        """The drawing, SVG in pixels of the frame."""
        return str(self._props['content'])

    def show(self, picture: np.ndarray) -> None:
        """Puts another picture in, (H, W) or (H, W, 3) uint8."""
        self._props.update(src=data_url(picture), height=picture.shape[0], width=picture.shape[1])

    def draw(self, content: str) -> None:
        """Puts another drawing on top."""
        self._props['content'] = content


class Tile(ui.column):
    """A picture with its title, the range of its values and a line on what it means.

    Args:
        title: Of the picture.
        meaning: The line below it.
        watch: Is told the place of the cursor; see :class:`LinkedImage`.
        pick: Is told where it was pressed.
    """

    def __init__(
        self,
        title: str,
        meaning: str,
        watch: Callable[[float, float], None] | None = None,
        pick: Callable[[float, float], Any] | None = None,
    ) -> None:
        super().__init__()
        self.classes('w-full gap-1 min-w-0')
        with self:
            with ui.row().classes('w-full items-baseline gap-x-2 gap-y-0'):
                self.title = ui.label(title).classes('text-sm font-medium')
                self.range = ui.label().classes('text-xs opacity-80')
            self.picture = LinkedImage(title)
            self.meaning = ui.label(meaning).classes('text-xs opacity-80')
        if watch is not None:
            self.picture.on('at', lambda event: watch(*_place(event.args)), throttle=0.06)
        if pick is not None:
            self.picture.on('pick', lambda event: pick(*_place(event.args)))

    def show(self, picture: np.ndarray, values: str = '') -> None:
        """Puts another picture in, (H, W) or (H, W, 3) uint8, with the range of its values."""
        self.picture.show(picture)
        self.range.set_text(values)


def _place(sent: dict[str, Any]) -> tuple[float, float]:
    return float(sent['u']), float(sent['v'])


def data_table(name: str, **options: Any) -> ui.table:
    """A table with a name; where it is wider than the page, the keyboard scrolls it."""
    with ui.element('div').classes('table-box w-full').props(f'tabindex=0 role="region" aria-label="{name}"'):
        return ui.table(**options).classes('w-full').props('flat dense')


def sortable(names: Sequence[str], words: str) -> list[dict[str, Any]]:
    """Columns of numbers, or of texts of numbers, that are sorted as such; what is none comes first.

    Args:
        names: Of the columns.
        words: The one that holds words.
    """
    numbers = '(a, b) => { const n = v => isNaN(v) ? -1 : Number(v); return n(a) - n(b); }'
    return [
        {'name': n, 'label': n, 'field': n, 'sortable': True, 'align': 'left'}
        if n == words
        else {'name': n, 'label': n, 'field': n, 'sortable': True, 'align': 'right', ':sort': numbers}
        for n in names
    ]


def targets_table() -> ui.table:
    """An empty table of targets."""
    table = data_table(
        'targets',
        columns=[{'name': n, 'label': n, 'field': n, 'align': 'right'} for n in COLUMNS],
        rows=[],
        row_key=COLUMNS[0],
        pagination=8,
    )
    return table.props('no-data-label="no result yet"')


def target_row(number: int, target: Target) -> dict[str, Any]:
    """A line of :func:`targets_table`."""
    snr = '–' if math.isnan(target.snr) else '∞' if math.isinf(target.snr) else f'{target.snr:.1f}'
    values = (number, f'{target.row:.1f}', f'{target.column:.1f}', target.area, f'{target.peak:.3f}', snr)
    return dict(zip(COLUMNS, values))


def heading(text: str, level: int = 2) -> ui.element:
    """A heading; those of level 2 are the titles of cards."""
    with ui.element(f'h{level}').classes('text-base font-semibold leading-6') as element:
        ui.label(text)
    return element


def icon_button(icon: str, name: str, on_click: Callable[[], Any]) -> ui.button:
    """A button without a text, which is named all the same."""
    with ui.button(icon=icon, color=None, on_click=on_click).props(f'flat dense aria-label="{name}"') as button:
        ui.tooltip(name)
    return button


def slider(name: str, **options: Any) -> ui.slider:
    """A slider with a name for those who do not see it."""
    return ui.slider(**options).props(f'label aria-label="{name}"').classes('grow')


async def switch_dark(dark: ui.dark_mode) -> None:
    """From whatever the browser shows now to the other."""
    dark.value = not await ui.run_javascript('Quasar.Dark.isActive')
