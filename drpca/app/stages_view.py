"""What every stage makes of the frame."""

from __future__ import annotations

from nicegui import ui

from drpca.app.analysis import AnalysedFrame
from drpca.app.pictures import data_url
from drpca.app.widgets import Attempt, Tile, heading, slider
from drpca.results.stage_pictures import stages_picture
from drpca.visualization.panels import range_text, variable_picture

VARIABLES = {
    'background': ('B', 'background', 'the low-rank part: what repeats across the frame'),
    'target': ('T', 'target', 'the sparse part: small and apart; in the last stage of a network, the logits'),
    'noise': ('N', 'noise', 'what is neither, where the method models it'),
    'reconstruction': ('D', 'image', 'put together again from B, T (and N), and handed to the next stage'),
}
"""Variable of a stage → symbol, name and meaning, in the order in which a stage computes them."""


class StagesView:
    """The card of stages.

    Args:
        attempt: Runs a function in a thread.
    """

    def __init__(self, attempt: Attempt) -> None:
        self.analysis: AnalysedFrame | None = None
        self._attempt = attempt
        with ui.card().classes('w-full'):
            heading('Stage by stage')
            self.note = ui.label().classes('text-sm').mark('no-stages')
            with ui.column().classes('w-full gap-3') as self.content:
                with ui.row().classes('w-full items-center no-wrap gap-4'):
                    self.text = ui.label().classes('text-sm').mark('stage')
                    self.stage = slider('stage', min=1, max=2, step=1, value=1, on_change=self._draw)
                    self.stage.props('markers snap').mark('stage-slider')
                with ui.element('div').classes('tiles w-full'):
                    self.variables = {
                        key: Tile(f'{symbol}, {name}', meaning) for key, (symbol, name, meaning) in VARIABLES.items()
                    }
                self.all_stages = ui.expansion('All stages in one picture', on_value_change=self._draw_all)
                with self.all_stages.classes('w-full'):
                    self.all_picture = ui.image().classes('w-full').style('image-rendering: pixelated')
                    self.all_picture.props('tag=img alt="all stages in one picture"')
            self.content.set_visibility(False)

    async def show(self, analysis: AnalysedFrame) -> None:
        """Draws a new analysis."""
        self.analysis = analysis
        count = len(analysis.stages)
        self.note.set_text(analysis.note)
        self.note.set_visibility(not count)
        self.content.set_visibility(count > 0)
        if count:
            self.stage.props['max'] = max(count, 2)
            self.stage.set_visibility(count > 1)
            self.stage.set_value(count)
            self._draw()
            await self._draw_all()

    def _draw(self) -> None:
        if self.analysis is None or not self.analysis.stages:
            return
        count = len(self.analysis.stages)
        number = min(int(self.stage.value), count)
        stage = self.analysis.stages[number - 1]
        scalars = ''.join(f'; {name} {value:.3g}' for name, value in stage.scalars.items())
        self.text.set_text(f'stage {number} of {count}{scalars}' if count > 1 else 'last iteration')
        for key, tile in self.variables.items():
            values = getattr(stage, key)
            tile.set_visibility(values is not None)
            if values is not None:
                around_zero = key in ('target', 'noise')
                tile.show(variable_picture(values, around_zero), range_text(values, around_zero))

    async def _draw_all(self) -> None:
        if self.analysis is None or not self.all_stages.value:
            return
        analysis = self.analysis
        picture = await self._attempt(stages_picture, analysis.decomposition, analysis.scores, analysis.gt_mask)
        if picture is not None and analysis is self.analysis:
            self.all_picture.set_source(data_url(picture, max_side=2048))
