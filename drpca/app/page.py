"""The page: controls at the left, what was found and how at the right. One :class:`Page` per visitor."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from nicegui import events, run, ui

from drpca.app import pictures
from drpca.app.analysis import AnalysedFrame, analyse
from drpca.app.choices import NATIVE, RANGE_RULES, RECIPE, SIZES, DetectorStore, size_text
from drpca.app.download import results_zip
from drpca.app.samples import Sample
from drpca.app.uploads import read_upload
from drpca.app.widgets import STYLE, Tile, Upload, heading, switch_dark, target_row, targets_table
from drpca.datasets.io import IMAGE_SUFFIXES
from drpca.errors import UserError, explain
from drpca.inference.detections import Detection
from drpca.options import AUTO
from drpca.results.stage_pictures import stages_picture
from drpca.visualization.panels import range_text, to_grey

THRESHOLD = 0.5
_LARGE = 1024 * 1024

VARIABLES = {
    'background': ('B', 'background', 'the low-rank part: what repeats across the frame'),
    'target': ('T', 'target', 'the sparse part: small and apart; in the last stage of a network, the logits'),
    'noise': ('N', 'noise', 'what is neither, where the method models it'),
    'reconstruction': ('D', 'image', 'put together again from B, T (and N), and handed to the next stage'),
}
"""Variable of a stage → symbol, name and meaning, in the order in which a stage computes them."""

_INNER_ERROR = 'Something went wrong; the terminal that the page runs in tells what.'


class Page:
    """One visitor's page.

    Args:
        store: The detectors to choose from.
        samples: The samples.
        max_upload: Largest image file in bytes.

    Attributes:
        analysis: What is shown; None before the first result. Its score map serves every threshold.
    """

    def __init__(self, store: DetectorStore, samples: Sequence[Sample], max_upload: int) -> None:
        self.store = store
        self.samples = samples
        self.max_upload = max_upload
        self.analysis: AnalysedFrame | None = None
        self._frame: tuple[str, np.ndarray, np.ndarray | None] = _frame_of(samples[0])
        self._analysis_turn = 0
        self._drawing_turn = 0
        self._drawing = asyncio.Lock()

    def build(self) -> None:
        """Lays the page out, and shows the first detector on the first sample."""
        ui.add_css(STYLE)
        ui.colors(primary='#2f5f98')
        dark = ui.dark_mode(None)
        with ui.header().classes('items-center px-4 py-2 bg-[#1f3a5f]'):
            ui.label('drpca').classes('text-xl font-bold')
            ui.label('infrared small target detection with deep-unfolded robust PCA').classes(
                'text-sm opacity-80 max-sm:hidden'
            )
            ui.space()
            with ui.button(icon='contrast', on_click=lambda: switch_dark(dark)) as switch:
                ui.tooltip('light or dark')
            switch.props('flat round color=white aria-label="light or dark"')
        with ui.element('div').classes(
            'w-full max-w-[1500px] mx-auto grid grid-cols-1 gap-4 items-start lg:grid-cols-[20rem_minmax(0,1fr)]'
        ):
            with ui.column().classes('w-full gap-4'):
                self._build_controls()
            with ui.column().classes('w-full gap-4 min-w-0'):
                self._build_status()
                self._build_detections()
                self._build_stages()
        ui.timer(0, self._analyse, once=True)

    def _build_controls(self) -> None:
        labels = list(self.store.choices)
        with ui.card().classes('w-full'):
            heading('Detector')
            self.detector = ui.select(labels, value=labels[0], on_change=self._analyse, label='weights or method')
            self.detector.classes('w-full').props('outlined dense options-dense').mark('detector')
            self.size = ui.select(SIZES, value=RECIPE, on_change=self._analyse, label='work at')
            self.size.classes('w-full').props('outlined dense options-dense').mark('size')
            self.range = ui.select(
                dict(RANGE_RULES), value=AUTO, on_change=self._analyse, label='grey values', new_value_mode='add-unique'
            )
            self.range.classes('w-full').props('outlined dense options-dense hint="or type LO HI, percentile LO HI"')
            self.range.mark('range')
            self.bad_pixels = ui.checkbox('replace bad pixels', on_change=self._analyse).mark('bad-pixels')
            self.works_at = ui.label().classes('text-xs opacity-70')
        with ui.card().classes('w-full'):
            heading('Image')
            megabytes = f'{self.max_upload / 2**20:g} MB'
            suffixes = ', '.join(suffix[1:] for suffix in IMAGE_SUFFIXES)
            self.upload = Upload(
                label='Drop an image here, or press +',
                auto_upload=True,
                max_file_size=self.max_upload,
                on_upload=self._take_upload,
                on_rejected=lambda: self._fail(f'Not taken: expected one file ({suffixes}) of up to {megabytes}.'),
            )
            self.upload.on('failed', lambda: self._fail('The file was not taken; it may be too large.'), args=[])
            self.upload.classes('w-full').props(f'accept="{",".join(IMAGE_SUFFIXES)}" flat bordered')
            ui.label(f'{suffixes}; 8 or 16 bits, TIFF also 32; up to {megabytes}').classes('text-xs opacity-70')
            ui.label('or pick a sample').classes('text-sm mt-2')
            with ui.element('div').classes('grid grid-cols-3 gap-1 w-full max-h-80 overflow-y-auto'):
                for index, sample in enumerate(self.samples):
                    self._build_sample(index, sample)

    def _build_sample(self, index: int, sample: Sample) -> None:
        async def pick() -> None:
            self._frame = _frame_of(sample)
            await self._analyse()

        with ui.button(on_click=pick, color=None).props('flat no-caps padding=2px') as button:
            with ui.column().classes('w-full gap-0 items-center'):
                picture = ui.image(pictures.thumbnail_url(sample.frame)).classes('w-full rounded')
                picture.props('ratio=1 no-transition')
                ui.label(sample.name).classes('text-xs w-full truncate')
            ui.tooltip(f'{sample.source}: {sample.name}')
        button.mark(f'sample-{index}')

    def _build_status(self) -> None:
        self.failure = ui.row().classes('w-full items-center no-wrap rounded p-3 bg-red-1 text-red-10')
        with self.failure:
            ui.icon('error').classes('text-xl')
            self.failure_text = ui.label().classes('grow break-words min-w-0').mark('failure')
            close = ui.button(icon='close', on_click=lambda: self.failure.set_visibility(False))
            close.props('flat round dense color=red-10 aria-label="close"')
        self.failure.set_visibility(False)
        with ui.row().classes('items-center gap-2 min-h-6'):
            self.spinner = ui.spinner(size='1.2em')
            self.status = ui.label('').classes('text-sm').mark('status')

    def _build_detections(self) -> None:
        with ui.card().classes('w-full'):
            with ui.row().classes('w-full items-center'):
                heading('Detections')
                self.count = ui.label().classes('text-sm opacity-80').mark('count')
                ui.space()
                self.save = ui.button('Download results', icon='download', on_click=self._download)
                self.save.props('dense no-caps padding="4px 12px"').mark('download')
                self.save.disable()
            with ui.row().classes('w-full items-center no-wrap gap-4'):
                ui.label('threshold').classes('text-sm')
                self.threshold = ui.slider(min=0, max=0.99, step=0.01, value=THRESHOLD, on_change=self._draw)
                self.threshold.props('label').classes('grow').mark('threshold')
                shown = ui.label().classes('w-10')
                shown.bind_text_from(self.threshold, 'value', lambda value: f'{value:.2f}')
            with ui.element('div').classes('tiles w-full'):
                self.overlay = Tile('frame', 'red: detections; green, dashed: label')
                self.score_map = Tile('score map', 'black 0, white 1')
                self.mask = Tile('mask', 'scores above the threshold')
            self.table = targets_table()
            self.table.mark('targets')
            self.legend = ui.label().classes('text-xs opacity-70')

    def _build_stages(self) -> None:
        with ui.card().classes('w-full'):
            heading('Stage by stage')
            self.no_stages = ui.label().classes('text-sm').mark('no-stages')
            with ui.column().classes('w-full gap-3') as self.stages:
                with ui.row().classes('w-full items-center no-wrap gap-4'):
                    self.stage_text = ui.label().classes('text-sm whitespace-nowrap').mark('stage')
                    self.stage = ui.slider(min=1, max=2, step=1, value=1, on_change=self._draw_stage)
                    self.stage.props('markers snap').classes('grow').mark('stage-slider')
                with ui.element('div').classes('tiles w-full'):
                    self.variables = {
                        key: Tile(f'{symbol}, {name}', meaning) for key, (symbol, name, meaning) in VARIABLES.items()
                    }
                self.all_stages = ui.expansion('All stages in one picture', on_value_change=self._draw_all)
                with self.all_stages.classes('w-full'):
                    self.all_picture = ui.image().classes('w-full pixels').props('fit=contain no-spinner')
            self.stages.set_visibility(False)

    async def _take_upload(self, event: events.UploadEventArguments) -> None:
        self.upload.reset()
        content = await event.file.read()
        frame = await self._attempt(read_upload, event.file.name, content, self.max_upload)
        if frame is not None:
            self._frame = (*frame, None)
            await self._analyse()

    async def _analyse(self) -> None:
        """Runs the chosen detector on the chosen frame; of several requests, only the newest is shown."""
        turn = self._analysis_turn = self._analysis_turn + 1
        self.spinner.set_visibility(True)
        is_long = self.size.value == NATIVE and self._frame[1].size > _LARGE
        patience = ' (a large frame takes minutes without a GPU)' if is_long else ''
        self.status.set_text(f'{self.detector.value} on {self._frame[0]} …{patience}')
        chosen = self.detector.value, self.size.value, self.range.value, self.bad_pixels.value
        result = await self._attempt(self._run, chosen, self._frame, turn)
        if turn != self._analysis_turn:
            return
        self.spinner.set_visibility(False)
        if result is not None:
            self.analysis, works_at = result
            self.works_at.set_text(f'This one works at {works_at}.')
            await self._show()
        self.status.set_text('' if self.analysis is None else _summary(self.analysis))

    def _run(
        self, chosen: tuple[str, str, str, bool], frame: tuple[str, np.ndarray, np.ndarray | None], turn: int
    ) -> tuple[AnalysedFrame, str] | None:
        with self.store.lock:
            if turn != self._analysis_turn:
                return None
            detector = self.store.get(*chosen)
            return analyse(detector, *frame), size_text(detector)

    async def _attempt(self, function: Callable[..., Any], *args: Any) -> Any:
        """Calls a function in a thread. What goes wrong is told in the page, without path or traceback."""
        try:
            result = await run.io_bound(function, *args)
        except UserError as error:
            self._fail(str(error))
            return None
        except Exception as error:
            print(f'error: {explain(error, function.__name__)[0]}', file=sys.stderr)
            self._fail(_INNER_ERROR)
            return None
        self.failure.set_visibility(False)
        return result

    def _fail(self, message: str) -> None:
        self.failure_text.set_text(message)
        self.failure.set_visibility(True)

    async def _show(self) -> None:
        """Draws a new analysis."""
        analysis = self.analysis
        assert analysis is not None
        height, width = analysis.scores.shape
        rows, columns = analysis.detection.map_scores.shape
        came = '' if (rows, columns) == (height, width) else f', found in a score map of {rows} × {columns}'
        self.legend.set_text(
            f'Positions and areas are in pixels of the frame, {height} × {width}{came}. Peak: highest score. '
            'SNR: |mean of the target − mean around it| / standard deviation around it.'
        )
        self.overlay.show(pictures.data_url(to_grey(analysis.image)))
        self.score_map.show(pictures.data_url(to_grey(analysis.scores)))
        self.save.enable()
        count = len(analysis.stages)
        self.no_stages.set_text(analysis.note)
        self.no_stages.set_visibility(not count)
        self.stages.set_visibility(count > 0)
        if count:
            self.stage.props['max'] = max(count, 2)
            self.stage.set_visibility(count > 1)
            self.stage.set_value(count)
            self._draw_stage()
            await self._draw_all()
        await self._draw()

    async def _draw(self) -> None:
        """Draws the detections at the threshold, from the score map that is there."""
        turn = self._drawing_turn = self._drawing_turn + 1
        async with self._drawing:
            analysis = self.analysis
            if turn != self._drawing_turn or analysis is None:
                return  # a newer threshold waits
            drawn = await self._attempt(_drawn, analysis, float(self.threshold.value))
        if drawn is None or analysis is not self.analysis:
            return
        detection, boxes, mask = drawn
        count = len(detection.targets)
        shown = pictures.strongest(detection)
        listed = f', the strongest {len(shown)} are shown' if len(shown) < count else ''
        labelled = '' if analysis.gt_mask is None else f'; label: {pictures.count_targets(analysis.gt_mask)}'
        self.count.set_text(f'{count} target{"" if count == 1 else "s"}{listed}{labelled}')
        self.overlay.picture.set_content(boxes)
        self.mask.show(mask)
        self.table.rows = [target_row(index + 1, detection.targets[index]) for index in shown]

    def _draw_stage(self) -> None:
        if self.analysis is None or not self.analysis.stages:
            return
        count = len(self.analysis.stages)
        number = min(int(self.stage.value), count)
        stage = self.analysis.stages[number - 1]
        scalars = ''.join(f'; {name} {value:.3g}' for name, value in stage.scalars.items())
        self.stage_text.set_text(f'stage {number} of {count}{scalars}' if count > 1 else 'last iteration')
        for key, tile in self.variables.items():
            values = getattr(stage, key)
            tile.set_visibility(values is not None)
            if values is not None:
                around_zero = key in ('target', 'noise')
                tile.show(pictures.variable_url(values, around_zero), range_text(values, around_zero))

    async def _draw_all(self) -> None:
        if self.analysis is None or not self.all_stages.value:
            return
        analysis = self.analysis
        picture = await self._attempt(stages_picture, analysis.decomposition, analysis.scores, analysis.gt_mask)
        if picture is not None and analysis is self.analysis:
            self.all_picture.set_source(pictures.data_url(picture, max_side=2048))

    async def _download(self) -> None:
        if self.analysis is not None:
            name = self.analysis.name
            content = await self._attempt(results_zip, self.analysis, float(self.threshold.value))
            if content is not None:
                ui.download(content, f'{name}.zip', 'application/zip')


def _drawn(analysis: AnalysedFrame, threshold: float) -> tuple[Detection, str, str]:
    detection = analysis.detect(threshold)
    mask = pictures.data_url(detection.mask.astype(np.uint8) * 255)
    return detection, pictures.boxes_svg(detection, analysis.gt_mask), mask


def _summary(analysis: AnalysedFrame) -> str:
    height, width = analysis.scores.shape
    frame = analysis.detection.frame
    values = '' if (frame.low, frame.high) in ((0, 1), (0, 255)) else f', values {frame.low:g} to {frame.high:g}'
    replaced = f', {frame.bad_pixels} bad pixels replaced' * bool(frame.bad_pixels)
    return (
        f'{analysis.detector} on {analysis.name}: {height} × {width} pixels{values}{replaced}, {analysis.seconds:.2f} s'
    )


def _frame_of(sample: Sample) -> tuple[str, np.ndarray, np.ndarray | None]:
    return sample.name, sample.frame, sample.gt_mask
