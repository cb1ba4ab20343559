"""Reading images that visitors send, with limits."""

from __future__ import annotations

import re
import tempfile
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from drpca.datasets.io import IMAGE_SUFFIXES, PICTURE_FORMATS, read_image
from drpca.errors import UserError
from drpca.inference.frames import MIN_SIDE, VIDEO_SUFFIXES
from drpca.inference.video import video_frames

MAX_PIXELS = 4096 * 4096
MAX_FRAMES = 500
MAX_SEQUENCE_PIXELS = 2**24
SEQUENCE_LIMIT = f'up to {MAX_FRAMES} frames of {MAX_SEQUENCE_PIXELS / 1e6:.1f} megapixels together are taken'


def clean_stem(file_name: str) -> str:
    """The stem of a visitor's file name, of letters, digits, ``.``, ``_`` and ``-`` alone."""
    stem = file_name.replace('\\', '/').rsplit('/', 1)[-1].rsplit('.', 1)[0]
    return re.sub(r'[^\w.-]+', '_', stem).strip('._')[:60] or 'image'


def read_upload(file_name: str, content: bytes, max_bytes: int) -> tuple[str, np.ndarray]:
    """An image file as grey values. Its dimensions are looked at before it is decoded.

    Args:
        file_name: As the visitor calls it; used in messages and, cleaned, as the name of the frame.
        content: The file.
        max_bytes: Largest file.

    Returns:
        Name and (H, W) uint8, uint16 or float32.

    Raises:
        UserError: Too large a file, too many or too few pixels, no image, another format, or damaged. The
            message holds no path.
    """
    stem = clean_stem(file_name)
    shown = file_name.replace('\\', '/').rsplit('/', 1)[-1][:80]
    if len(content) > max_bytes:
        raise UserError(
            f'{shown} has {len(content) / 2**20:.1f} MB; files of up to {max_bytes / 2**20:g} MB are taken.'
        )
    too_many = f'pixels; images of up to {MAX_PIXELS:,} pixels (4096 × 4096) are taken. Cut or shrink it.'
    try:
        with Image.open(BytesIO(content), formats=PICTURE_FORMATS) as header:
            width, height = header.size
            kind = str(header.format)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise UserError(f'{shown} has far too many {too_many}') from None
    except (OSError, SyntaxError, ValueError):
        raise UserError(
            f'{shown} is not an image that can be read: expected {", ".join(IMAGE_SUFFIXES)} of 8 or 16 bits, TIFF '
            'also of 32.'
        ) from None
    if width * height > MAX_PIXELS:
        raise UserError(f'{shown} has {width} × {height} {too_many}')
    if min(width, height) < MIN_SIDE:
        raise UserError(f'{shown} has {width} × {height} pixels; at least {MIN_SIDE} × {MIN_SIDE} are needed.')
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f'upload.{kind.lower()}'
        path.write_bytes(content)
        try:
            return stem, read_image(path)
        except UserError as error:
            raise UserError(str(error).replace(str(path), shown)) from None


def read_frames(file_name: str, content: bytes, max_bytes: int) -> list[tuple[str, np.ndarray]]:
    """The frames of an image file or of a short video.

    Args:
        file_name: As of :func:`read_upload`, like the next two.
        content: The file.
        max_bytes: Largest file.

    Returns:
        Name and (H, W) grey values of each; of a video uint8, named ``STEM_000000``, ….

    Raises:
        UserError: As :func:`read_upload`; a video that is damaged, or has more frames or pixels than a sequence may.
    """
    suffix = '.' + file_name.rsplit('.', 1)[-1].lower()
    if suffix not in VIDEO_SUFFIXES:
        return [read_upload(file_name, content, max_bytes)]
    stem = clean_stem(file_name)
    if len(content) > max_bytes:
        raise UserError(f'{stem}{suffix} is too large: files of up to {max_bytes / 2**20:g} MB are taken.')
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f'{stem}{suffix}'
        path.write_bytes(content)
        frames: list[tuple[str, np.ndarray]] = []
        try:
            for name, frame in video_frames(path):
                if min(frame.shape) < MIN_SIDE:
                    raise UserError(f'{path} has frames of less than {MIN_SIDE} × {MIN_SIDE} pixels.')
                if len(frames) == MAX_FRAMES or (len(frames) + 1) * frame.size > MAX_SEQUENCE_PIXELS:
                    raise UserError(f'{path} is too long: {SEQUENCE_LIMIT}. Cut it, or take inference.py.')
                frames.append((name, frame))
        except UserError as error:
            raise UserError(str(error).replace(str(path), path.name)) from None
    return frames


def read_label(file_name: str, content: bytes, max_bytes: int, shape: tuple[int, ...]) -> np.ndarray:
    """A label of a frame.

    Args:
        file_name: As of :func:`read_upload`, like the next two.
        content: The file.
        max_bytes: Largest file.
        shape: Height and width of the frame.

    Returns:
        (H, W) bool, where the values are above 0.

    Raises:
        UserError: As :func:`read_upload`, or another size than the frame's.
    """
    name, values = read_upload(file_name, content, max_bytes)
    if values.shape != shape:
        raise UserError(
            f'The label {name} has {values.shape[0]} × {values.shape[1]} pixels, the frame {shape[0]} × {shape[1]}: '
            'take the label of this frame, above 0 where targets are.'
        )
    return values > 0
