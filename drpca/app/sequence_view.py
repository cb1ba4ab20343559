"""Several frames: a table to sort, a slider through time, all results in one file."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

from nicegui import events, ui

from drpca.app.analysis import AnalysedFrame
from drpca.app.download import results_zip
from drpca.app.samples import Sample
from drpca.app.verdicts import Verdicts, fa_text, figures_text, joint_figures, judge
from drpca.app.widgets import Attempt, data_table, heading, icon_button, slider, sortable
from drpca.app.work import Job, WorkQueue
from drpca.errors import UserError, counted
from drpca.inference.detections import Detection

_COLUMNS = ('no.', 'frame', 'detections', 'peak', 'IoU', 'found', 'missed', 'false alarms', 'Fa')


class _Line(NamedTuple):
    """A line of the table, and what it was made from."""

    analysis: AnalysedFrame
    threshold: float
    row: dict[str, Any]
    verdicts: Verdicts | None


class SequenceView:
    """The card of frames; hidden until there are several.

    Args:
        queue: Where detectors run; each frame takes its turn, so that others get theirs.
        attempt: Runs a function in a thread.
        fail: Tells what went wrong.
        pick: Shows a frame in the cards below.
        again: Runs the chosen detector on all frames.

    Attributes:
        samples: The frames, in order.
        analyses: What was made of them, by their place.
    """

    def __init__(
        self,
        queue: WorkQueue,
        attempt: Attempt,
        fail: Callable[[str], None],
        pick: Callable[[Sample], Any],
        again: Callable[[], Any],
    ) -> None:
        self.samples: list[Sample] = []
        self.analyses: dict[int, AnalysedFrame] = {}
        self.running = False
        self._queue, self._attempt, self._fail, self._pick = queue, attempt, fail, pick
        self._threshold = 0.5
        self._turn = 0
        self._job: Job | None = None
        self._lines: dict[int, _Line] = {}
        self._drawing = asyncio.Lock()
        with ui.card().classes('w-full') as self.card:
            with ui.row().classes('w-full items-center gap-x-4 gap-y-1'):
                heading('Frames')
                self.text = ui.label().classes('text-sm').props('role="status"').mark('frames')
                self.cancel = ui.button('Cancel', icon='close', on_click=self.stop).mark('cancel-frames')
                self.again = ui.button('Run all', icon='play_arrow', on_click=again).mark('run-frames')
                for button in (self.cancel, self.again):
                    button.props('dense no-caps outline padding="2px 10px"')
                ui.space()
                self.save = ui.button('Download all', icon='download', on_click=self._download)
                self.save.props('dense no-caps padding="4px 12px"').mark('download-all')
            self.progress = ui.linear_progress(0, show_value=False).props('aria-label="frames done"')
            with ui.row().classes('w-full items-center no-wrap gap-2'):
                icon_button('skip_previous', 'previous frame', lambda: self.step(-1))
                self.slider = slider('frame', min=1, max=2, step=1, value=1, on_change=self._slid).mark('time')
                icon_button('skip_next', 'next frame', lambda: self.step(1))
                self.place = ui.label().classes('text-sm')
            self.table = data_table(
                'frames', columns=sortable(_COLUMNS, 'frame'), rows=[], row_key='no.', pagination=10
            ).mark('frames-table')
            self.table.on('row-click', self._pressed)
        self.card.set_visibility(False)

    @property
    def index(self) -> int:
        """Place of the frame that is shown."""
        return int(self.slider.value) - 1

    def take(self, samples: Sequence[Sample]) -> None:
        """Other frames."""
        self.stop()
        self._job = None
        self.samples = list(samples)
        self.analyses = {}
        self.card.set_visibility(len(samples) > 1)
        self.slider.props['max'] = max(len(samples), 2)
        self.slider.set_value(1)
        self._name_place()

    def stop(self) -> None:
        """Ends the run; what is done stays."""
        self._queue.cancel(self)

    async def run(self, detect: Callable[[Sample, Job], AnalysedFrame], threshold: float) -> None:
        """Runs a detector on all frames, one after the other.

        Args:
            detect: What it makes of one.
            threshold: Scores above it are detections.
        """
        self._threshold = threshold
        samples, self.analyses = list(self.samples), {}
        self._set_running(True)
        for number, sample in enumerate(samples):
            self.text.set_text(f'{number} of {len(samples)} done')
            self.progress.set_value(number / len(samples))
            try:
                job = self._job = self._queue.submit(self, partial(detect, sample))
            except UserError as error:
                self._fail(str(error))
                break
            analysis = await self._attempt(job.result)
            if job is not self._job:
                return  # another run, or other frames
            if analysis is None:
                break  # cancelled, or the failure is told
            self.analyses[number] = replace(analysis, gt_mask=self.samples[number].gt_mask)
            if number % 10 == 0:
                await self.draw()
            if job is not self._job:
                return  # meanwhile
        self._set_running(False)
        await self.draw()

    def relabel(self, labels: dict[str, Sample]) -> None:
        """Takes frames with other labels, by their names."""
        self.samples = [labels.get(sample.name, sample) for sample in self.samples]
        for number, analysis in self.analyses.items():
            self.analyses[number] = replace(analysis, gt_mask=self.samples[number].gt_mask)

    async def draw(self, threshold: float | None = None) -> None:
        """Fills the table; None: at the threshold of before."""
        self._threshold = self._threshold if threshold is None else threshold
        turn = self._turn = self._turn + 1
        async with self._drawing:
            if turn != self._turn or not self.card.visible:
                return  # a newer threshold waits
            drawn = await self._attempt(_drawn, dict(self.analyses), self._threshold, self._lines)
        if drawn is None:
            return
        self._lines = drawn
        self.table.rows = [line.row for line in drawn.values()]
        count = len(self.samples)
        done = f'{len(drawn)} of {count} done' if len(drawn) < count else counted(count, 'frame')
        judged = [line.verdicts for line in drawn.values() if line.verdicts is not None]
        figures = f'; of {len(judged)} with a label: {figures_text(*joint_figures(judged))}' if judged else ''
        self.text.set_text(done + figures)

    async def step(self, by: int) -> None:
        """Goes to a neighbouring frame."""
        self.slider.set_value(min(max(self.index + 1 + by, 1), len(self.samples)))

    def _set_running(self, running: bool) -> None:
        self.running = running
        for element in (self.cancel, self.progress):
            element.set_visibility(running)
        self.again.set_visibility(not running and len(self.analyses) < len(self.samples))

    def _name_place(self) -> None:
        if self.samples:
            self.place.set_text(f'{self.index + 1} of {len(self.samples)}: {self.samples[self.index].name}')

    async def _slid(self) -> None:
        self._name_place()
        if self.card.visible:
            await self._pick(self.samples[self.index])

    def _pressed(self, event: events.GenericEventArguments) -> None:
        self.slider.set_value(int(event.args[1]['no.']))

    async def _download(self) -> None:
        analyses = list(self.analyses.values())
        if not analyses:
            self._fail('No frame is done yet.')
            return
        content = await self._attempt(results_zip, analyses, self._threshold)
        if content is not None:
            ui.download(content, 'frames.zip', 'application/zip')


def _drawn(analyses: dict[int, AnalysedFrame], threshold: float, known: dict[int, _Line]) -> dict[int, _Line]:
    """The lines of the table; of those known, what still holds is not computed again."""
    lines = {}
    for number, analysis in analyses.items():
        line = known.get(number)
        if line is None or line.analysis is not analysis or line.threshold != threshold:
            verdicts = judge(analysis, threshold)
            line = _Line(analysis, threshold, _row(number, analysis, analysis.detect(threshold), verdicts), verdicts)
        lines[number] = line
    return lines


def _row(number: int, analysis: AnalysedFrame, detection: Detection, verdicts: Verdicts | None) -> dict[str, Any]:
    row: dict[str, Any] = dict.fromkeys(_COLUMNS, '–')
    count = len(detection.targets)
    row |= {
        'no.': number + 1,
        'frame': analysis.name,
        'detections': count,
        'peak': round(float(analysis.scores.max()), 3),
    }
    if verdicts is not None:
        figures = verdicts.figures
        row |= {
            'IoU': round(figures['IoU'], 3), 'found': verdicts.hits, 'missed': len(verdicts.targets) - verdicts.hits,
            'false alarms': verdicts.false_alarms, 'Fa': fa_text(figures['Fa']),
        }  # fmt: skip
    return row
