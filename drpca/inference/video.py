"""Videos and cameras: reading frames, and writing a video with the detections drawn in.

OpenCV decodes and encodes. A truncated file is told from a whole one by the number of frames that it announces
and, for AVI, by the size in its RIFF header: decoders fill up the frame in which such a file breaks off.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np

from drpca.errors import UserError

# What FFmpeg says of a damaged file would come before our one line.
os.environ.setdefault('OPENCV_FFMPEG_LOGLEVEL', '-8')
# What videos start with: AVI, Matroska, MPEG, a packet of an MPEG stream, ASF; or the first box of MP4 and QuickTime.
_STARTS = re.compile(
    rb'RIFF....AVI|\x1aE\xdf\xa3|\x00\x00\x01[\xb0-\xbf]|G[@-_].[\x10-\x1f0-?]|0&\xb2u\x8ef\xcf\x11|'
    rb'....(ftyp|moov|mdat|wide|free|skip|pnot)',
    re.DOTALL,
)


def _open_file(path: str | os.PathLike[str]) -> cv2.VideoCapture:
    """The decoder of a file, not opened unless the file begins as a video does.

    FFmpeg goes by content: of a text with the suffix of a video it would follow the files and addresses that it names.
    """
    try:
        with open(path, 'rb') as file:
            is_video = _STARTS.match(file.read(12))
    except OSError:
        is_video = None
    return cv2.VideoCapture(os.fspath(path)) if is_video else cv2.VideoCapture()


def video_facts(path: str | os.PathLike[str]) -> tuple[int | None, float | None]:
    """Number of frames and frames per second that a video announces; None where it does not."""
    if not Path(path).is_file():  # opening a pipe would wait
        return None, None
    video = _open_file(path)
    count, rate = (
        (video.get(key) for key in (cv2.CAP_PROP_FRAME_COUNT, cv2.CAP_PROP_FPS)) if video.isOpened() else (0, 0)
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
    video = _open_file(path)
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
