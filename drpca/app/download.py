"""The results of one frame as a zip file."""

from __future__ import annotations

import tempfile
import zipfile
from io import BytesIO
from pathlib import Path

import numpy as np

from drpca.app.analysis import AnalysedFrame
from drpca.app.pictures import png
from drpca.results.folder import FRAME_MAPS, PARTS, ResultsWriter
from drpca.results.stage_pictures import stages_picture
from drpca.version import versions

DOWNLOADED = ('png', 'mat', 'json', 'csv')


def results_zip(analysis: AnalysedFrame, threshold: float) -> bytes:
    """A results folder as ``inference.py`` writes it, with the mask and the picture of the stages, zipped.

    ======================= ==========================================================
    ``run.json``            detector, size, threshold, versions
    ``img/NAME.png``        score map, 0-255
    ``mat/NAME.mat``        score map, key ``T``, float32 in [0, 1]
    ``mask/NAME.png``       0 and 255: scores above the threshold
    ``json/NAME.json``      the targets
    ``targets.csv``         the same, a row per target
    ``overlay/NAME.png``    the detections in the image
    ``stages/NAME.png``     B, T, N and D of every stage, where there are any
    ======================= ==========================================================

    Args:
        analysis: Of the frame.
        threshold: Scores above it are detections.
    """
    detection = analysis.detect(threshold)
    run = {
        'config': analysis.model,
        'detector': analysis.detector,
        'input': analysis.name,
        'input_size': list(analysis.scores.shape),
        'map_size': list(analysis.detection.map_scores.shape),
        'maps': FRAME_MAPS,
        'range': analysis.range,
        'threshold': threshold,
        'versions': versions(),
    }
    buffer = BytesIO()
    with tempfile.TemporaryDirectory() as folder:
        writer = ResultsWriter(folder, run, formats=DOWNLOADED, overlay=True, threshold=threshold)
        writer.write(detection)
        writer.close()
        with zipfile.ZipFile(buffer, 'w', zipfile.ZIP_DEFLATED) as archive:
            for path in sorted(Path(folder).rglob('*')):
                if path.is_file():
                    archive.write(path, path.relative_to(folder).as_posix())
            archive.writestr(f'mask/{analysis.name}.png', png(detection.mask.astype(np.uint8) * 255))
            if analysis.stages:
                picture = stages_picture(analysis.decomposition, analysis.scores, analysis.gt_mask)
                archive.writestr(PARTS['stages'].format(analysis.name), png(picture))
    return buffer.getvalue()
