"""The page: controls at the left, what was found and how at the right. One :class:`Page` per visitor and tab."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from inspect import iscoroutinefunction
from itertools import count
from typing import Any
from urllib.parse import urlencode

from nicegui import background_tasks, events, run, ui

from drpca.app import pictures
from drpca.app.analysis import AnalysedFrame, analyse
from drpca.app.choices import NATIVE, RANGE_RULES, RECIPE, SIZES, DetectorStore, size_text
from drpca.app.closer_view import CloserView
from drpca.app.compare_view import CompareView
from drpca.app.detections_view import MAX_THRESHOLD, DetectionsView
from drpca.app.samples import UPLOADED, Sample
from drpca.app.sequence_view import SequenceView
from drpca.app.stages_view import StagesView
from drpca.app.uploads import MAX_FRAMES, MAX_SEQUENCE_PIXELS, SEQUENCE_LIMIT, clean_stem, read_frames, read_label
from drpca.app.widgets import STYLE, Upload, heading, icon_button, switch_dark
from drpca.app.work import Job, WorkQueue
from drpca.datasets.io import IMAGE_SUFFIXES
from drpca.errors import UserError, explain, unknown_name
from drpca.inference.frames import VIDEO_SUFFIXES
from drpca.options import AUTO

THRESHOLD = 0.5
SEPARATOR = '|'
"""Between detectors in the address."""
_LARGE = 1024 * 1024
_INNER_ERROR = 'Something went wrong; the terminal that the page runs in tells what.'


@dataclass(frozen=True)
class Request:
    """What is to be shown: a detector on a frame, and others beside it."""

    detector: str
    others: tuple[str, ...]
    size: str
    range: str
    bad_pixels: bool
    sample: Sample

    def __str__(self) -> str:
        return f'{self.detector} on {self.sample.name}'


@dataclass(frozen=True)
class Outcome:
    """What came of a request.

    Attributes:
        analyses: Of the detector, and of the others that could do it.
        faults: Why others could not.
        works_at: Size at which the detector works, in words.
    """

    analyses: list[AnalysedFrame]
    faults: list[str]
    works_at: str


class Page:
    """One visitor's page.

    Args:
        store: The detectors to choose from.
        samples: The samples.
        max_upload: Largest image file in bytes.
        queue: Where detectors run.
        address: Query of the address, ``detector``, ``sample``, ``threshold``, …: what to begin with.

    Attributes:
        job: The run that is awaited; None where there is none.
        shown: What the results are of; None before the first.
    """

    def __init__(
        self,
        store: DetectorStore,
        samples: Sequence[Sample],
        max_upload: int,
        queue: WorkQueue,
        address: Mapping[str, str] | None = None,
    ) -> None:
        self.store = store
        self.samples = samples
        self.max_upload = max_upload
        self.queue = queue
        self.job: Job | None = None
        self.shown: Request | None = None
        self._outcome: Outcome | None = None
        self._sequence_of: Request | None = None
        self._batch: list[list[Sample]] | None = None
        self._reading = 0
        self._sending = 0
        self._address = dict(address or {})
        self._wrong: list[str] = []
        labels = {sample.label: sample for sample in samples}
        self._sample = labels[self._begin('sample', next(iter(labels)), labels)]

    @property
    def analysis(self) -> AnalysedFrame | None:
        """What is shown; None before the first result."""
        return self.detections.analysis

    def _begin(self, key: str, default: str, known: Mapping[str, Any] | Sequence[str]) -> str:
        """A value of the address that is one of those known."""
        value = self._address.get(key, default)
        if value in known:
            return value
        self._wrong.append(str(unknown_name(f'{key} in the address:', value[:80], list(known))))
        return default

    def _begin_threshold(self) -> float:
        text = self._address.get('threshold', str(THRESHOLD))
        try:
            value = float(text)
        except ValueError:
            value = -1.0
        if 0 <= value < 1:
            return min(round(value, 2), MAX_THRESHOLD)
        self._wrong.append(f'Expected a threshold from 0 to 0.99 in the address, got {text[:20]!r}.')
        return THRESHOLD

    def build(self) -> None:
        """Lays the page out, and shows the chosen detector on the chosen sample."""
        ui.add_css(STYLE)
        ui.colors(primary='#2f5f98')
        dark = ui.dark_mode(None)
        with ui.header().classes('items-center px-4 py-2 bg-[#1f3a5f] no-wrap'):
            with ui.element('h1').classes('text-xl font-bold leading-8'):
                ui.label('drpca')
            ui.label('infrared small target detection with deep-unfolded robust PCA').classes(
                'text-sm opacity-90 max-sm:hidden'
            )
            ui.space()
            icon_button('contrast', 'light or dark', lambda: switch_dark(dark)).props('round color=white')
        with ui.element('div').classes(
            'w-full max-w-[1500px] mx-auto grid grid-cols-1 gap-4 items-start lg:grid-cols-[20rem_minmax(0,1fr)]'
        ):
            with ui.column().classes('w-full gap-4 min-w-0'):
                self._build_controls()
            with ui.column().classes('w-full gap-4 min-w-0'):
                self._build_status()
                self.sequence = SequenceView(self.queue, self._attempt, self._fail, self._pick, self._run_sequence)
                with ui.column().classes('w-full gap-4 min-w-0') as self.results:
                    self.detections = DetectionsView(
                        self._begin_threshold(), self._attempt, self._moved, lambda *place: self.closer.look_at(*place)
                    )
                    self.compare_view = CompareView(self._attempt)
                    self.closer = CloserView()
                    self.stages = StagesView(self._attempt)
        self._clock = ui.timer(0.25, self._tell, active=False)
        ui.keyboard(self._press)
        ui.context.client.on_delete(self._leave)
        ui.timer(0, self._begin_work, once=True)

    def _leave(self) -> None:
        """The visitor is gone."""
        self.queue.cancel(self)
        self.sequence.stop()

    async def _begin_work(self) -> None:
        if self._wrong:
            self._fail(' '.join(self._wrong))
        await self._analyse()

    def _build_controls(self) -> None:
        labels = list(self.store.choices)
        with ui.card().classes('w-full'):
            heading('Detector')
            self.detector = ui.select(
                labels, value=self._begin('detector', labels[0], labels), on_change=self._run, label='weights or method'
            ).mark('detector')
            others = [label for label in self._address.get('compare', '').split(SEPARATOR) if label]
            for label in [label for label in others if label not in labels]:
                self._wrong.append(str(unknown_name('compare in the address:', label[:80], labels)))
            self.compare = ui.select(
                labels, value=[label for label in others if label in labels], multiple=True, on_change=self._run,
                label='compare with',
            ).mark('compare-with')  # fmt: skip
            self.size = ui.select(
                SIZES, value=self._begin('size', RECIPE, SIZES), on_change=self._run, label='work at'
            ).mark('size')
            begin = self._address.get('range', AUTO)
            self.range = ui.select(
                {**RANGE_RULES, begin: RANGE_RULES.get(begin, begin)},
                value=begin, on_change=self._run, label='grey values', new_value_mode='add-unique',
            ).mark('range')  # fmt: skip
            for select in (self.detector, self.compare, self.size, self.range):
                select.classes('w-full').props('outlined dense options-dense')
            self.compare.props('use-chips clearable')
            self.range.props('hint="or type LO HI, percentile LO HI"')
            self.bad_pixels = ui.checkbox(
                'replace bad pixels', value=self._address.get('bad_pixels') == '1', on_change=self._run
            ).mark('bad-pixels')
            self.works_at = ui.label().classes('text-xs opacity-80')
        with ui.card().classes('w-full'):
            heading('Image')
            megabytes = f'{self.max_upload / 2**20:g} MB'
            suffixes = ', '.join(suffix[1:] for suffix in IMAGE_SUFFIXES)
            self.upload = self._build_upload('Drop images, a folder or a video here', self._take_upload, VIDEO_SUFFIXES)
            ui.label(f'{suffixes}; 8 or 16 bits, TIFF also 32; or a video; up to {megabytes} a file').classes(
                'text-xs opacity-80'
            )
            self.label_upload = self._build_upload('Drop its label here', self._take_label)
            self.upload.on('begin', self._begin_upload, args=[])
            self.upload.on('finish', self._finish_upload, args=[])
            ui.label('or pick a sample').classes('text-sm mt-2')
            with ui.element('div').classes('grid grid-cols-3 gap-1 w-full max-h-80 overflow-y-auto'):
                for index, sample in enumerate(self.samples):
                    self._build_sample(index, sample)

    def _build_upload(
        self, label: str, take: Callable[[events.UploadEventArguments], Any], more: tuple[str, ...] = ()
    ) -> Upload:
        suffixes = [*IMAGE_SUFFIXES, *more]
        megabytes = f'{self.max_upload / 2**20:g} MB'
        expected = f'{", ".join(suffix[1:] for suffix in suffixes)}) of up to {megabytes}'
        upload = Upload(
            label=label,
            auto_upload=True,
            multiple=True,
            max_file_size=self.max_upload,
            max_files=MAX_FRAMES,
            on_upload=take,
            on_rejected=lambda: self._fail(f'Not taken: expected files ({expected} each, {MAX_FRAMES} at most.'),
        )
        upload.on('failed', lambda: self._fail('A file was not taken; it may be too large.'), args=[])
        upload.props(f'accept="{",".join(suffixes)}"')
        return upload

    def _build_sample(self, index: int, sample: Sample) -> None:
        button = ui.button(on_click=lambda: self._pick(sample), color=None).props('flat no-caps padding=2px')
        with button.mark(f'sample-{index}'):
            with ui.column().classes('w-full gap-0 items-center'):
                ui.image(pictures.thumbnail_url(sample.frame)).classes('w-full rounded').props('tag=img alt=""')
                ui.label(sample.name).classes('text-xs w-full truncate')
            ui.tooltip(f'{sample.source}: {sample.name}')

    def _build_status(self) -> None:
        self.failure = ui.row().classes('w-full items-center no-wrap rounded p-3 bg-red-1 text-red-10')
        with self.failure.props('role="alert"'):
            ui.icon('error').classes('text-xl')
            self.failure_text = ui.label().classes('grow break-words min-w-0').mark('failure')
            icon_button('close', 'close', lambda: self.failure.set_visibility(False)).props('round color=red-10')
        self.failure.set_visibility(False)
        with ui.row().classes('items-center gap-x-3 gap-y-1 min-h-8 w-full'):
            self.spinner = ui.spinner(size='1.2em').props('aria-hidden="true"')
            self.status = ui.label('').classes('text-sm min-w-0 break-words').props('role="status"').mark('status')
            self.progress = ui.label('').classes('text-sm opacity-80').mark('progress')
            self.cancel = ui.button('Cancel', icon='close', on_click=lambda: self.queue.cancel(self)).mark('cancel')
            self.again = ui.button('Run', icon='play_arrow', on_click=self._run).mark('run')
            for button in (self.cancel, self.again):
                button.props('dense no-caps padding="2px 10px"').set_visibility(False)

    @property
    def request(self) -> Request:
        """What the controls say."""
        others = tuple(label for label in self.compare.value if label != self.detector.value)
        return Request(
            self.detector.value, others, self.size.value, self.range.value, self.bad_pixels.value, self._sample
        )

    def _save_address(self) -> None:
        """Puts what the controls say into the address, for a link or a reload; what is as usual is left out."""
        request = self.request
        usual = {'compare': '', 'size': RECIPE, 'range': AUTO, 'bad_pixels': '0'}
        state = {
            'detector': request.detector,
            'sample': request.sample.label if request.sample.source != UPLOADED else None,
            'threshold': f'{self.detections.value:.2f}',
            'compare': SEPARATOR.join(request.others),
            'size': request.size,
            'range': request.range,
            'bad_pixels': f'{request.bad_pixels:d}',
        }
        kept = {key: value for key, value in state.items() if value is not None and value != usual.get(key)}
        ui.navigate.history.replace('?' + urlencode(kept))

    async def _moved(self) -> None:
        """The threshold was moved."""
        self._save_address()
        self._show_closer()
        await self.compare_view.draw(self.detections.value)
        await self.sequence.draw(self.detections.value)

    def _show_closer(self) -> None:
        if self.analysis is not None and self.detections.detection is not None:
            self.closer.show(self.analysis, self.detections.detection.targets, self.detections.value)

    async def _pick(self, sample: Sample) -> None:
        self._sample = sample
        await self._run()

    async def _press(self, event: events.KeyEventArguments) -> None:
        """Escape cancels; ``[`` and ``]`` move the threshold, ``,`` and ``.`` leaf through frames or samples."""
        if not event.action.keydown or event.modifiers.ctrl or event.modifiers.alt or event.modifiers.meta:
            return
        key = event.key.name
        if key == 'Escape':
            self.queue.cancel(self)
        elif key in '[]':
            value = self.detections.value + (0.01 if key == ']' else -0.01)
            self.detections.threshold.set_value(round(min(max(value, 0), MAX_THRESHOLD), 2))
        elif key in ',.':
            by = 1 if key == '.' else -1
            if len(self.sequence.samples) > 1:
                await self.sequence.step(by)
                return
            place = self.samples.index(self._sample) if self._sample in self.samples else -1
            await self._pick(self.samples[(place + by) % len(self.samples)])

    def _begin_upload(self) -> None:
        self.failure.set_visibility(False)
        self._batch = [] if self._batch is None else self._batch  # more may be dropped while the first are sent
        self._sending += 1

    async def _take_upload(self, event: events.UploadEventArguments) -> None:
        """Takes a file: by itself, or as one of those that are being sent, in the order in which they came."""
        batch = self._batch
        if batch is None:
            self.failure.set_visibility(False)
        frames: list[Sample] = []
        sent = [] if batch is None else batch
        sent.append(frames)
        self._reading += 1
        try:
            content = await event.file.read()
            read = await self._attempt(read_frames, event.file.name, content, self.max_upload)
        finally:
            self._reading -= 1
        pixels = sum(sample.frame.size for others in sent for sample in others)
        for name, values in read or ():
            pixels += values.size
            if pixels > max(MAX_SEQUENCE_PIXELS, values.size) or sum(map(len, sent)) == MAX_FRAMES:
                self._fail(f'{name} and what follows is left out: {SEQUENCE_LIMIT}.')
                break
            frames.append(Sample(name, UPLOADED, values))
        if batch is None:
            await self._take(frames)
        else:
            await self._go_on_if_all_are_there()

    async def _finish_upload(self) -> None:
        self._sending -= 1
        await self._go_on_if_all_are_there()

    async def _go_on_if_all_are_there(self) -> None:
        """Shows a batch when all its files are sent and read."""
        if self._batch is not None and not self._sending and not self._reading:
            sent, self._batch = self._batch, None
            await self._take([sample for frames in sent for sample in frames])

    async def _take(self, samples: list[Sample]) -> None:
        """Shows frames that were sent; more than one of them as a sequence."""
        if not samples:
            return
        names: set[str] = set()
        for number, sample in enumerate(samples):
            name = next(name for name in _free_names(sample.name) if name not in names)
            names.add(name)
            samples[number] = replace(sample, name=name)
        self.sequence.take(samples)
        self._sample = samples[0]
        if len(samples) > 1:
            background_tasks.create(self._run_sequence(), name='frames')
        await self._analyse()

    async def _run_sequence(self) -> None:
        """Runs the chosen detector on all frames of the sequence."""
        self._sequence_of = replace(self.request, others=(), sample=self.samples[0])
        await self.sequence.run(partial(_run_frame, self.store, self.request), self.detections.value)

    async def _take_label(self, event: events.UploadEventArguments) -> None:
        """Judges what is shown by another label; the detectors do not run again."""
        self.failure.set_visibility(False)
        content = await event.file.read()
        stem = clean_stem(event.file.name)
        named = next((sample for sample in self.sequence.samples if sample.name == stem), None)
        before = self._sample if named is None else named
        label = await self._attempt(read_label, event.file.name, content, self.max_upload, before.frame.shape)
        if label is None:
            return
        labelled = replace(before, gt_mask=label)
        if before in self.sequence.samples:  # a sample may have the name of a frame
            self.sequence.relabel({before.name: labelled})
            await self.sequence.draw()
        if self._sample is not before:
            return
        is_shown = self.shown == self.request
        self._sample = labelled
        if not is_shown or self._outcome is None:
            await self._run()
            return
        self.shown = self.request
        analyses = [replace(analysis, gt_mask=label) for analysis in self._outcome.analyses]
        self._outcome = replace(self._outcome, analyses=analyses)
        await self._show()

    async def _run(self) -> None:
        """What the visitor chose anew."""
        self.failure.set_visibility(False)
        if len(self.sequence.samples) > 1 and self._sequence_of != replace(
            self.request, others=(), sample=self.samples[0]
        ):
            background_tasks.create(self._run_sequence(), name='frames')
        await self._analyse()

    async def _analyse(self) -> None:
        """Runs the chosen detector on the chosen frame; of several requests, only the newest is shown."""
        self._save_address()
        request = self.request
        if request == self.shown:
            self.queue.cancel(self)
            self.job = None
            self._settle()
            return
        try:
            job = self.job = self.queue.submit(self, partial(_run, self.store, request))
        except UserError as error:
            self.job = None
            self._fail(str(error))
            self._settle('Not run.')
            return
        self._set_busy(True)
        self._tell()
        result = await self._attempt(job.result)
        if job is not self.job:
            return
        self.job = None
        if result is not None:
            self.shown, self._outcome = request, result
            self.works_at.set_text(f'This one works at {result.works_at}.')
            await self._show()
        if self.job is None:
            self._settle('Cancelled.' if job.cancelled else '')

    async def _show(self) -> None:
        """Draws the outcome of a run."""
        outcome = self._outcome
        assert outcome is not None
        await self.detections.show(outcome.analyses[0])
        self._show_closer()
        await self.compare_view.show(outcome.analyses, outcome.faults, self.detections.value)
        await self.stages.show(outcome.analyses[0])

    def _tell(self) -> None:
        """What the run that is awaited does now."""
        job = self.job
        if job is None:
            return
        place = self.queue.position(job)
        is_long = self.size.value == NATIVE and self._sample.frame.size > _LARGE
        step = f'waits, number {place} in the queue' if place else job.step or 'waits'
        patience = ' (a large frame takes minutes without a GPU)' if is_long else ''
        self.status.set_text(f'{self.request}: {step} …{patience}')
        parts = f'{job.done} of {job.total}, ' if job.total else ''
        self.progress.set_text(f'{parts}{job.seconds:.0f} s')

    def _set_busy(self, busy: bool) -> None:
        is_stale = self.shown != self.request
        for element in (self.spinner, self.cancel, self.progress):
            element.set_visibility(busy)
        self.again.set_visibility(is_stale and not busy)
        self._clock.active = busy
        self.results.classes(**({'add': 'stale'} if is_stale else {'remove': 'stale'}))
        self.detections.entitle('' if self.shown is None else f'still {self.shown}' if is_stale else str(self.shown))
        self.results.props(f'aria-busy={str(busy).lower()}')

    def _settle(self, outcome: str = '') -> None:
        """Says what is shown, which stays dimmed where it is not what the controls say."""
        self._set_busy(False)
        shown = '' if self.analysis is None else _summary(self.analysis)
        if shown and self.shown != self.request:
            shown = f'Still shown: {shown}'
        self.status.set_text(f'{outcome} {shown}'.strip())

    async def _attempt(self, function: Callable[..., Any], *args: Any) -> Any:
        """Awaits a function, or calls it in a thread. What goes wrong is told without path or traceback."""
        try:
            result = await (function(*args) if iscoroutinefunction(function) else run.io_bound(function, *args))
        except UserError as error:
            self._fail(str(error))
            return None
        except Exception as error:
            print(f'error: {explain(error, function.__name__)[0]}', file=sys.stderr)
            self._fail(_INNER_ERROR)
            return None
        return result

    def _fail(self, message: str) -> None:
        self.failure_text.set_text(message)
        self.failure.set_visibility(True)


def _run(store: DetectorStore, request: Request, job: Job) -> Outcome:
    labels = (request.detector, *request.others)
    sample = request.sample
    analyses: list[AnalysedFrame] = []
    faults = []
    works_at = ''
    for number, label in enumerate(labels):
        parts = (number, len(labels)) if len(labels) > 1 else (0, 0)

        def report(step: str, label: str = label, parts: tuple[int, int] = parts) -> None:
            job.report(f'{label}, {step}' if request.others else step, *parts)

        report('loading the detector')
        try:
            detector = store.get(label, request.size, request.range, request.bad_pixels)
            analyses.append(analyse(detector, sample.name, sample.frame, sample.gt_mask, report, number == 0))
        except UserError as error:
            if number == 0:
                raise
            faults.append(f'{label}: {error}')
        works_at = works_at or size_text(detector)
    return Outcome(analyses, faults, works_at)


def _run_frame(store: DetectorStore, request: Request, sample: Sample, job: Job) -> AnalysedFrame:
    """One frame of a sequence."""
    detector = store.get(request.detector, request.size, request.range, request.bad_pixels)
    return analyse(detector, sample.name, sample.frame, sample.gt_mask, job.report, with_stages=False)


def _free_names(name: str) -> Iterator[str]:
    """A name, and others like it."""
    yield name
    yield from (f'{name}_{number}' for number in count(2))


def _summary(analysis: AnalysedFrame) -> str:
    height, width = analysis.scores.shape
    frame = analysis.detection.frame
    values = '' if (frame.low, frame.high) in ((0, 1), (0, 255)) else f', values {frame.low:g} to {frame.high:g}'
    replaced = f', {frame.bad_pixels} bad pixels replaced' * bool(frame.bad_pixels)
    return (
        f'{analysis.detector} on {analysis.name}: {height} × {width} pixels{values}{replaced}, {analysis.seconds:.2f} s'
    )
