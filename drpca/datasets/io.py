"""Reading, scaling and resizing of images and masks; reading of MATLAB files.

Arrays are (H, W): images grey values, uint8, uint16 or float32; masks bool. Decoding and resizing go through OpenCV,
whose grey conversion and resizing of 8-bit values the published figures rest on: the published RPCANet weights give
the anchor IoU of 70.379 on SIRST V1 with them, and 63.8 with Pillow's resizing of image and mask. OpenCV
returns the readable part of a truncated file without a word, so every file is checked first, by its content: it is
a regular one of the four formats, of a bearable size, and whole.
"""

from __future__ import annotations

import logging
import math
import os
import struct
import threading
import warnings
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Literal, NamedTuple, TypeVar

import cv2
import numpy as np
from PIL import Image

from drpca.errors import UserError, warn
from drpca.options import AUTO, RANGES

IMAGE_SUFFIXES = ('.png', '.bmp', '.tif', '.tiff', '.jpg', '.jpeg')

MaskRule = Literal['positive', 'published']
RangeRule = str | Sequence[str | float]
GreyRule = Literal['opencv', 'luma']

S = TypeVar('S')
T = TypeVar('T')

PICTURE_FORMATS = ('PNG', 'TIFF', 'BMP', 'JPEG')
"""What Pillow may take a file for; of its other readers one starts Ghostscript."""
MAX_PIXELS = 178_956_970
"""Where Pillow sees an attack; 13,377 × 13,377."""
MAX_BYTES = 2**30
MAX_VALUE = 1e30
"""Grey values above it overflow."""

_COLOUR = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
_GREY = cv2.IMREAD_GRAYSCALE | cv2.IMREAD_ANYDEPTH | cv2.IMREAD_IGNORE_ORIENTATION
_DECODE_ERRORS = (
    OSError, SyntaxError, ValueError, EOFError, TypeError, KeyError, IndexError, OverflowError, MemoryError,
    struct.error, zlib.error, cv2.error,
)  # fmt: skip
_JPEG = b'\xff\xd8'
_PNG = b'\x89PNG\r\n\x1a\n'
_PNG_PIXELS = {*b'IHDR PLTE IDAT IEND tRNS gAMA cHRM sRGB iCCP sBIT bKGD'.split()}
_PNG_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_PNG_DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
_ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))

# What libraries say of a file would come before our one line.
warnings.filterwarnings('ignore', module=r'PIL\.')
logging.getLogger('PIL').setLevel(logging.CRITICAL)
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)


def parallel_map(function: Callable[[S], T], values: Sequence[S]) -> list[T]:
    """``[function(value) for value in values]`` by a few threads, for functions that read files."""
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        return list(pool.map(function, values))


def read_regular(path: Path, what: str, largest: int = MAX_BYTES) -> bytes:
    """The content of a regular file: not of a pipe, which would be waited for, or a device.

    Args:
        path: The file.
        what: What it should be, for messages.
        largest: Bytes.

    Raises:
        UserError: It is missing, a folder, of another kind, too large, or unreadable.
    """
    if not path.is_file():
        reason = f'a folder, expected an {what} file' if path.is_dir() else 'no such file'
        reason = 'not a regular file' if path.exists() and not path.is_dir() else reason
        raise UserError(f'Cannot read {what} {path}: {reason}.')
    size = path.stat().st_size
    if size > largest:
        raise UserError(f'Cannot read {what} {path}: expected at most {largest:,} bytes, got {size:,}.')
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(f'Cannot read {what} {path}: {error.strerror}.') from None


def _open(path: Path, content: bytes) -> Image.Image:
    """A picture of which the header was read, of one of ``PICTURE_FORMATS`` and a bearable size.

    Raises:
        UserError: It is none.
    """
    try:
        picture = Image.open(BytesIO(content), formats=PICTURE_FORMATS)
    except Image.UnidentifiedImageError:
        raise UserError(
            f'Cannot read image {path}: not an image file (expected {", ".join(IMAGE_SUFFIXES)}).'
        ) from None
    except Image.DecompressionBombError:
        raise UserError(f'Cannot read image {path}: more than {MAX_PIXELS:,} pixels; cut it.') from None
    except _DECODE_ERRORS as error:
        raise _damaged(path, error) from None
    if picture.width * picture.height > MAX_PIXELS:
        raise UserError(f'Cannot read image {path}: more than {MAX_PIXELS:,} pixels; cut it.')
    return picture


class _Silence:
    """Keeps what libtiff writes to the screen by itself off it; any number of threads may be inside at once.

    What other threads write to standard error meanwhile, a millisecond, is lost too.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = self._kept = 0

    def __enter__(self) -> None:
        with self._lock:
            self._inside += 1
            if self._inside == 1:
                self._kept = os.dup(2)
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, 2)
                os.close(nowhere)

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside:
                os.dup2(self._kept, 2)
                os.close(self._kept)


_SILENCE = _Silence()


def _damaged(path: Path, error: Exception) -> UserError:
    reason = ' '.join(str(error).split())[:160] or type(error).__name__
    return UserError(f'Cannot read image {path}: truncated or damaged ({reason}); fetch it again.')


def image_shape(path: Path) -> tuple[int, int]:
    """Height and width of an image, from its header.

    Raises:
        UserError: No image.
    """
    picture = _open(path, read_regular(path, 'image'))
    return picture.height, picture.width


def _checked(path: Path) -> bytes:
    """The content of a file that is a whole picture, without what libpng would write messages about."""
    content = read_regular(path, 'image')
    if not content:
        raise UserError(f'Cannot read image {path}: the file is empty (0 bytes); fetch it again.')
    picture = _open(path, content)
    try:
        if picture.format == 'PNG':
            return _plain_png(content)
        with _SILENCE if picture.format == 'TIFF' else nullcontext():
            picture.load()
    except _DECODE_ERRORS as error:
        raise _damaged(path, error) from None
    return content


def _plain_png(content: bytes) -> bytes:
    """A PNG reduced to the chunks on which its grey values depend.

    Raises:
        ValueError, zlib.error, struct.error: A chunk is missing, out of place or damaged, or pixels are missing.
    """
    names: list[bytes] = []
    kept, pixels, at, name = [_PNG], [], len(_PNG), b''
    view = memoryview(content)
    while name != b'IEND':
        size, name = struct.unpack_from('>I4s', content, at)
        end = at + 12 + size
        if end > len(content) or zlib.crc32(view[at + 4 : end - 4]) != int.from_bytes(view[end - 4 : end], 'big'):
            raise ValueError(f'the chunk {name!r} breaks off or has a wrong checksum')
        if (name == b'IHDR') != (not names):
            raise ValueError('one header is expected, at the beginning')
        if name == b'IDAT':
            pixels.append(view[at + 8 : end - 4])
        if name in _PNG_PIXELS:
            kept.append(content[at:end])
        elif name[:1].isupper():
            raise ValueError(f'the unknown chunk {name!r}')
        names.append(name)
        at = end
    width, height, depth, colour, _, _, interlace = struct.unpack_from('>IIBBBBB', content, len(_PNG) + 8)
    if depth not in _PNG_DEPTHS.get(colour, ()) or interlace > 1:
        raise ValueError(f'depth {depth}, colours {colour}, interlacing {interlace}')
    if colour == 3 and b'PLTE' not in names[: names.index(b'IDAT')]:
        raise ValueError('no palette before the pixels')
    bits = depth * _PNG_CHANNELS[colour]
    sides = [(width, height)]
    if interlace:
        sides = [(-(-(width - x) // dx), -(-(height - y) // dy)) for x, y, dx, dy in _ADAM7]
    lines = [(h, 1 + -(-w * bits // 8)) for w, h in sides if w > 0 and h > 0]
    wanted = sum(h * length for h, length in lines)
    if not wanted:
        raise ValueError('no pixels')
    stream = zlib.decompressobj().decompress(b''.join(pixels), wanted)
    if len(stream) < wanted:
        raise ValueError('pixels are missing')
    at = 0
    for h, length in lines:
        if max(stream[at : at + h * length : length]) > 4:
            raise ValueError('a line of pixels with an unknown filter')
        at += h * length
    return b''.join(kept)


def read_image(path: str | Path, grey: GreyRule = 'opencv') -> np.ndarray:
    """Reads a picture as grey values.

    Grey, RGB, RGBA and palette pictures become grey by ITU-R 601 luma; alpha and an orientation tag are
    ignored. Values deeper than 8 bits stay what they are: counts, or kelvin.

    Args:
        path: PNG, BMP, TIFF or JPEG file.
        grey: How 8-bit colours become grey; grey files are the same under both. 'opencv': as OpenCV's
            ``IMREAD_GRAYSCALE`` rounds, as the published loaders of the networks do. 'luma': rounded to the
            nearest value, as behind the reference rows of the classical methods.

    Returns:
        (H, W) array: uint8, uint16, or float32 of TIFF files with signed, 32-bit or floating-point values.

    Raises:
        UserError: The file is missing, empty, truncated, damaged, no image, or holds NaN or infinite values; or an
            unknown ``grey``.
    """
    if grey not in ('opencv', 'luma'):
        raise UserError(f"Unknown grey rule {grey!r}: expected 'opencv' or 'luma'.")
    path = Path(path)
    content = _checked(path)
    try:
        if grey == 'luma':
            picture = Image.open(BytesIO(content), formats=PICTURE_FORMATS)
            if picture.mode in ('P', 'RGB', 'RGBA', 'LA'):
                return np.asarray(picture.convert('L'))
        if content.startswith(_JPEG):
            # The same library with the same grey values as in OpenCV, but without its messages.
            picture = Image.open(BytesIO(content), formats=PICTURE_FORMATS)
            picture.draft('L', picture.size)
            if picture.mode == 'L':
                return np.array(picture)
        with _SILENCE if content[:2] in (b'II', b'MM') else nullcontext():
            values = cv2.imdecode(np.frombuffer(content, np.uint8), _GREY)
    except _DECODE_ERRORS as error:
        raise _damaged(path, error) from None
    if values is None:
        raise UserError(f'Cannot read image {path}: truncated or damaged; fetch it again.')
    if values.dtype in (np.uint8, np.uint16):
        return values
    return finite(values.astype(np.float32), f'Cannot read image {path}')


def finite(values: np.ndarray, what: str) -> np.ndarray:
    """The same values.

    Raises:
        UserError: NaN or infinity among them; begins with ``what``.
    """
    if wrong := values.size - np.count_nonzero(np.isfinite(values)):
        raise UserError(f'{what}: {wrong} of {values.size} values are NaN or infinite; replace them first.')
    return values


def picture_values(picture: Image.Image) -> np.ndarray:
    """A Pillow image as grey values, (H, W) uint8, uint16 or float32: those of its file, colours but for rounding.

    Raises:
        UserError: Its file is damaged.
    """
    try:
        if picture.mode in ('L', 'I', 'F') or picture.mode.startswith('I;16'):
            values = np.asarray(picture)
        else:
            values = cv2.cvtColor(np.asarray(picture.convert('RGB')), cv2.COLOR_RGB2GRAY)
    except _DECODE_ERRORS as error:
        raise _damaged(Path(getattr(picture, 'filename', '') or 'picture'), error) from None
    if values.dtype in (np.uint8, np.uint16):
        return values
    return finite(values.astype(np.float32), 'Cannot take picture')


def read_colours(path: str | Path) -> np.ndarray:
    """Reads a picture as (H, W, 3) uint8, blue first.

    Raises:
        UserError: As :func:`read_image`.
    """
    path = Path(path)
    try:
        picture = cv2.imdecode(np.frombuffer(_checked(path), np.uint8), _COLOUR)
    except cv2.error as error:
        raise _damaged(path, error) from None
    if picture is None:
        raise UserError(f'Cannot read image {path}: truncated or damaged; fetch it again.')
    return picture


def read_mask(path: str | Path, rule: MaskRule = 'positive') -> np.ndarray:
    """Reads a mask; any of 0/255, 0/1 and grey masks.

    Args:
        path: Image file.
        rule: 'positive': every pixel above zero is target. 'published': only pixels at the maximum of the
            mask are, as in loaders that divide by the maximum and truncate. The rules differ on grey masks
            (85 of IRSTD-1K's 1,001).

    Returns:
        (H, W) bool. An empty mask is empty under both rules.

    Raises:
        UserError: As :func:`read_image`; or the rule is unknown.
    """
    values = read_image(path)
    if rule == 'positive':
        return values > 0
    if rule == 'published':
        return (values == values.max()) & (values > 0)
    raise UserError(f"Unknown mask rule {rule!r}: expected 'positive' or 'published'.")


def is_mask(values: np.ndarray) -> bool:
    """Whether a picture may be a mask: half of it is 0, or it has two values, the lower one 0.

    So masks with grey edges and numbered targets are, frames are not.

    Args:
        values: (H, W), as :func:`read_image` gives them.
    """
    zeros = np.count_nonzero(values == 0)
    return 2 * zeros >= values.size or (zeros > 0 and np.unique(values).size <= 2)


def read_given_mask(path: str | Path) -> np.ndarray:
    """:func:`read_mask` of a file of which a user says that it is one.

    Raises:
        UserError: As :func:`read_image`; or it is none (:func:`is_mask`).
    """
    values = read_image(path)
    if not is_mask(values):
        raise UserError(
            f'{path} is no mask, but a picture of {np.unique(values).size} grey values: expected 0 around the targets, '
            'and another value in them.'
        )
    return values > 0


class Levelled(NamedTuple):
    """A frame on a known scale.

    Attributes:
        image: (H, W) uint8, or float32 in [0, 1].
        low: Value of the frame that became 0.
        high: Value of the frame that became 1 (255).
        bad_pixels: Number of pixels that were replaced.
    """

    image: np.ndarray
    low: float
    high: float
    bad_pixels: int = 0


class ValueRange:
    """Which grey values of a frame become 0 and 1; values outside are clipped.

    ======================== =======================================================================================
    rule                     values that become 0 and 1
    ======================== =======================================================================================
    ``'auto'``               uint8 and bool: the lowest and highest of the type. float in [0, 1]: 0 and 1. All others
                             are counts or kelvin: the frame's own lowest and highest, whatever the depth of its file;
                             where isolated pixels (:func:`isolated_pixels`) take more than half of that range, the
                             lowest and highest of all other pixels
    ``'minmax'``             the frame's own lowest and highest
    ``'full'``               0 and the highest value of the type, 255 or 65,535
    ``'percentile LO HI'``   these percentiles of the frame, 0 to 100
    ``'LO HI'``              these values, the same in all frames
    ======================== =======================================================================================

    A frame of one value becomes 0. Warns, once, where the stretch throws away more than it keeps: isolated pixels were
    left out, more pixels lie outside the range than in it, or 98 % of the pixels share less than 2 % of it.

    Args:
        rule: A text as above, or its words: ``('percentile', 0.1, 99.9)``, ``(7000, 9000)``.
        bad_pixels: First replace isolated pixels by the median of the 3 × 3 pixels around them.

    Raises:
        UserError: Another rule.
    """

    def __init__(self, rule: RangeRule = AUTO, bad_pixels: bool = False) -> None:
        words = list(map(str, rule.split() if isinstance(rule, str) else rule))
        self.kind = words.pop(0) if words and words[0] in RANGES else 'values'
        self.bad_pixels = bad_pixels
        self.low, self.high = 0.0, 100.0
        self._has_warned = False
        takes_limits = self.kind in ('percentile', 'values')
        try:
            if takes_limits:
                self.low, self.high = map(float, words)
            is_right = takes_limits or not words
        except ValueError:
            is_right = False
        bottom, top = (0, 100) if self.kind == 'percentile' else (-MAX_VALUE, MAX_VALUE)
        if not (is_right and bottom <= self.low < self.high <= top):
            text = rule if isinstance(rule, str) else ' '.join(map(str, rule))
            raise UserError(
                f"Unknown range {text!r}: expected auto, minmax, full, 'percentile LO HI' (0 to 100) or 'LO HI' "
                '(values), LO below HI.'
            )

    def __str__(self) -> str:
        limits = f'{self.low:g} {self.high:g}'
        return {'values': limits, 'percentile': f'percentile {limits}'}.get(self.kind, self.kind)

    def level(self, frame: np.ndarray | Levelled, name: str | None = None) -> Levelled:
        """A frame on the scale of [0, 1].

        Args:
            frame: (H, W) of bool, any integers or floats; or a frame that has been through, which stays as it is.
            name: Of the frame, for the warning; None: no warning.

        Raises:
            UserError: Values of another type, or ``'full'`` of floats, which have no highest value.
        """
        if isinstance(frame, Levelled):
            return frame
        if frame.dtype.kind not in 'buif':
            raise UserError(f'Expected bool, integers or floats as grey values, got {frame.dtype}.')
        if frame.dtype == bool:
            frame = frame.astype(np.uint8) * np.uint8(255)
        elif frame.dtype not in (np.uint8, np.uint16):
            frame = frame.astype(np.float32, copy=False)
        count = 0
        if self.bad_pixels:
            frame, count = without_bad_pixels(frame)
        top = 255.0 if frame.dtype == np.uint8 else 1.0
        lowest, highest = (float(frame.min()), float(frame.max())) if frame.size else (0.0, 0.0)
        if self.kind == AUTO and frame.dtype != np.uint16 and lowest >= 0 and highest <= top:
            return Levelled(frame, 0.0, top, count)
        low, high, text = self._limits(frame, lowest, highest)
        if name is not None and not self._has_warned and (text := text or _lost(frame, low, high)):
            self._has_warned = True
            text = f'{name}: {text} (--range, --bad-pixels; further frames are not checked).'
            warn(text)
        image = (frame.astype(np.float32) - np.float32(low)) / np.float32(high - low if high > low else 1)
        return Levelled(np.clip(image, 0, 1, out=image), low, high, count)

    def _limits(self, frame: np.ndarray, lowest: float, highest: float) -> tuple[float, float, str]:
        """The values that become 0 and 1, and what there is to say about them."""
        if self.kind == 'values':
            return self.low, self.high, ''
        if self.kind == 'full':
            if frame.dtype.kind == 'f':
                raise UserError("A range of 'full' is for 8 and 16 bits: give one of values for floats, LO HI.")
            return 0.0, float(np.iinfo(frame.dtype).max), ''
        if self.kind == 'percentile':
            low, high = (float(value) for value in np.percentile(frame, (self.low, self.high)))
            return (low, high, '') if high > low else (lowest, highest, '')
        if self.kind == AUTO and frame.ndim == 2 and highest > lowest:
            alone = isolated_pixels(frame)
            rest = frame[~alone] if alone.any() else frame
            low, high = float(rest.min()), float(rest.max())
            if high - low < (highest - lowest) / 2:
                return (
                    low,
                    high,
                    (
                        f'{np.count_nonzero(alone)} isolated pixels stretch the values from {low:g} … {high:g} to '
                        f'{lowest:g} … {highest:g} and are left out of the range'
                    ),
                )
        return lowest, highest, ''


def _lost(frame: np.ndarray, low: float, high: float) -> str:
    """What a stretch throws away of a frame, if that is more than it keeps."""
    some = frame.ravel()[:: max(1, frame.size // 16384)]
    if not some.size or high <= low:
        return ''
    outside = np.mean((some < low) | (some > high))
    if outside > 0.5:
        return f'{outside:.0%} of the pixels lie outside the range of {low:g} to {high:g}, and are clipped'
    first, last = np.percentile(some, (1, 99))
    if last - first < 0.02 * (high - low):
        return (
            f'98 % of the pixels lie from {first:g} to {last:g}, in less than 2 % of the range of {low:g} to {high:g}'
        )
    return ''


def isolated_pixels(frame: np.ndarray) -> np.ndarray:
    """Pixels that stand out as no target behind a lens does: dead, hot and flickering ones.

    With d the distance from the median of 3 × 3 pixels, and σ = 1.4826 · median(d) over the frame (at least 1 for
    integers), such a pixel has d > 8σ, and 8 times as much as each of its eight neighbours. The image of a point is
    wider: already a Gaussian spot of σ = 0.4 pixels has neighbours above that. Bad pixels side by side are not found.

    Args:
        frame: (H, W) uint8, uint16 or float32.

    Returns:
        (H, W) bool.
    """
    frame = np.ascontiguousarray(frame)
    distance = cv2.absdiff(frame, cv2.medianBlur(frame, 3))
    spread = 1.4826 * float(np.median(distance.astype(np.float32, copy=False)))
    if frame.dtype.kind == 'u':
        spread = max(spread, 1.0)
    alone = distance > 8 * spread
    if alone.any():
        around = cv2.dilate(distance, np.array([[1, 1, 1], [1, 0, 1], [1, 1, 1]], np.uint8))
        alone &= distance > np.multiply(around, 8, dtype=np.float32)
    return alone


def without_bad_pixels(frame: np.ndarray) -> tuple[np.ndarray, int]:
    """A frame with :func:`isolated_pixels` replaced by the median of 3 × 3 pixels, and their number."""
    alone = isolated_pixels(frame)
    count = int(np.count_nonzero(alone))
    return (np.where(alone, cv2.medianBlur(np.ascontiguousarray(frame), 3), frame) if count else frame), count


def unit(frame: np.ndarray) -> np.ndarray:
    """uint8, or float in [0, 1] → float32 in [0, 1]."""
    return (
        frame.astype(np.float32) / np.float32(255) if frame.dtype == np.uint8 else frame.astype(np.float32, copy=False)
    )


def to_unit(array: np.ndarray, rule: RangeRule = AUTO) -> np.ndarray:
    """Grey values of any shape → float32 in [0, 1], by a rule of :class:`ValueRange`.

    Raises:
        UserError: As there.
    """
    return unit(ValueRange(rule).level(array).image)


def resize_image(array: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resizes grey values bilinearly by OpenCV, without averaging when it shrinks, as published loaders do.

    uint8 stays uint8 (published loaders resize before they scale to [0, 1]).

    Args:
        array: (H, W) uint8, uint16 or float32.
        size: New (height, width).

    Returns:
        (height, width) array of the same type.
    """
    if array.shape == tuple(size):
        return array
    return cv2.resize(array, (int(size[1]), int(size[0])), interpolation=cv2.INTER_LINEAR)


def resize_map(values: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Brings a score map to another size, losing no target.

    Along each axis a new pixel takes the value of the old one that holds its centre or, where it is the larger one,
    the largest value of the old ones whose centres it holds. Unlike interpolation this keeps every target, however
    small, the peaks, and what any threshold means; thresholds and increasing functions may come before or after.

    Args:
        values: (H, W) scores, logits, or a mask.
        size: New (height, width).

    Returns:
        (height, width) array of the same type; the same array where sizes are equal.
    """
    for axis, (new, old) in enumerate(zip(size, values.shape)):
        if new > old:
            values = np.take(values, _holding(new, old), axis)
        elif new < old:
            values = np.maximum.reduceat(values, np.searchsorted(_holding(old, new), np.arange(new)), axis)
    return values


def _holding(many: int, few: int) -> np.ndarray:
    """Of ``few`` pixels along a line, the one that holds the centre of each of ``many``, (many,)."""
    return (2 * np.arange(many) + 1) * few // (2 * many)


def resize_mask(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resizes a mask (H, W) of bool, or of int32 that number its targets, to ``size`` (height, width).

    By OpenCV's INTER_NEAREST; the type stays.

    Its rule (the source pixel at ⌊i · H / height⌋) is the published one; Pillow's takes pixel centres.
    """
    if mask.shape == tuple(size):
        return mask
    width_height = (int(size[1]), int(size[0]))
    values = mask.astype(np.uint8) if mask.dtype == bool else mask
    return cv2.resize(values, width_height, interpolation=cv2.INTER_NEAREST).astype(mask.dtype)


# MATLAB files, level 5 (``-v6``, ``-v7``). SciPy's reader follows whatever a file says, and one changed bit can end the
# process; here each tag and size is checked before it is used. SciPy writes the files.

MAX_MAT_BYTES = 2**29
"""Largest file, and largest variable of a compressed one: a float32 map of 134 megapixels."""

_HEADER = 128
_MATRIX, _COMPRESSED = 14, 15
_INT8, _INT32, _UINT32 = 1, 5, 6
_STORED = {1: 'i1', 2: 'u1', 3: 'i2', 4: 'u2', 5: 'i4', 6: 'u4', 7: 'f4', 9: 'f8', 12: 'i8', 13: 'u8'}
_CLASSES = {
    1: 'cell', 2: 'struct', 3: 'object', 4: 'char', 5: 'sparse', 6: 'double', 7: 'single', 8: 'int8', 9: 'uint8',
    10: 'int16', 11: 'uint16', 12: 'int32', 13: 'uint32', 14: 'int64', 15: 'uint64',
}  # fmt: skip
_FIRST_NUMERIC = 6
_COMPLEX = 0x0800


class _Damaged(Exception):
    """The file does not say what it should."""


@dataclass(frozen=True)
class _Reader:
    """Elements of a part of a file; ``order`` is '<' or '>'."""

    data: memoryview
    order: str

    def element(self, at: int) -> tuple[int, memoryview, int]:
        """Type and content of the element at a position, and where the next one begins."""
        if at + 8 > len(self.data):
            raise _Damaged('it breaks off')
        kind, size = struct.unpack_from(f'{self.order}II', self.data, at)
        if kind >> 16:  # the small form: both numbers in four bytes, content in the next four
            kind, size, start, end = kind & 0xFFFF, kind >> 16, at + 4, at + 8
            if size > 4:
                raise _Damaged(f'a small element of {size} bytes')
        else:
            start = at + 8
            end = start + size + (-size % 8 if kind != _COMPRESSED else 0)
        if start + size > len(self.data):
            raise _Damaged('it breaks off')
        return kind, self.data[start : start + size], end

    def elements(self, at: int = 0) -> Iterator[tuple[int, memoryview]]:
        while at < len(self.data):
            kind, content, at = self.element(at)
            yield kind, content

    def numbers(self, kind: int, content: memoryview) -> np.ndarray:
        if kind not in _STORED:
            raise _Damaged(f'numbers of the unknown type {kind}')
        dtype = np.dtype(self.order + _STORED[kind])
        if len(content) % dtype.itemsize:
            raise _Damaged('a number that breaks off')
        return np.frombuffer(content, dtype)

    def inflated(self, content: memoryview) -> _Reader:
        """The matrix inside a compressed element."""
        stream = zlib.decompressobj()
        try:
            tag = stream.decompress(content, 8)
            kind, size = struct.unpack(f'{self.order}II', tag)
            if kind != _MATRIX or size > MAX_MAT_BYTES:
                raise _Damaged(f'a compressed element of type {kind} and {size} bytes')
            inner = stream.decompress(stream.unconsumed_tail, size) if size else b''
            rest = stream.decompress(stream.unconsumed_tail, 1)
        except (zlib.error, struct.error) as error:
            raise _Damaged(str(error)) from None
        if len(inner) != size or rest or not stream.eof:
            raise _Damaged(f'a compressed element that does not hold its {size} bytes')
        return _Reader(memoryview(inner), self.order)


def read_maps(
    path: str | Path, keys: Sequence[str], optional: Sequence[str] = (), dimensions: int = 2
) -> dict[str, np.ndarray]:
    """Reads variables of a MATLAB file as float32.

    Args:
        path: The file.
        keys: Variables that must be there.
        optional: Variables that may be there.
        dimensions: Axes of each variable.

    Raises:
        UserError: The file is missing, of another version (4, 7.3) or damaged, one of ``keys`` is not in it, or a
            variable is no array of so many axes of real numbers.
    """
    found = _read_mat(Path(path), [*keys, *optional], dimensions)
    maps = {}
    for key in (*keys, *(key for key in optional if key in found)):
        value = found.get(key)
        if value is None:
            names = ', '.join(name for name in found if name and not name.startswith('__')) or 'nothing'
            raise UserError(f'Cannot read {path}: expected the variable {key!r}, found {names}.')
        if isinstance(value, str):
            raise UserError(
                f'Cannot read {path}: expected {key!r} as a {dimensions}-D array of real numbers, got {value}.'
            )
        maps[key] = value
    return maps


def variable_names(path: str | Path) -> list[str]:
    """Names of the variables in a MATLAB file.

    Raises:
        UserError: The file is missing, of another version or damaged.
    """
    return list(_read_mat(Path(path), []))


def _read_mat(path: Path, keys: Sequence[str], dimensions: int = 2) -> dict[str, np.ndarray | str]:
    if not path.is_file():
        raise UserError(f'Cannot read {path}: no such file.')
    if path.stat().st_size > MAX_MAT_BYTES:
        raise UserError(f'Cannot read {path}: expected at most {MAX_MAT_BYTES:,} bytes, got {path.stat().st_size:,}.')
    try:
        return dict(_variables(path.read_bytes(), keys, dimensions))
    except _Damaged as error:
        raise UserError(f'Cannot read {path}: not a readable MATLAB file ({error}); save it again.') from None
    except OSError as error:
        raise UserError(f'Cannot read {path}: {error.strerror}.') from None


def _variables(data: bytes, keys: Sequence[str], dimensions: int) -> Iterator[tuple[str, np.ndarray | str]]:
    """Names and values: an array for each of ``keys`` that is one of real numbers, a description for the others."""
    if data.startswith(b'\x89HDF') or data[124:126] in (b'\x00\x02', b'\x02\x00'):
        raise _Damaged('version 7.3, which is HDF5; expected up to 7, as save(…, "-v7") writes')
    if 0 in data[:4]:
        raise _Damaged('version 4; expected 5 to 7, as save(…, "-v7") writes')
    order = {b'IM': '<', b'MI': '>'}.get(data[126:128])
    if order is None:
        raise _Damaged('no header of one')
    for kind, content in _Reader(memoryview(data), order).elements(_HEADER):
        matrix = _Reader(content, order)
        if kind == _COMPRESSED:
            matrix = matrix.inflated(content)
        elif kind != _MATRIX:
            raise _Damaged(f'an element of type {kind}, expected a matrix')
        if len(matrix.data):
            yield _variable(matrix, keys, dimensions)


def _variable(matrix: _Reader, keys: Sequence[str], dimensions: int) -> tuple[str, np.ndarray | str]:
    kind, flags, at = matrix.element(0)
    if kind != _UINT32 or len(flags) != 8:
        raise _Damaged('a matrix without flags')
    flag = int(matrix.numbers(kind, flags)[0])
    label = _CLASSES.get(flag & 0xFF)
    if label is None:
        return '', f'an array of class {flag & 0xFF}'
    kind, sizes, at = matrix.element(at)
    if kind != _INT32 or not len(sizes):
        raise _Damaged('a matrix without dimensions')
    shape = tuple(int(side) for side in matrix.numbers(kind, sizes))
    kind, name, at = matrix.element(at)
    if kind != _INT8:
        raise _Damaged('a matrix without a name')
    text = bytes(name).decode('latin1')
    numeric = (flag & 0xFF) >= _FIRST_NUMERIC
    if text not in keys or not numeric or flag & _COMPLEX or len(shape) != dimensions:
        what = 'complex ' if numeric and flag & _COMPLEX else ''
        return text, f'{what}{label} of shape {shape}'
    kind, content, _ = matrix.element(at)
    values = matrix.numbers(kind, content)
    if min(shape) < 0 or values.size != math.prod(shape):
        raise _Damaged(f'{values.size} values for {" × ".join(map(str, shape))}')
    with np.errstate(over='ignore'):  # to infinity, which scoring refuses
        return text, values.reshape(shape, order='F').astype(np.float32, order='C')
