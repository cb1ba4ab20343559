"""Writing a video with the detections drawn in."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from drpca.errors import UserError
from drpca.files import cannot_write, check_folder, open_draft, put_in_place, refuse_present
from drpca.inference.detections import Target
from drpca.visualization.panels import DETECTED, caption, enlarge, to_grey

CODECS = {
    '.mp4': ('mp4v', 'avc1'),
    '.m4v': ('mp4v', 'avc1'),
    '.mov': ('mp4v', 'avc1'),
    '.avi': ('MJPG', 'XVID'),
    '.mkv': ('FFV1', 'MJPG'),
}
"""Suffix of a written video → codecs in the order in which they are tried; FFV1 is lossless."""


DEFAULT_RATE = 25.0


def check_video(path: str | Path, overwrite: bool = False) -> Path:
    """Raises what :class:`AnnotatedVideo` would, before the work."""
    path = Path(path)
    if path.suffix.lower() not in CODECS:
        raise UserError(f'Cannot write {path}: expected one of {", ".join(CODECS)} as suffix.')
    refuse_present([path], overwrite)
    check_folder(path.parent)
    return path


class AnnotatedVideo:
    """Writes frames with boxes, scores and track numbers as a video, in their proportions.

    Small frames are enlarged. The first frame decides the size of the video; others are fitted in, with black borders.

    Args:
        path: The suffix chooses the container and the codec, see ``CODECS``.
        rate: Frames per second.
        overwrite: Replace a file that is there.

    Raises:
        UserError: Another suffix, or the file is there already.
    """

    def __init__(self, path: str | Path, rate: float = DEFAULT_RATE, overwrite: bool = False) -> None:
        self.path = check_video(path, overwrite)
        self.rate = rate
        self._writer: cv2.VideoWriter | None = None
        self._draft = self.path
        self._frames = 0
        self._shape: tuple[int, int] = (0, 0)

    def write(self, image: np.ndarray, targets: list[Target], text: str) -> None:
        """Add a frame.

        Args:
            image: (H, W) in [0, 1].
            targets: What to draw.
            text: Line above the picture.

        Raises:
            UserError: There is no codec, or no access to the folder.
        """
        picture = annotate(image, targets, text)
        if self._writer is None:
            height, width = picture.shape[:2]
            self._shape = height + height % 2, width + width % 2  # codecs want even sides
            self._writer = self._open(self._shape[1], self._shape[0])
        self._writer.write(cv2.cvtColor(_fitted(picture, self._shape), cv2.COLOR_RGB2BGR))
        self._frames += 1

    def _open(self, width: int, height: int) -> cv2.VideoWriter:
        self._draft = open_draft(self.path)
        codecs = CODECS[self.path.suffix.lower()]
        for codec in codecs:
            code = cv2.VideoWriter.fourcc(*codec)
            writer = cv2.VideoWriter(str(self._draft), code, self.rate, (width, height))
            if writer.isOpened():
                return writer
        self._draft.unlink(missing_ok=True)
        raise UserError(
            f'This OpenCV cannot write {self.path.suffix} videos ({", ".join(codecs)}): choose another of '
            f'{", ".join(CODECS)}.'
        )

    def close(self) -> None:
        """Finish the file and put it in its place, where one that is replaced has been until now.

        Raises:
            UserError: Frames are missing, which the encoder does not say: the disk is full.
        """
        if self._writer is None:
            return
        self._writer.release()
        self._writer = None
        try:
            if _count(self._draft) != self._frames:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            put_in_place(self._draft, self.path)
        except OSError as error:
            self._draft.unlink(missing_ok=True)
            raise cannot_write(self.path, error) from None


def _fitted(picture: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """A picture shrunk, if need be, and padded at the right and below to (height, width)."""
    scale = min(1.0, *(room / side for room, side in zip(shape, picture.shape)))
    if scale < 1:
        height, width = (max(1, int(scale * side)) for side in picture.shape[:2])
        picture = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)
    return np.pad(picture, ((0, shape[0] - picture.shape[0]), (0, shape[1] - picture.shape[1]), (0, 0)))


def _count(path: Path) -> int:
    """Frames of a video that can be read; what it announces is no proof, being written into its beginning."""
    ours = cv2.CAP_FFMPEG in cv2.videoio_registry.getBackends()  # others print what they think of a cut file
    video = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG if ours else cv2.CAP_ANY)
    count = 0
    while video.grab():
        count += 1
    video.release()
    return count


ANNOTATED_SIDE = 384
"""Smallest height and width of an annotated frame."""


_BOX_MARGIN = 4


_LABEL = (255, 150, 150)


def annotate(image: np.ndarray, targets: Sequence[Target], text: str) -> np.ndarray:
    """A frame with a box around every target, its highest score, and the number of its track if it has one.

    Args:
        image: (H, W) in [0, 1]. Enlarged by a whole factor to a side of at least ``ANNOTATED_SIDE``.
        targets: What was found in it.
        text: Line above the picture.

    Returns:
        (H', W', 3) uint8, RGB.
    """
    rgb = enlarge(cv2.cvtColor(to_grey(image), cv2.COLOR_GRAY2RGB), ANNOTATED_SIDE)
    factor = rgb.shape[0] // image.shape[0]
    boxes = []
    for target in targets:
        top, left, bottom, right = (side * factor for side in target.box)
        corner = (left - _BOX_MARGIN, top - _BOX_MARGIN)
        boxes.append((corner, (right + _BOX_MARGIN, bottom + _BOX_MARGIN)))
        label = f'{target.peak:.2f}' if target.track is None else f'#{target.track} {target.peak:.2f}'
        (width, height), _ = cv2.getTextSize(label, cv2.FONT_HERSHEY_SIMPLEX, 0.4, 1)
        column = min(max(corner[0], 0), rgb.shape[1] - width)
        row = corner[1] - 4 if corner[1] > height + 4 else bottom + _BOX_MARGIN + height + 4
        cv2.rectangle(rgb, (column, row - height), (column + width, row + 2), (0, 0, 0), cv2.FILLED)
        cv2.putText(rgb, label, (column, row), cv2.FONT_HERSHEY_SIMPLEX, 0.4, _LABEL, 1, cv2.LINE_AA)
    for corners in boxes:  # after the labels, which would hide those close by
        cv2.rectangle(rgb, *corners, DETECTED, 1)
    return caption(rgb, text)
