"""Charts of the frame and of one place in it."""

from __future__ import annotations

from collections.abc import Sequence

from nicegui import ui

from drpca.app import charts
from drpca.app.analysis import AnalysedFrame
from drpca.app.widgets import heading
from drpca.inference.detections import Target

GREY, SCORES, LOGITS = 'grey value', 'score', 'logit'


class CloserView:
    """The card of charts; they are drawn while it is open.

    Attributes:
        place: Row and column of the pixel whose surround is shown.
    """

    def __init__(self) -> None:
        self.analysis: AnalysedFrame | None = None
        self.place = (0, 0)
        self._threshold = 0.5
        with ui.card().classes('w-full'):
            heading('Looking closer')
            ui.label('Press a place in a picture, or a row of the table: the charts show what lies around it.').classes(
                'text-sm'
            )
            self.opened = ui.expansion('Histogram, profile and surface', on_value_change=self.draw)
            with self.opened.classes('w-full').mark('closer'), ui.column().classes('w-full gap-2'):
                ui.label('grey values and scores of the whole frame').classes('text-sm font-medium')
                self.histogram = _chart('histogram of grey values and scores')
                self.where = ui.label().classes('text-sm font-medium').props('role="status"').mark('place')
                self.profile = _chart('profile of grey values and scores')
                self.kind = ui.select([GREY, SCORES], value=GREY, label='surface of', on_change=self.draw)
                self.kind.classes('w-40').props('outlined dense').mark('surface-of')
                self.surface = _chart('surface around the chosen place')

    def show(self, analysis: AnalysedFrame, targets: Sequence[Target], threshold: float) -> None:
        """Takes a new analysis; the place is that of its strongest target, else the middle of the frame."""
        if analysis is not self.analysis:
            self.analysis = analysis
            height, width = analysis.scores.shape
            best = max(targets, key=lambda target: target.strength, default=None)
            self.place = (height // 2, width // 2) if best is None else (round(best.row), round(best.column))
            self.kind.set_options([GREY, SCORES] + [LOGITS] * (analysis.detection.logits is not None))
            if self.kind.value is None:
                self.kind.set_value(GREY)
        self._threshold = threshold
        self.draw()

    def look_at(self, row: int, column: int) -> None:
        """Chooses another place."""
        self.place = (row, column)
        self.draw()

    def draw(self) -> None:
        """Draws the charts, where they are seen."""
        analysis = self.analysis
        if analysis is None or not self.opened.value:
            return
        image, scores = analysis.image, analysis.scores
        values = {GREY: image, SCORES: scores, LOGITS: analysis.detection.logits}[self.kind.value or GREY]
        if values is None:
            values = image
        self.where.set_text(f'around {analysis.at(*self.place)}')
        self.histogram.update_figure(charts.histogram(image, scores, self._threshold))
        self.profile.update_figure(charts.profile(image, scores, *self.place, self._threshold))
        self.surface.update_figure(charts.surface(values, *self.place, self.kind.value or GREY))


def _chart(name: str) -> ui.plotly:
    return ui.plotly({'data': [], 'layout': {}}).classes('w-full').props(f'role="figure" aria-label="{name}"')
