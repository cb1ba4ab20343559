import io
import warnings

import numpy as np
import pytest
from PIL import Image

from drpca.datasets.io import read_image, read_mask, resize_image, resize_mask, to_unit
from drpca.errors import UserError

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (20, 30), dtype=np.uint8)
RGB = RNG.integers(0, 256, (20, 30, 3), dtype=np.uint8)
DEEP = RNG.integers(0, 65536, (20, 30)).astype(np.uint16)


def luma(rgb):
    """ITU-R 601."""
    return rgb.astype(float) @ (0.299, 0.587, 0.114)


@pytest.mark.parametrize('suffix', ['.png', '.bmp', '.tif'])
def test_grey_is_read_as_it_is(tmp_path, suffix):
    Image.fromarray(GREY).save(tmp_path / f'a{suffix}')
    values = read_image(tmp_path / f'a{suffix}')
    assert values.dtype == np.uint8
    np.testing.assert_array_equal(values, GREY)


@pytest.mark.parametrize('suffix', ['.png', '.tif'])
def test_16_bit_stays_16_bit(tmp_path, suffix):
    Image.fromarray(DEEP).save(tmp_path / f'a{suffix}')
    values = read_image(tmp_path / f'a{suffix}')
    assert values.dtype == np.uint16
    np.testing.assert_array_equal(values, DEEP)


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


@pytest.mark.parametrize('dtype', [np.float32, np.int32])
def test_other_depths_are_refused(tmp_path, dtype):
    Image.fromarray(GREY.astype(dtype)).save(tmp_path / 'a.tif')
    with pytest.raises(UserError, match=r'a\.tif: expected 8 or 16 bits, got'):
        read_image(tmp_path / 'a.tif')


def test_missing_empty_and_foreign_files(tmp_path):
    with pytest.raises(UserError, match=r'no\.png: no such file'):
        read_image(tmp_path / 'no.png')
    with pytest.raises(UserError, match='a folder'):
        read_image(tmp_path)
    (tmp_path / 'empty.png').write_bytes(b'')
    with pytest.raises(UserError, match=r'empty\.png: the file is empty'):
        read_image(tmp_path / 'empty.png')
    (tmp_path / 'text.png').write_text('not an image at all')
    with pytest.raises(UserError, match=r'text\.png: not an image file'):
        read_image(tmp_path / 'text.png')


@pytest.mark.parametrize(
    ('suffix', 'kind'), [('png', 'png'), ('jpg', 'jpeg'), ('tif', 'tiff'), ('bmp', 'bmp')]
)
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
    with pytest.raises(UserError, match='got float64'):
        to_unit(np.zeros(3))
    with pytest.raises(UserError, match="'minmax' or 'full'"):
        to_unit(deep, 'half')


def test_resize_mask_takes_the_pixel_at_the_floor():
    mask = RNG.random((31, 45)) < 0.3
    rows, columns = np.arange(16) * 31 // 16, np.arange(20) * 45 // 20
    np.testing.assert_array_equal(resize_mask(mask, (16, 20)), mask[np.ix_(rows, columns)])


def test_resize_image_is_bilinear_between_pixel_centres():
    ramp = np.tile(np.arange(0, 240, 10, dtype=np.uint8), (8, 1))
    doubled = resize_image(ramp, (16, 48)).astype(float)
    assert doubled.shape == (16, 48)
    centres = np.clip((np.arange(48) + 0.5) / 2 - 0.5, 0, 23) * 10
    assert np.abs(doubled - centres).max() <= 0.5
    assert resize_image(DEEP, (7, 9)).dtype == np.uint16
    assert resize_image(ramp, ramp.shape) is ramp
