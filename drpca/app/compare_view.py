"""Several detectors on one frame."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from nicegui import ui

from drpca.app import pictures
from drpca.app.analysis import AnalysedFrame
from drpca.app.verdicts import RULES, Verdicts, fa_text, judge
from drpca.app.widgets import Attempt, Tile, data_table, heading, sortable
from drpca.errors import counted
from drpca.inference.detections import Detection

_COLUMNS = ('detector', 'IoU', 'Pd', 'Fa', 'found', 'missed', 'false alarms', 'detections', 'seconds')


class CompareView:
    """The card of the comparison; hidden where there is one detector.

    Args:
        attempt: Runs a function in a thread.
    """

    def __init__(self, attempt: Attempt) -> None:
        self._attempt = attempt
        self.analyses: Sequence[AnalysedFrame] = ()
        self._turn = 0
        self._drawing = asyncio.Lock()
        with ui.card().classes('w-full') as self.card:
            heading('Side by side')
            self.faults = ui.label().classes('text-sm text-negative').mark('compare-faults')
            with ui.element('div').classes('tiles w-full') as self.tiles:
                pass
            self.table = data_table(
                'detectors side by side', columns=sortable(_COLUMNS, 'detector'), rows=[], row_key='detector'
            )
            self.table.classes('w-full').props('flat dense hide-pagination :rows-per-page-options="[0]"').mark(
                'compare'
            )
            ui.label(f'{pictures.MARKS}. A target is found: {RULES}. All at the threshold above.').classes(
                'text-xs opacity-80'
            )
        self.card.set_visibility(False)

    async def show(self, analyses: Sequence[AnalysedFrame], faults: Sequence[str], threshold: float) -> None:
        """Draws new analyses; the first is the one shown above."""
        self.analyses = analyses
        self.card.set_visibility(len(analyses) + len(faults) > 1)
        self.faults.set_text(' '.join(faults))
        self.faults.set_visibility(bool(faults))
        self.tiles.clear()
        if self.card.visible:
            with self.tiles:
                self._pictures = [Tile(analysis.detector, '') for analysis in analyses]
            for tile, analysis in zip(self._pictures, analyses):
                tile.show(pictures.frame_picture(analysis.image))
            await self.draw(threshold)

    async def draw(self, threshold: float) -> None:
        """Judges them at another threshold."""
        turn = self._turn = self._turn + 1
        async with self._drawing:
            analyses = self.analyses
            if turn != self._turn or not self.card.visible:
                return  # a newer threshold waits
            drawn = await self._attempt(_drawn, analyses, threshold)
        if drawn is None or analyses is not self.analyses:
            return
        for tile, (detection, verdicts, boxes) in zip(self._pictures, drawn):
            tile.picture.draw(boxes)
            tile.meaning.set_text(counted(len(detection.targets), 'detection') if verdicts is None else verdicts.text)
        self.table.rows = [_row(analysis, *one[:2]) for analysis, one in zip(analyses, drawn)]


def _drawn(analyses: Sequence[AnalysedFrame], threshold: float) -> list[tuple[Detection, Verdicts | None, str]]:
    drawn = []
    for analysis in analyses:
        detection, verdicts = analysis.detect(threshold), judge(analysis, threshold)
        drawn.append((detection, verdicts, pictures.boxes_svg(detection, verdicts)))
    return drawn


def _row(analysis: AnalysedFrame, detection: Detection, verdicts: Verdicts | None) -> dict[str, str | int]:
    """A line of the table."""
    row: dict[str, str | int] = dict.fromkeys(_COLUMNS, '–')
    row |= {'detector': analysis.detector, 'detections': len(detection.targets), 'seconds': f'{analysis.seconds:.2f}'}
    if verdicts is not None:
        figures = verdicts.figures
        row |= {
            'IoU': f'{figures["IoU"]:.3f}', 'Pd': f'{figures["Pd"]:.3f}', 'Fa': fa_text(figures["Fa"]),
            'found': verdicts.hits, 'missed': len(verdicts.targets) - verdicts.hits,
            'false alarms': verdicts.false_alarms,
        }  # fmt: skip
    return row
