import contextlib
import io
import os
import re
import struct
import sys
import warnings
import zlib
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from scipy.special import erf

from drpca.datasets import io as image_io
from drpca.datasets.io import (
    ValueRange,
    image_shape,
    isolated_pixels,
    picture_values,
    read_colours,
    read_image,
    read_mask,
    resize_image,
    resize_map,
    resize_mask,
    to_unit,
)
from drpca.datasets.splits import read_tree
from drpca.errors import UserError
from tests.support import ROOT

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (20, 30), dtype=np.uint8)
RGB = RNG.integers(0, 256, (20, 30, 3), dtype=np.uint8)
DEEP = RNG.integers(0, 65536, (20, 30)).astype(np.uint16)


def luma(rgb):
    """ITU-R 601."""
    return rgb.astype(float) @ (0.299, 0.587, 0.114)


@pytest.mark.parametrize('suffix', ['.png', '.bmp', '.tif'])
def test_grey_is_read_as_it_is_and_16_bit_stays_16_bit(tmp_path, suffix):
    for pixels in (GREY,) if suffix == '.bmp' else (GREY, DEEP):
        Image.fromarray(pixels).save(tmp_path / f'a{suffix}')
        np.testing.assert_array_equal(read_image(tmp_path / f'a{suffix}'), pixels, strict=True)


def test_colour_becomes_luma_and_alpha_is_ignored(tmp_path):
    alpha = RNG.integers(0, 256, (20, 30), dtype=np.uint8)
    Image.fromarray(RGB).save(tmp_path / 'rgb.png')
    Image.fromarray(np.dstack([RGB, alpha])).save(tmp_path / 'rgba.png')
    Image.merge('LA', [Image.fromarray(GREY), Image.fromarray(alpha)]).save(tmp_path / 'la.png')
    for name in ('rgb', 'rgba'):
        values = read_image(tmp_path / f'{name}.png')
        assert values.dtype == np.uint8
        assert np.abs(values - luma(RGB)).max() < 1.01  # truncated to integers
    np.testing.assert_array_equal(read_image(tmp_path / 'la.png'), GREY)
    Image.fromarray(np.dstack([GREY] * 3)).save(tmp_path / 'grey.png')
    np.testing.assert_array_equal(read_image(tmp_path / 'grey.png'), GREY)


def test_rounded_luma_on_request(tmp_path):
    colours = np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8)
    Image.fromarray(colours).save(tmp_path / 'rgb.png')
    Image.fromarray(colours[..., 0]).save(tmp_path / 'grey.png')
    exact = colours @ np.array([0.299, 0.587, 0.114])
    rounded = read_image(tmp_path / 'rgb.png', grey='luma')
    assert rounded.dtype == np.uint8
    assert np.abs(rounded - exact).max() < 0.51  # its weights have 16 bits
    assert np.abs(read_image(tmp_path / 'rgb.png') - exact).max() > 0.6
    np.testing.assert_array_equal(read_image(tmp_path / 'grey.png', grey='luma'), colours[..., 0])
    with pytest.raises(UserError, match="Unknown grey rule 'lightness'"):
        read_image(tmp_path / 'rgb.png', grey='lightness')


@pytest.mark.parametrize('options', [{}, {'transparency': 3}])
def test_palette_gives_colours_not_indices(tmp_path, options):
    palette = Image.fromarray(RGB).quantize(64)
    palette.save(tmp_path / 'p.png', **options)
    assert Image.open(tmp_path / 'p.png').mode == 'P'
    expected = luma(np.asarray(palette.convert('RGB')))
    assert np.abs(read_image(tmp_path / 'p.png') - expected).max() < 1.01


def test_orientation_tag_is_ignored(tmp_path):
    exif = Image.Exif()
    exif[0x112] = 6
    Image.fromarray(GREY).save(tmp_path / 'a.jpg', exif=exif)
    assert read_image(tmp_path / 'a.jpg').shape == GREY.shape


@pytest.mark.parametrize('dtype', [np.float32, np.int32, np.int16])
def test_radiometric_tiff(tmp_path, dtype):
    kelvin = GREY.astype(dtype) / dtype(2) + 280 if dtype == np.float32 else GREY.astype(dtype) - dtype(100)
    picture = Image.fromarray(kelvin.astype(np.int32) if dtype == np.int16 else kelvin)
    if dtype == np.int16:
        cv2.imwrite(str(tmp_path / 'a.tif'), kelvin)
    else:
        picture.save(tmp_path / 'a.tif')
    values = read_image(tmp_path / 'a.tif')
    assert values.dtype == np.float32
    assert np.array_equal(values, kelvin)
    assert np.array_equal(picture_values(picture), values), 'a Pillow image is read as its file'
    assert np.allclose(ValueRange().level(values).image, (GREY - float(GREY.min())) / np.ptp(GREY), atol=1e-6)


def test_tiff_with_gaps(tmp_path):
    values = GREY.astype(np.float32)
    values[0, :3] = np.nan
    cv2.imwrite(str(tmp_path / 'a.tif'), values)
    with pytest.raises(UserError, match=rf'a\.tif: 3 of {GREY.size} values are NaN or infinite'):
        read_image(tmp_path / 'a.tif')


@pytest.mark.parametrize('mode', ['L', 'RGB', 'RGBA', 'P', '1', 'I;16'])
def test_pillow_images_are_read_as_their_files(tmp_path, mode):
    colours = np.random.default_rng(0).integers(0, 256, (16, 20, 3), dtype=np.uint8)
    picture = Image.fromarray(colours).convert(mode) if mode != 'I;16' else Image.fromarray(DEEP)
    picture.save(tmp_path / 'a.png')
    got, expected = picture_values(picture).astype(int), read_image(tmp_path / 'a.png').astype(int)
    assert np.abs(got - expected).max() <= (mode in ('RGB', 'RGBA', 'P')), 'colours but for rounding'


def raw_frame(shape=(32, 40)):
    """14 bits, as a camera gives them: a background of some 100 counts and a target of 3 × 3 pixels."""
    values = np.random.default_rng(1).normal(8000, 12, shape)
    values[10:13, 20:23] += np.outer([0.5, 1, 0.5], [0.5, 1, 0.5]) * 300
    return values.round().astype(np.uint16)


@pytest.mark.parametrize('kind', [np.uint16, np.float32, np.int64])
def test_a_bad_pixel_does_not_erase_the_frame(kind):
    whole = raw_frame()
    bad = whole.astype(kind)
    bad[3, 4], bad[30, 0] = 0, 16383
    expected = ValueRange().level(whole)
    values = ValueRange()
    with pytest.warns(UserWarning, match=r'f: 2 isolated pixels .* from 79\d\d … 83\d\d to 0 … 16383') as said:
        levelled, _ = (values.level(bad, name) for name in 'fg')
    assert len(said) == 1, 'once'
    assert (levelled.low, levelled.high) == (expected.low, expected.high) == (whole.min(), whole.max())
    rest = levelled.image.copy()
    assert (rest[3, 4], rest[30, 0]) == (0, 1), 'clipped'
    rest[3, 4], rest[30, 0] = expected.image[3, 4], expected.image[30, 0]
    assert np.allclose(rest, expected.image, atol=1e-6)
    flat = ValueRange('minmax').level(bad).image
    assert np.ptp(flat[9:14, 19:24]) < 0.02, 'what the target was left with'
    repaired = ValueRange(bad_pixels=True).level(bad)
    assert repaired.bad_pixels == 2
    assert repaired.image[11, 21] == 1
    assert 0.05 < repaired.image[3, 4] < 0.95


def test_ranges():
    frame = raw_frame()
    for rule, low, high in (
        ('auto', frame.min(), frame.max()), ('minmax', frame.min(), frame.max()), ('full', 0, 65535),
        ('percentile 5 90', *np.percentile(frame, (5, 90))), (('percentile', 5, 90), *np.percentile(frame, (5, 90))),
        ((7990, 8100.5), 7990, 8100.5), ('7990 8100.5', 7990, 8100.5), (['7990', '8100.5'], 7990, 8100.5),
    ):  # fmt: skip
        levelled = ValueRange(rule).level(frame)
        assert (levelled.low, levelled.high) == pytest.approx((low, high))
        expected = np.clip((frame.astype(float) - low) / (high - low), 0, 1)
        assert np.allclose(levelled.image, expected, atol=1e-5)
        assert str(ValueRange(str(ValueRange(rule)))) == str(ValueRange(rule))
    twelve = (frame // 4).astype(np.uint16)  # 12 bits in a file of 16
    assert np.allclose(ValueRange().level(twelve).image, ValueRange().level(frame).image, atol=4 / np.ptp(frame))
    eight = GREY.copy()
    eight[0, 0], eight[5, 5] = 0, 255
    assert ValueRange().level(eight).image is eight, '8 bits are what they are'
    assert ValueRange('minmax').level(eight // 2).image.max() == 1, 'unless asked for'
    assert ValueRange().level(eight > 100).image.tolist() == (255 * (eight > 100)).tolist()
    for rule in ('half', 'percentile 5', 'percentile -1 50', '9 3', (1, 2, 3), 'auto 3', '', 'nan 3', 'inf inf'):
        with pytest.raises(UserError, match='Unknown range'):
            ValueRange(rule)
    with pytest.raises(UserError, match='8 and 16 bits'):
        ValueRange('full').level(frame.astype(float))


@pytest.mark.parametrize(
    ('rule', 'change', 'message'),
    [
        ((0, 100), 0, '100% of the pixels lie outside the range of 0 to 100'),
        ('auto', 16383, 'of the pixels lie from 79.* less than 2 % of the range of 79.* to 16383'),
        ('auto', 0, None),
        ('percentile 2 98', 0, None),
    ],
)
def test_a_stretch_that_throws_away_more_than_it_keeps_is_told(rule, change, message):
    frame = raw_frame()
    if change:
        frame[20, 20:22] = change  # two side by side are no isolated pixel
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter('always')
        ValueRange(rule).level(frame, 'f')
    assert [bool(re.search(message or '', str(entry.message))) for entry in said] == [True] * bool(message)


@pytest.mark.parametrize('width', [0.4, 0.6, 1.0])
def test_targets_behind_a_lens_are_no_bad_pixels(width):
    rng = np.random.default_rng(2)
    rows, columns = np.mgrid[:24, :24]
    for strength in (5, 30, 300):
        for row, column in 12 + rng.random((10, 2)) - 0.5:
            ends = [erf(np.stack((d + 0.5, d - 0.5)) / (width * 2**0.5)) for d in (rows - row, columns - column)]
            shape = np.prod([upper - lower for upper, lower in ends], axis=0)
            values = rng.normal(8000, 10, (24, 24)) + 10 * strength * shape / shape.max()
            assert not isolated_pixels(values.round().astype(np.uint16))[10:15, 10:15].any()
    alone = np.full((24, 24), 8000, np.uint16)
    alone[12, 12] += 300
    assert np.argwhere(isolated_pixels(alone)).tolist() == [[12, 12]], 'a target of one pixel looks like a bad one'


def test_missing_empty_and_foreign_files(tmp_path):
    (tmp_path / 'empty.png').write_bytes(b'')
    (tmp_path / 'text.png').write_text('not an image at all')
    for name, message in (
        ('no.png', r'no\.png: no such file'),
        ('.', 'a folder'),
        ('empty.png', r'empty\.png: the file is empty'),
        ('text.png', r'text\.png: not an image file'),
    ):
        with pytest.raises(UserError, match=message):
            read_image(tmp_path / name)


@pytest.mark.parametrize(('suffix', 'kind'), [('png', 'png'), ('jpg', 'jpeg'), ('tif', 'tiff'), ('bmp', 'bmp')])
def test_no_truncation_goes_unnoticed(tmp_path, suffix, kind):
    buffer = io.BytesIO()
    Image.fromarray(GREY).save(buffer, kind)
    whole, path = buffer.getvalue(), tmp_path / f'a.{suffix}'
    for length in range(1, len(whole) - 2, 23):
        path.write_bytes(whole[:length])
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')  # Pillow's remarks on TIFF tags
            with pytest.raises(UserError, match=rf'a\.{suffix}'):
                read_image(path)


def test_a_flipped_bit_in_a_png_is_noticed(tmp_path):
    buffer = io.BytesIO()
    Image.fromarray(GREY).save(buffer, 'png')
    damaged = bytearray(buffer.getvalue())
    damaged[len(damaged) // 2] ^= 4
    (tmp_path / 'a.png').write_bytes(damaged)
    with pytest.raises(UserError, match='truncated or damaged'):
        read_image(tmp_path / 'a.png')


def test_mask_rules(tmp_path):
    values = np.array([[0, 1, 127], [128, 254, 255]], dtype=np.uint8)
    Image.fromarray(values).save(tmp_path / 'm.png')
    np.testing.assert_array_equal(read_mask(tmp_path / 'm.png'), values > 0)
    np.testing.assert_array_equal(read_mask(tmp_path / 'm.png', 'published'), values == 255)
    with pytest.raises(UserError, match=r"'any'.*'positive' or 'published'"):
        read_mask(tmp_path / 'm.png', 'any')


@pytest.mark.parametrize('rule', ['positive', 'published'])
@pytest.mark.parametrize('top', [0, 1, 255])
def test_masks_of_0_1_and_0_255_and_empty_ones(tmp_path, rule, top):
    values = np.zeros((4, 5), dtype=np.uint8)
    values[1, 2] = top
    Image.fromarray(values).save(tmp_path / 'm.png')
    mask = read_mask(tmp_path / 'm.png', rule)
    assert mask.dtype == bool
    assert mask.sum() == (top > 0)
    assert mask[1, 2] == (top > 0)


def test_to_unit():
    np.testing.assert_array_equal(to_unit(np.array([0, 51, 255], np.uint8)), np.float32([0, 0.2, 1]))
    deep = np.array([1000, 1500, 2000], np.uint16)
    np.testing.assert_array_equal(to_unit(deep), np.float32([0, 0.5, 1]))
    np.testing.assert_allclose(to_unit(deep, 'full'), deep / 65535, rtol=1e-6)
    np.testing.assert_array_equal(to_unit(np.full((2, 2), 700, np.uint16)), np.zeros((2, 2)))
    assert to_unit(deep).dtype == np.float32
    assert to_unit(np.array([0.25, 1])).tolist() == [0.25, 1], 'on its scale already'
    with pytest.raises(UserError, match='got complex128'):
        to_unit(np.zeros(3, complex))
    with pytest.raises(UserError, match="Unknown range 'half': expected auto, minmax, full"):
        to_unit(deep, 'half')


def test_resize_mask_takes_the_pixel_at_the_floor():
    mask = RNG.random((31, 45)) < 0.3
    rows, columns = np.arange(16) * 31 // 16, np.arange(20) * 45 // 20
    np.testing.assert_array_equal(resize_mask(mask, (16, 20)), mask[np.ix_(rows, columns)])


@pytest.mark.parametrize('size', [(338, 250), (96, 96), (64, 64), (40, 200)])
def test_resize_map_loses_no_target(size):
    scores = np.random.default_rng(0).random((64, 64), dtype=np.float32)
    scores[::4, ::4] += 1  # of one pixel each
    resized = resize_map(scores, size)
    assert resized.shape == size
    assert resize_map(scores, (64, 64)) is scores
    assert set(scores[::4, ::4].ravel()) >= set(resized[resized > 1])
    if min(size) >= 64:
        assert set(scores.ravel()) == set(resized.ravel())
    else:
        assert np.isin(scores.reshape(-1, 4, 64).max(axis=(1, 2)), resized).all(), 'the highest of each band'
    assert np.array_equal(resize_map(scores > 1.2, size), resized > 1.2), 'a threshold may come first'
    spot = np.zeros((256, 256))
    spot[100, 201] = 1  # shrunk by interpolation it would be gone
    (place,) = np.argwhere(resize_map(spot, (96, 113)))
    assert np.abs(place - (100.5 * 96 / 256 - 0.5, 201.5 * 113 / 256 - 0.5)).max() <= 0.5


def test_resize_image_is_bilinear_between_pixel_centres():
    ramp = np.tile(np.arange(0, 240, 10, dtype=np.uint8), (8, 1))
    doubled = resize_image(ramp, (16, 48)).astype(float)
    assert doubled.shape == (16, 48)
    centres = np.clip((np.arange(48) + 0.5) / 2 - 0.5, 0, 23) * 10
    assert np.abs(doubled - centres).max() <= 0.5
    assert resize_image(DEEP, (7, 9)).dtype == np.uint16
    assert resize_image(ramp, ramp.shape) is ramp


def chunk(name, content):
    return struct.pack('>I', len(content)) + name + content + struct.pack('>I', zlib.crc32(name + content))


def png(pixels, width=6, height=4, depth=8, colour=2, interlace=0, extra=b''):
    header = struct.pack('>IIBBBBB', width, height, depth, colour, 0, 0, interlace)
    return b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', header) + extra + pixels + chunk(b'IEND', b'')


RAW = bytes(4 * 19)
DAMAGED = {
    'no pixels': b'',
    'no zlib stream': chunk(b'IDAT', b'nothing of the kind'),
    'too few pixels': chunk(b'IDAT', zlib.compress(RAW[:-19])),
    'unknown filter': chunk(b'IDAT', zlib.compress(b'\x09' + RAW[1:])),
    'broken off': chunk(b'IDAT', zlib.compress(RAW)[:-9]),
    'wrong checksum': chunk(b'IDAT', zlib.compress(RAW))[:-4] + bytes(4),
    'unknown chunk': chunk(b'IDAT', zlib.compress(RAW)) + chunk(b'ABCD', b''),
}


@pytest.mark.parametrize('pixels', DAMAGED.values(), ids=list(DAMAGED))
@pytest.mark.parametrize('reader', [read_image, lambda path: read_image(path, 'luma'), read_colours])
def test_a_damaged_png_is_one_line_and_no_library_speaks(tmp_path, capfd, reader, pixels):
    path = tmp_path / 'a.png'
    path.write_bytes(png(chunk(b'IDAT', zlib.compress(RAW))))
    assert reader(path).shape[:2] == (4, 6)
    path.write_bytes(png(pixels))
    with pytest.raises(UserError, match=r'a\.png: truncated or damaged|a\.png: not an image'):
        reader(path)
    path.write_bytes(png(pixels, depth=8, colour=3))
    with pytest.raises(UserError, match=r'a\.png'):
        reader(path)
    assert capfd.readouterr() == ('', '')


@pytest.mark.parametrize('colour', [0, 2, 3, 4, 6])
@pytest.mark.parametrize('interlace', [0, 1])
def test_every_kind_of_png_is_let_through(tmp_path, colour, interlace):
    """Interlaced ones too, which Pillow does not write."""
    passes = [(6, 4)]
    for depth in {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}[colour]:
        bits = depth * {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
        if interlace:
            starts = ('0088', '4088', '0448', '2044', '0224', '1022', '0112')  # x, y and their steps
            steps = [[*map(int, start)] for start in starts]
            passes = [(len(range(x, 6, dx)), len(range(y, 4, dy))) for x, y, dx, dy in steps]
        size = sum(h * (1 + (w * bits + 7) // 8) for w, h in passes if w)
        extra = chunk(b'PLTE', bytes(768)[: 3 * 2 ** min(depth, 8)]) if colour == 3 else b''
        path = tmp_path / 'a.png'
        whole, cut = (chunk(b'IDAT', zlib.compress(bytes(length))) for length in (size, size - 1))
        path.write_bytes(png(whole, 6, 4, depth, colour, interlace, extra))
        assert not read_image(path).any()
        path.write_bytes(png(cut, 6, 4, depth, colour, interlace, extra))
        with pytest.raises(UserError, match='pixels are missing'):
            read_image(path)


def test_postscript_by_the_name_of_a_png_starts_nothing(tmp_path, monkeypatch):
    """Pillow would call Ghostscript; here a program of its name that leaves a mark."""
    marker = tmp_path / 'ran'
    program = tmp_path / 'bin' / 'gs'
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\ntouch {marker}\n')
    program.chmod(0o755)
    monkeypatch.setenv('PATH', f'{program.parent}:{os.environ["PATH"]}')
    monkeypatch.setattr('PIL.EpsImagePlugin.gs_binary', None)
    path = tmp_path / 'a.png'
    path.write_bytes(b'%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n%%EOF\n')
    for reader in (read_image, read_mask, read_colours, image_shape):
        with pytest.raises(UserError, match='not an image file'):
            reader(path)
    assert not marker.exists()
    with pytest.raises(OSError):  # noqa: PT011  what the mark would look like
        Image.open(path).load()
    assert marker.exists()


@pytest.mark.parametrize('form', ['GIF', 'WEBP', 'PPM', 'ICO', 'TGA'])
def test_other_formats_are_refused_by_content(tmp_path, form):
    Image.fromarray(GREY).save(tmp_path / 'a.png', form)
    with pytest.raises(UserError, match='not an image file'):
        read_image(tmp_path / 'a.png')


def test_bombs_pipes_and_devices_are_refused(tmp_path):
    path = tmp_path / 'a.png'
    path.write_bytes(png(chunk(b'IDAT', zlib.compress(bytes(10**5))), width=20000, height=20000))
    with pytest.raises(UserError, match='more than 178,956,970 pixels'):
        read_image(path)
    os.mkfifo(tmp_path / 'pipe.png')
    for file in (tmp_path / 'pipe.png', Path('/dev/zero')):
        for reader in (read_image, read_mask, read_colours, image_shape):
            with pytest.raises(UserError, match='not a regular file'):
                reader(file)
    with pytest.raises(UserError, match='expected at most 100 bytes'):
        image_io.read_regular(path, 'image', 100)


def test_a_list_that_is_a_pipe_is_named(tmp_path):
    for folder in ('images', 'masks'):
        (tmp_path / folder).mkdir()
        Image.fromarray(GREY).save(tmp_path / folder / 'a.png')
    os.mkfifo(tmp_path / 'test.txt')
    os.mkfifo(tmp_path / 'notes.txt')
    tree = read_tree(tmp_path)
    assert tree is not None
    assert list(tree.lists) == ['test']
    with pytest.raises(UserError, match=r'Cannot read list .*test\.txt: not a regular file'):
        tree.read_list('test')


def test_every_reader_of_pictures_is_in_one_place():
    """Each other opener would have to name the formats, and look at the kind of file, again."""
    for path in (ROOT / 'drpca').rglob('*.py'):
        readers = r'Image\.open\(.*\)|cv2\.imread\w*\(|cv2\.imdecode\('
        found = re.findall(readers, path.read_text(encoding='utf-8'))
        if path.name not in ('io.py', 'corruptions.py', 'pictures.py'):  # the last two decode what they encode
            assert all('formats=PICTURE_FORMATS' in line for line in found), path


def test_of_a_damaged_tiff_no_library_speaks(tmp_path, capfd):
    """libtiff writes to the screen by itself, whichever library calls it."""
    rng = np.random.default_rng(0)
    file = BytesIO()
    Image.fromarray(rng.integers(0, 255, (32, 32), np.uint8)).save(file, 'TIFF', compression='tiff_lzw')
    path = tmp_path / 'a.tif'
    refused = 0
    for _ in range(60):
        content = bytearray(file.getvalue())
        for place in rng.integers(0, len(content), 3):
            content[place] ^= int(rng.integers(1, 255))
        path.write_bytes(content)
        try:
            read_image(path)
        except UserError:
            refused += 1
    assert refused > 10
    assert capfd.readouterr() == ('', '')
    print('heard again', file=sys.stderr)
    assert capfd.readouterr().err == 'heard again\n'


@pytest.mark.parametrize('options', [{}, {'subsampling': 0}, {'progressive': True, 'quality': 30}])
@pytest.mark.parametrize('pixels', [GREY, RGB])
def test_a_jpeg_is_as_opencv_reads_it_and_no_library_speaks(tmp_path, capfd, pixels, options):
    path = tmp_path / 'a.jpg'
    Image.fromarray(pixels).save(path, **options)
    whole = path.read_bytes()
    expected = cv2.imdecode(np.frombuffer(whole, np.uint8), cv2.IMREAD_GRAYSCALE)
    np.testing.assert_array_equal(read_image(path), expected)
    assert read_image(path).flags.writeable
    for at in range(len(whole) // 2, len(whole), 7):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 16]) + whole[at + 1 :])
        with contextlib.suppress(UserError):
            read_image(path)
    assert capfd.readouterr() == ('', '')
