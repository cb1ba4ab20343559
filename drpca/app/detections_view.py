"""What was found in the frame: pictures, threshold, table, download."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from nicegui import events, ui

from drpca.app import pictures
from drpca.app.analysis import AnalysedFrame
from drpca.app.download import results_zip
from drpca.app.verdicts import Verdicts, judge
from drpca.app.widgets import Attempt, Tile, heading, icon_button, slider, target_row, targets_table
from drpca.inference.detections import Detection
from drpca.visualization.panels import range_text, variable_picture

SCORES, LOGITS = 'scores', 'logits'
MAX_THRESHOLD = 0.99
READOUT = 'Point at a picture for its values; zoom with + and −, the wheel (Ctrl, or after a click) or a double click.'


class DetectionsView:
    """The card of detections.

    Args:
        threshold: To begin with.
        attempt: Runs a function in a thread.
        changed: Called when the threshold was moved.
        look_at: Told row and column of a place that was pressed.

    Attributes:
        analysis: What is shown; None before the first result. Its score map serves every threshold.
        detection: The same at the threshold.
    """

    def __init__(
        self, threshold: float, attempt: Attempt, changed: Callable[[], Any], look_at: Callable[[int, int], Any]
    ) -> None:
        self.analysis: AnalysedFrame | None = None
        self.detection: Detection | None = None
        self._attempt = attempt
        self._changed = changed
        self._look_at = look_at
        self._turn = 0
        self.drawing = asyncio.Lock()
        with ui.card().classes('w-full'):
            with ui.row().classes('w-full items-center gap-x-4 gap-y-1'):
                heading('Detections')
                self.title = ui.label().classes('text-sm').mark('title')
                self.count = ui.label().classes('text-sm opacity-80').props('role="status"').mark('count')
                ui.space()
                self.save = ui.button('Download results', icon='download', on_click=self._download)
                self.save.props('dense no-caps padding="4px 12px"').mark('download')
                self.save.disable()
            with ui.row().classes('w-full items-center no-wrap gap-4'):
                ui.label('threshold').classes('text-sm')
                self.threshold = slider(
                    'threshold', min=0, max=MAX_THRESHOLD, step=0.01, value=threshold, on_change=self._moved
                ).mark('threshold')
                shown = ui.label().classes('w-10')
                shown.bind_text_from(self.threshold, 'value', lambda value: f'{value:.2f}')
            with ui.row().classes('w-full items-center gap-3'):
                self.display = ui.select(
                    pictures.DISPLAYS, value='seen', label='grey values shown', on_change=self._draw_pictures
                ).mark('display')
                self.colours = ui.select(
                    list(pictures.COLOURS), value='grey', label='colours', on_change=self._draw_pictures
                ).mark('colours')
                self.map_of = ui.select(
                    [SCORES], value=SCORES, label='score map of', on_change=self._draw_pictures
                ).mark('map-of')
                for select in (self.display, self.colours, self.map_of):
                    select.classes('min-w-32').props('outlined dense options-dense')
            with ui.element('div').classes('tiles w-full'):
                self.overlay = Tile('frame', 'red: detections', self._look, self._pick)
                self.score_map = Tile('score map', '', self._look, self._pick)
                self.mask = Tile('mask', 'scores above the threshold', self._look, self._pick)
            with ui.row().classes('w-full items-center gap-2 min-h-8'):
                zoom = self.overlay.picture.run_method
                for icon, name, call in (
                    ('zoom_in', 'zoom in', partial(zoom, 'zoom', 2)),
                    ('zoom_out', 'zoom out', partial(zoom, 'zoom', 0.5)),
                    ('fit_screen', 'whole frame', partial(zoom, 'show', 1, 0, 0)),
                ):
                    icon_button(icon, name, call)
                self.readout = ui.label(READOUT).classes('text-xs opacity-80 grow').mark('readout')
            self.table = targets_table()
            self.table.mark('targets').on('row-click', self._pick_row)
            self.legend = ui.label().classes('text-xs opacity-80')

    @property
    def value(self) -> float:
        """The threshold."""
        return float(self.threshold.value)

    def entitle(self, text: str) -> None:
        """Says what is shown."""
        self.title.set_text(text)

    async def show(self, analysis: AnalysedFrame) -> None:
        """Draws a new analysis."""
        self.analysis = analysis
        height, width = analysis.scores.shape
        rows, columns = analysis.detection.map_scores.shape
        came = '' if (rows, columns) == (height, width) else f', found in a score map of {rows} × {columns}'
        self.legend.set_text(
            f'Positions and areas are in pixels of the frame, {height} × {width}{came}. Peak: highest score. '
            'SNR: |mean of the target − mean around it| / standard deviation around it.'
        )
        self.table.props('no-data-label="no score is above the threshold"')
        self.readout.set_text(READOUT)
        self.map_of.set_options([SCORES] + [LOGITS] * (analysis.detection.logits is not None))
        if self.map_of.value is None:
            self.map_of.set_value(SCORES)
        self._draw_pictures()
        self.save.enable()
        await self.draw()

    def _draw_pictures(self) -> None:
        """Draws the frame and the score map as they are to be shown."""
        if self.analysis is None:
            return
        colours = self.colours.value
        self.overlay.show(pictures.frame_picture(self.analysis.image, self.display.value, colours))
        logits = self.analysis.detection.logits
        if self.map_of.value == LOGITS and logits is not None:
            self.score_map.show(variable_picture(logits, True), range_text(logits, True))
            self.score_map.meaning.set_text('logits: 0 black, above orange, below blue')
        else:
            self.score_map.show(pictures.frame_picture(self.analysis.scores, colours=colours))
            self.score_map.meaning.set_text('black 0, white 1' if colours == 'grey' else 'scores from 0 to 1')

    async def draw(self) -> None:
        """Draws the detections at the threshold, from the score map that is there."""
        turn = self._turn = self._turn + 1
        async with self.drawing:
            analysis = self.analysis
            if turn != self._turn or analysis is None:
                return  # a newer threshold waits
            drawn = await self._attempt(_drawn, analysis, self.value)
        if drawn is None or analysis is not self.analysis:
            return
        detection, verdicts, boxes = drawn
        self.detection = detection
        count = len(detection.targets)
        shown = pictures.strongest(detection)
        listed = f', the strongest {len(shown)} are shown' if len(shown) < count else ''
        judged = '' if verdicts is None else f'; against the label: {verdicts.text}'
        self.count.set_text(f'{count} detection{"" if count == 1 else "s"}{listed}{judged}')
        self.overlay.meaning.set_text('red: detections' if verdicts is None else pictures.MARKS)
        self.overlay.picture.draw(boxes)
        self.mask.show(detection.mask.astype(np.uint8) * 255)
        self.table.rows = [target_row(index + 1, detection.targets[index]) for index in shown]

    async def _moved(self) -> None:
        await self.draw()
        await self._changed()

    def _look(self, u: float, v: float) -> None:
        """Tells what is under the cursor."""
        place = self._pixel(u, v)
        if self.analysis is not None and place is not None:
            self.readout.set_text(self.analysis.at(*place))

    def _pick(self, u: float, v: float) -> None:
        place = self._pixel(u, v)
        if place is not None:
            self._look_at(*place)

    def _pixel(self, u: float, v: float) -> tuple[int, int] | None:
        """Row and column of a place in shares of the frame; None outside of it."""
        if self.analysis is None or not (0 <= u < 1 and 0 <= v < 1):
            return None
        height, width = self.analysis.scores.shape
        return int(v * height), int(u * width)

    def _pick_row(self, event: events.GenericEventArguments) -> None:
        """Goes to a target of the table."""
        if self.analysis is None:
            return
        row, column = (float(event.args[1][key]) for key in ('row', 'column'))
        height, width = self.analysis.scores.shape
        place = {'u': (column + 0.5) / width, 'v': (row + 0.5) / height}
        self.overlay.picture.run_method('centre', place)
        self._look_at(round(row), round(column))

    async def _download(self) -> None:
        if self.analysis is not None:
            name = self.analysis.name
            content = await self._attempt(results_zip, [self.analysis], self.value)
            if content is not None:
                ui.download(content, f'{name}.zip', 'application/zip')


def _drawn(analysis: AnalysedFrame, threshold: float) -> tuple[Detection, Verdicts | None, str]:
    detection, verdicts = analysis.detect(threshold), judge(analysis, threshold)
    return detection, verdicts, pictures.boxes_svg(detection, verdicts)
