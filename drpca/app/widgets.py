"""Parts that the page is made of."""

from __future__ import annotations

import math
from typing import Any

from fastapi import HTTPException
from nicegui import ui

from drpca.inference.detections import Target

COLUMNS = ('no.', 'row', 'column', 'area', 'peak', 'SNR')

STYLE = """
.tiles { display: grid; gap: 0.75rem; grid-template-columns: repeat(auto-fit, minmax(min(12rem, 100%), 1fr)); }
.q-uploader__subtitle { display: none; }
.q-uploader__list { min-height: 3rem; }
.pixels img { image-rendering: pixelated; }
.pixels { border-radius: 6px; overflow: hidden; background: #000; min-height: 4rem; }
"""


class Upload(ui.upload):
    """The library's upload, refusing forms without a file."""

    async def handle_uploads(self, files: list[Any]) -> None:
        if not files:
            raise HTTPException(400, 'A file is needed.')
        await super().handle_uploads(files)


class Tile(ui.column):
    """A picture with its title, the range of its values and a line on what it means."""

    def __init__(self, title: str, meaning: str) -> None:
        super().__init__()
        self.classes('w-full gap-1 min-w-0')
        with self:
            with ui.row().classes('w-full items-baseline gap-2'):
                ui.label(title).classes('text-sm font-medium')
                self.range = ui.label().classes('text-xs opacity-70')
            self.picture = ui.interactive_image(sanitize=False).classes('w-full pixels').props(f'alt="{title}"')
            ui.label(meaning).classes('text-xs opacity-70')

    def show(self, url: str, values: str = '') -> None:
        """Puts another picture in."""
        self.picture.set_source(url)
        self.range.set_text(values)


def targets_table() -> ui.table:
    """An empty table of targets."""
    table = ui.table(
        columns=[{'name': n, 'label': n, 'field': n, 'align': 'right'} for n in COLUMNS],
        rows=[],
        row_key=COLUMNS[0],
        pagination=8,
    )
    return table.classes('w-full').props('flat dense no-data-label="no score is above the threshold"')


def target_row(number: int, target: Target) -> dict[str, Any]:
    """A line of :func:`targets_table`."""
    snr = '–' if math.isnan(target.snr) else '∞' if math.isinf(target.snr) else f'{target.snr:.1f}'
    values = (number, f'{target.row:.1f}', f'{target.column:.1f}', target.area, f'{target.peak:.3f}', snr)
    return dict(zip(COLUMNS, values))


def heading(text: str) -> None:
    """The title of a card."""
    ui.label(text).classes('text-base font-semibold')


async def switch_dark(dark: ui.dark_mode) -> None:
    """From whatever the browser shows now to the other."""
    dark.value = not await ui.run_javascript('Quasar.Dark.isActive')
