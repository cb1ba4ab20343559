"""Results as a zip file."""

from __future__ import annotations

import tempfile
import zipfile
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import numpy as np

from drpca.app.analysis import AnalysedFrame
from drpca.app.pictures import png
from drpca.results.folder import FRAME_MAPS, PARTS, ResultsWriter
from drpca.results.stage_pictures import stages_picture
from drpca.version import versions

DOWNLOADED = ('png', 'mat', 'json', 'csv', 'coco')


def results_zip(analyses: Sequence[AnalysedFrame], threshold: float) -> bytes:
    """A results folder as ``inference.py`` writes it, with masks and pictures of the stages, zipped.

    Everything is in pixels of the frames.

    ======================= ==========================================================
    ``run.json``            detector, size, threshold, versions
    ``img/NAME.png``        score map, 0-255
    ``mat/NAME.mat``        score map, key ``T``, float32 in [0, 1]
    ``mask/NAME.png``       0 and 255: scores above the threshold
    ``json/NAME.json``      the targets
    ``targets.csv``         the same, a row per target
    ``coco.json``           the same as COCO annotations
    ``overlay/NAME.png``    the detections in the image
    ``stages/NAME.png``     B, T, N and D of every stage, where there are any
    ======================= ==========================================================

    Args:
        analyses: Of one frame or several, by one detector; at least one.
        threshold: Scores above it are detections.

    Raises:
        UserError: Two frames of one name.
    """
    first = analyses[0]
    run = {
        'config': first.model,
        'detector': first.detector,
        'input': first.name if len(analyses) == 1 else f'{len(analyses)} frames',
        'input_size': list(first.scores.shape),
        'map_size': list(first.detection.map_scores.shape),
        'maps': FRAME_MAPS,
        'range': first.range,
        'threshold': threshold,
        'versions': versions(),
    }
    buffer = BytesIO()
    with tempfile.TemporaryDirectory() as folder:
        writer = ResultsWriter(folder, run, formats=DOWNLOADED, overlay=True, threshold=threshold)
        with zipfile.ZipFile(buffer, 'w', zipfile.ZIP_DEFLATED) as archive:
            for analysis in analyses:
                detection = analysis.detect(threshold)
                writer.write(detection)
                archive.writestr(f'mask/{analysis.name}.png', png(detection.mask.astype(np.uint8) * 255))
                if analysis.stages:
                    picture = stages_picture(analysis.decomposition, analysis.scores, analysis.gt_mask)
                    archive.writestr(PARTS['stages'].format(analysis.name), png(picture))
            writer.close()
            for path in sorted(Path(folder).rglob('*')):
                if path.is_file():
                    archive.write(path, path.relative_to(folder).as_posix())
    return buffer.getvalue()
