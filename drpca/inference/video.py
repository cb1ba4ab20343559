"""Videos and cameras: reading frames, and writing a video with the detections drawn in.

OpenCV decodes and encodes. A truncated file is told from a whole one by the number of frames that it announces
and, for AVI, by the size in its RIFF header: decoders fill up the frame in which such a file breaks off.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np

from drpca.errors import UserError
from drpca.inference.targets import Target
from drpca.visualization.panels import annotate

VIDEO_SUFFIXES = ('.avi', '.mp4', '.m4v', '.mov', '.mkv', '.mpg', '.mpeg', '.webm', '.wmv')
CODECS = {
    '.mp4': ('mp4v', 'avc1'),
    '.m4v': ('mp4v', 'avc1'),
    '.mov': ('mp4v', 'avc1'),
    '.avi': ('MJPG', 'XVID'),
    '.mkv': ('FFV1', 'MJPG'),
}
"""Suffix of a written video → codecs in the order in which they are tried; FFV1 is lossless."""
DEFAULT_RATE = 25.0


def is_camera(source: object) -> bool:
    """Whether ``source`` names a camera, by its number, or a stream, by its URL."""
    return (isinstance(source, int) and not isinstance(source, bool)) or (
        isinstance(source, str) and '://' in source
    )


def is_video(path: str | os.PathLike[str]) -> bool:
    """Whether a path has the suffix of a video."""
    return Path(path).suffix.lower() in VIDEO_SUFFIXES


def video_facts(path: str | os.PathLike[str]) -> tuple[int | None, float | None]:
    """Number of frames and frames per second that a video announces; None where it does not."""
    video = cv2.VideoCapture(os.fspath(path))
    count, rate = (
        (video.get(key) for key in (cv2.CAP_PROP_FRAME_COUNT, cv2.CAP_PROP_FPS))
        if video.isOpened()
        else (0, 0)
    )
    video.release()
    return (int(count) if count > 0 else None), (float(rate) if 0 < rate < 1000 else None)


def _grey_frames(video: cv2.VideoCapture) -> Iterator[np.ndarray]:
    while True:
        ok, frame = video.read()
        if not ok:
            return
        yield frame if frame.ndim == 2 else cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY)


def _is_cut_avi(path: Path) -> bool:
    """Whether an AVI is shorter than its RIFF header says (0 and 2³²−1 stand for 'not known')."""
    with open(path, 'rb') as file:
        header = file.read(8)
    size = int.from_bytes(header[4:], 'little')
    return header[:4] == b'RIFF' and 0 < size < 2**32 - 1 and path.stat().st_size < size + 8


def video_frames(path: Path) -> Iterator[tuple[str, np.ndarray]]:
    """The frames of a video as (H, W) grey uint8 values, named ``STEM_000000``, ``STEM_000001``, …

    Raises:
        UserError: The file is missing or no video; or, after its last whole frame, it announced more.
    """
    if not path.is_file():
        raise UserError(f'Cannot read video {path}: no such file.')
    video = cv2.VideoCapture(str(path))
    try:
        if not video.isOpened():
            raise UserError(f'Cannot read video {path}: not a video, or truncated; fetch it again.')
        announced = int(video.get(cv2.CAP_PROP_FRAME_COUNT))
        is_cut = _is_cut_avi(path)
        frames = _grey_frames(video)
        if is_cut:  # without the last one, of which only a part may be in the file
            frames = (frame for frame, _ in pairwise(frames))
        count = 0
        for frame in frames:
            yield f'{path.stem}_{count:06d}', frame
            count += 1
        if is_cut or count < announced:
            raise UserError(
                f'Video {path} ends after frame {count} of {announced}: truncated or damaged; fetch it again.'
            )
    finally:
        video.release()


def camera_frames(camera: int | str) -> Iterator[tuple[str, np.ndarray]]:
    """The frames of a camera or network stream as (H, W) grey uint8 values, named ``camera_000000``, ….

    Args:
        camera: Number of the camera, or URL (``rtsp://…``, ``http://…``).

    Raises:
        UserError: It cannot be opened, or gives no more frames.
    """
    video = cv2.VideoCapture(camera)
    try:
        if not video.isOpened():
            raise UserError(f'Cannot open camera or stream {camera}: is it connected, and free?')
        count = 0
        for frame in _grey_frames(video):
            yield f'camera_{count:06d}', frame
            count += 1
        raise UserError(f'Camera or stream {camera} gave no more frames after {count}.')
    finally:
        video.release()


class AnnotatedVideo:
    """Writes frames with boxes, scores and track numbers as a video. Small frames are enlarged.

    Args:
        path: The suffix chooses the container and the codec, see ``CODECS``.
        rate: Frames per second.
        overwrite: Replace a file that is there.

    Raises:
        UserError: Another suffix, or the file is there already.
    """

    def __init__(self, path: str | Path, rate: float = DEFAULT_RATE, overwrite: bool = False) -> None:
        self.path = Path(path)
        self.rate = rate
        if self.path.suffix.lower() not in CODECS:
            raise UserError(f'Cannot write {self.path}: expected one of {", ".join(CODECS)} as suffix.')
        if self.path.exists() and not overwrite:
            raise UserError(
                f'{self.path} is there already: choose another name, or replace it with --overwrite.'
            )
        self._writer: cv2.VideoWriter | None = None
        self._shape: tuple[int, int] = (0, 0)

    def write(self, image: np.ndarray, targets: list[Target], text: str) -> None:
        """Add a frame.

        Args:
            image: (H, W) in [0, 1]; all frames of one size.
            targets: What to draw.
            text: Line above the picture.

        Raises:
            UserError: The size differs from the first frame's, there is no codec, or no access to the folder.
        """
        picture = annotate(image, targets, text)
        height, width = picture.shape[:2]
        picture = np.pad(picture, ((0, height % 2), (0, width % 2), (0, 0)))  # codecs want even sides
        if self._writer is None:
            self._shape = image.shape
            self._writer = self._open(picture.shape[1], picture.shape[0])
        if image.shape != self._shape:
            raise UserError(
                f'{self.path}: a video has frames of one size, {self._shape[0]} × {self._shape[1]} here, but '
                f'{text} is {image.shape[0]} × {image.shape[1]}; give --size N.'
            )
        self._writer.write(cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))

    def _open(self, width: int, height: int) -> cv2.VideoWriter:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.path.open('wb').close()
        except OSError as error:
            raise UserError(f'Cannot write {self.path}: {error.strerror}.') from None
        codecs = CODECS[self.path.suffix.lower()]
        for codec in codecs:
            code = cv2.VideoWriter.fourcc(*codec)
            writer = cv2.VideoWriter(str(self.path), code, self.rate, (width, height))
            if writer.isOpened():
                return writer
        self.path.unlink(missing_ok=True)
        raise UserError(
            f'This OpenCV cannot write {self.path.suffix} videos ({", ".join(codecs)}): choose another of '
            f'{", ".join(CODECS)}.'
        )

    def close(self) -> None:
        """Finish the file."""
        if self._writer is not None:
            self._writer.release()
            self._writer = None
