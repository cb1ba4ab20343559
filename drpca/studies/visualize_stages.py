"""Pictures of background, target and noise after every stage of a detector."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from drpca.datasets.io import Levelled, resize_map, resize_mask, unit
from drpca.datasets.splits import spread
from drpca.inference.decomposer import FrameDecomposition, make_decomposer
from drpca.inference.detector import Detector
from drpca.inference.frames import list_images, stem_of
from drpca.results.stage_pictures import StageFolder, stages_picture

COUNT = 4
"""Images of a data set that are drawn unless asked otherwise."""


@dataclass(frozen=True)
class DrawnStages:
    """The stages of one image.

    Attributes:
        name: Of the image.
        picture: (H, W, 3) uint8, red first: image, score map and label, below them B, T, N and D of every stage.
        decomposition: What is drawn: arrays and learned scalars by stage.
        path: The file, None if none was written.
    """

    name: str
    picture: np.ndarray
    decomposition: FrameDecomposition
    path: Path | None = None


def visualize_stages(
    detector: Detector,
    source: Any = None,
    *,
    dataset: str | None = None,
    split: str = 'test',
    data_root: str | None = None,
    names: Sequence[str] = (),
    limit: int | None = None,
    out: str | Path | None = None,
    overwrite: bool = False,
) -> Iterator[DrawnStages]:
    """Draws what happens inside a detector, image by image.

    Args:
        detector: Anything that decomposes: an unfolded network or an optimisation-based method.
        source: Images of one's own, anything that :class:`drpca.inference.frames.FrameSource` takes; None: a data
            set, whose masks are drawn too.
        dataset: Data set; default: that of the detector's config.
        split: Its split.
        data_root: Folder of the data sets.
        names: Images of the split; default: ``limit`` of them, or ``COUNT``, evenly spread.
        limit: Only so many images.
        out: Folder for NAME.png and stages.json; '{dataset}' in it becomes the data set's name, or that of the
            file or folder of ``source``. None: no files.
        overwrite: Replace the pictures of an earlier run.

    Raises:
        UserError: While iterating: a method without decomposition, an unknown name, an unreadable image, or pictures
            that are there already.
    """
    decomposer = make_decomposer(detector.mapper)
    described = detector.described()
    frames: Iterator[tuple[str, np.ndarray, np.ndarray | None]]
    if source is None:
        images = detector.open_images(split, dataset, data_root)
        chosen = names or spread(images.names, limit or COUNT)
        for name in chosen:
            if name not in images.names:  # is told before the first picture is drawn
                images.image_path(name)
        needed = chosen if detector.frames == 1 else images.around(chosen)
        frames = ((name, images.read_image(name), images.read_mask(name)) for name in needed)
        described |= {'dataset': images.dataset, 'split': images.split}
        title = images.dataset
    else:
        path = Path(source) if isinstance(source, str | Path) else None
        title = 'frames' if path is None else stem_of(path)
        if path is not None and path.is_dir() and detector.frames == 1:
            source = spread(list_images(path), limit)
        of_ones_own = detector.mapper.source(source)
        count = limit if detector.frames == 1 else None  # windows need the frames around those drawn
        frames = ((name, frame, None) for name, frame in islice(of_ones_own, count))
        described |= {'dataset': None, 'split': None}
    folder: StageFolder | None = None
    waiting: deque[tuple[str, Levelled, np.ndarray | None]] = deque()

    def levelled_frames() -> Iterator[tuple[str, Levelled]]:
        for name, frame, gt_mask in frames:
            levelled = detector.mapper.values.level(frame, name)
            waiting.append((name, levelled, gt_mask))
            yield name, levelled

    for parts, scores in islice(decomposer.stream(levelled_frames()), None if source is None else limit):
        name, levelled, gt_mask = waiting.popleft()
        if source is None and name not in chosen:
            continue
        frame = levelled.image
        decomposition = parts.at_frame(unit(frame))
        if gt_mask is not None:
            gt_mask = resize_mask(gt_mask, frame.shape)
        picture = stages_picture(decomposition, resize_map(scores, frame.shape), gt_mask)
        written = None
        if out is not None:
            folder = folder or StageFolder(str(out).replace('{dataset}', title), described, overwrite)
            written = folder.write(name, picture, [stage.scalars for stage in decomposition.stages])
        yield DrawnStages(name, picture, decomposition, written)
