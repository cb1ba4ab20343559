"""What visitors send is read with limits, and errors name no folder."""

import struct
import tempfile
import zlib
from io import BytesIO

import cv2
import numpy as np
import pytest
from app_support import frame

from drpca.app import uploads
from drpca.app.uploads import clean_stem, read_upload
from drpca.errors import UserError

LIMIT = 2**20


def png_header(width, height):
    """A PNG that announces a size and holds no pixels."""
    chunks = (b'IHDR' + struct.pack('>IIBBBBB', width, height, 8, 0, 0, 0, 0), b'IDAT')
    return b'\x89PNG\r\n\x1a\n' + b''.join(
        struct.pack('>I', len(chunk) - 4) + chunk + struct.pack('>I', zlib.crc32(chunk)) for chunk in chunks
    )


@pytest.mark.parametrize('suffix', ['.png', '.tif', '.bmp', '.jpg'])
def test_formats(suffix):
    image = frame()
    name, values = read_upload(f'one{suffix}', cv2.imencode(suffix, image)[1].tobytes(), LIMIT)
    assert name == 'one'
    assert values.dtype == np.uint8
    assert np.abs(values.astype(int) - image).max() <= (30 if suffix == '.jpg' else 0)


@pytest.mark.parametrize('suffix', ['.png', '.tif'])
def test_sixteen_bits_stay(suffix):
    image = frame(dtype=np.uint16)
    _, values = read_upload(f'raw{suffix}', cv2.imencode(suffix, image)[1].tobytes(), LIMIT)
    assert values.dtype == np.uint16
    assert np.array_equal(values, image)


def gif():
    from PIL import Image

    buffer = BytesIO()
    Image.fromarray(frame()).save(buffer, 'GIF')
    return buffer.getvalue()


@pytest.mark.filterwarnings('ignore::PIL.Image.DecompressionBombWarning')
@pytest.mark.parametrize(
    ('content', 'message'),
    [
        (b'plain text', 'not an image'),
        (b'', 'not an image'),
        (gif(), 'not an image'),
        (cv2.imencode('.png', frame())[1].tobytes()[:200], 'truncated or damaged'),
        (cv2.imencode('.tif', np.full((9, 9), np.nan, np.float32))[1].tobytes(), '81 of 81 values are NaN'),
        (cv2.imencode('.png', frame()[:4])[1].tobytes(), 'at least 8 × 8'),
        (bytes(LIMIT + 1), 'up to 1 MB'),
        (png_header(5000, 4000), '5000 × 4000 pixels'),
        (png_header(12000, 9000), '12000 × 9000 pixels'),
        (png_header(60000, 60000), 'far too many pixels'),
    ],
    ids=['text', 'empty', 'gif', 'cut', 'float', 'small', 'large file', 'large', 'warned', 'bomb'],
)
def test_refused(content, message):
    with pytest.raises(UserError, match=message) as caught:
        read_upload('C:\\home\\me\\frame 1.png', content, LIMIT)
    assert 'frame 1.png' in str(caught.value)
    assert tempfile.gettempdir() not in str(caught.value)
    assert 'me' not in str(caught.value).replace('frame', '').split()


def test_pixels_are_counted_before_decoding(monkeypatch):
    monkeypatch.setattr(uploads, 'read_image', lambda path: pytest.fail('decoded'))
    with pytest.raises(UserError, match='16,777,216'):
        read_upload('large.png', cv2.imencode('.png', np.zeros((4097, 4096), np.uint8))[1].tobytes(), LIMIT)


def test_videos_are_read_as_frames(tmp_path, monkeypatch):
    path = tmp_path / 'clip.avi'
    video = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*'MJPG'), 10, (48, 40), False)
    for _ in range(3):
        video.write(frame())
    video.release()
    content = path.read_bytes()
    frames = uploads.read_frames('my clip.avi', content, LIMIT)
    assert [name for name, _ in frames] == ['my_clip_000000', 'my_clip_000001', 'my_clip_000002']
    assert all(values.shape == (40, 48) for _, values in frames)
    assert len(uploads.read_frames('one.png', cv2.imencode('.png', frame())[1].tobytes(), LIMIT)) == 1
    monkeypatch.setattr(uploads, 'MAX_FRAMES', 2)
    for wrong, message in (
        (content, r'clip\.avi is too long'),
        (b'#EXTM3U\nhttp://elsewhere.example/x.ts', 'not a video'),
        (b'RIFF' + bytes(60), r'Cannot read video clip\.avi'),
        (bytes(LIMIT + 1), 'up to 1 MB'),
    ):
        with pytest.raises(UserError, match=message) as caught:
            uploads.read_frames('clip.avi', wrong, LIMIT)
        assert tempfile.gettempdir() not in str(caught.value)


@pytest.mark.parametrize(
    ('name', 'stem'),
    [
        ('frame.png', 'frame'),
        ('../../etc/passwd.png', 'passwd'),
        ('C:\\x\\a b.tif', 'a_b'),
        ('...png', 'image'),
        ('<b>.png', 'b'),
        ('x' * 300 + '.png', 'x' * 60),
    ],
)
def test_names_of_files_are_safe(name, stem):
    assert clean_stem(name) == stem
