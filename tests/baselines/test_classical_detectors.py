"""All twelve methods: interface, bad input, agreement with straightforward versions."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from drpca.baselines import Baseline, map_images
from drpca.datasets.io import read_image
from drpca.errors import UserError
from drpca.inference.mappers import BaselineMapper
from drpca.registry import BASELINES
from tests.support import ROOT, load_tool

METHODS = (
    'TopHat', 'MaxMedian', 'MPCM', 'HBMLCM', 'NWMTH', 'FKRW', 'TLLCM', 'IPI', 'PSTNN', 'NRAM', 'NOLC', 'NIPPS',
)  # fmt: skip
PATCH = {'IPI': 30, 'PSTNN': 40, 'NRAM': 50, 'NOLC': 30, 'NIPPS': 50}


def build(name: str, preset: str = 'leaderboard', **overrides) -> Baseline:
    return BASELINES.build({'type': name, 'preset': preset, **overrides})


def scene(height: int = 131, width: int = 143, dtype: type = np.uint8) -> np.ndarray:
    rows, columns = np.mgrid[:height, :width]
    frame = 90 + 30 * np.sin(rows / 25) + 20 * np.cos(columns / 30)
    frame += np.random.default_rng(0).normal(0, 1, frame.shape)
    frame += 120 * np.exp(-((rows - 33) ** 2 + (columns - 44) ** 2) / 2)
    frame = np.clip(np.round(frame), 0, 255)
    return frame.astype(np.uint8) if dtype is np.uint8 else (frame / 255).astype(dtype)


@pytest.mark.parametrize('preset', ['paper', 'leaderboard'])
@pytest.mark.parametrize('name', METHODS)
def test_map_of_an_odd_sized_frame(name: str, preset: str) -> None:
    baseline = build(name, preset)
    image = scene()
    before = image.copy()
    raw, scores = baseline.predict(image), baseline.scores(image)
    assert raw.shape == scores.shape == image.shape
    assert raw.dtype == scores.dtype == np.float32
    assert raw.min() >= 0
    assert np.isfinite(raw).all()
    assert scores.max() == 1
    np.testing.assert_allclose(scores, raw / raw.max())
    row, column = np.unravel_index(scores.argmax(), scores.shape)
    assert np.hypot(row - 33, column - 44) < 2
    np.testing.assert_array_equal(image, before)


@pytest.mark.parametrize('name', METHODS)
def test_kinds_of_grey_values(name: str) -> None:
    baseline = build(name)
    image = scene()
    image[0, 0], image[33, 44] = 0, 255
    expected = baseline.scores(image)
    deep = image.astype(np.uint16) * 20 + 700  # stretched to its own range, here that of the 8-bit image
    same = np.asfortranarray(image), image.repeat(2, axis=1)[:, ::2]
    for other in (image / 255, (image / 255).astype(np.float32), *same, deep):
        np.testing.assert_allclose(baseline.scores(other), expected, atol=0.02)


@pytest.mark.parametrize('value', [0, 77, 255])
@pytest.mark.parametrize('name', METHODS)
def test_constant_image_gives_an_all_zero_map(name: str, value: int) -> None:
    image = np.full((64, 64), value, np.uint8)
    for result in (build(name).predict(image), build(name).scores(image)):
        assert result.shape == (64, 64)
        assert result.max() == 0


@pytest.mark.parametrize('preset', ['paper', 'leaderboard'])
@pytest.mark.parametrize('name', METHODS)
def test_nearly_constant_image_stays_finite(name: str, preset: str) -> None:
    for image in (np.zeros((60, 64), np.uint8), np.full((60, 64), 255, np.uint8)):
        image[30, 31] = 128
        scores = build(name, preset).scores(image)
        assert np.isfinite(scores).all()
        assert scores.min() >= 0
        assert scores.max() <= 1


@pytest.mark.parametrize('name', METHODS)
def test_bad_images_are_refused(name: str) -> None:
    baseline = build(name)
    broken = np.full((64, 64), 0.5, np.float32)
    broken[3, 4] = np.nan
    for image, message in (
        (broken, 'NaN'),
        (np.full((64, 64), 2.0), r'in \[0, 1\]'),
        (np.zeros((64, 64), np.int32), 'int32'),
        (np.zeros((64, 64, 3), np.uint8), r'\(H, W\)'),
        (np.zeros((0, 64), np.uint8), 'empty'),
        ([[0, 1]], 'list'),
    ):
        with pytest.raises(UserError, match=message):
            baseline.predict(image)


@pytest.mark.parametrize('name', METHODS)
def test_tiny_images(name: str) -> None:
    rng = np.random.default_rng(0)
    for shape in ((1, 1), (1, 9), (3, 2), (12, 5), (29, 60)):
        image = rng.integers(0, 256, shape).astype(np.uint8)
        if name in PATCH:
            with pytest.raises(UserError, match=f'at least {PATCH[name]}x{PATCH[name]}'):
                build(name).predict(image)
        else:
            result = build(name).predict(image)
            assert result.shape == shape
            assert np.isfinite(result).all()


@pytest.mark.parametrize('name', sorted(PATCH))
def test_image_of_exactly_one_patch(name: str) -> None:
    result = build(name).predict(scene()[: PATCH[name], : PATCH[name]])
    assert result.shape == (PATCH[name], PATCH[name])
    assert np.isfinite(result).all()


@pytest.mark.parametrize('name', METHODS)
def test_presets_and_overrides(name: str) -> None:
    baseline = build(name, input_size=(128, 96))
    assert baseline.input_size == (128, 96)
    assert baseline.prepare(scene()).shape == (128, 96)
    assert baseline.prepare(scene(dtype=np.float64)).shape == (128, 96)
    assert build(name, 'paper').input_size is None
    assert build(name, 'paper').prepare(scene()).shape == scene().shape
    assert repr(baseline).startswith(f"{name}(preset='leaderboard', input_size=(128, 96)")
    with pytest.raises(UserError, match='Known: leaderboard, paper'):
        build(name, 'papr')
    with pytest.raises(UserError, match='Unknown parameter'):
        build(name, no_such_parameter=1)


@pytest.mark.parametrize(
    ('name', 'overrides'),
    [
        ('TopHat', {'size': 0}),
        ('TopHat', {'size': 2.5}),
        ('TopHat', {'input_size': 256}),
        ('MaxMedian', {'taps': 4}),
        ('MPCM', {'scales': (3, 4)}),
        ('MPCM', {'scales': ()}),
        ('MPCM', {'bright_only': 'yes'}),
        ('HBMLCM', {'surround': 9}),
        ('NWMTH', {'inner': 9}),
        ('TLLCM', {'largest': 82}),
        ('FKRW', {'k': float('nan')}),
        ('FKRW', {'k': -1.0}),
        ('IPI', {'solver': 'newton'}),
        ('IPI', {'step': 31}),
        ('IPI', {'device': 'no_such_device'}),
        ('NOLC', {'power': 1.0}),
        ('PSTNN', {'aggregation': 'sum'}),
    ],
)
def test_bad_parameters_are_refused(name: str, overrides: dict) -> None:
    with pytest.raises(UserError, match=f'{name}: .*{str(next(iter(overrides.values()))).strip("()")}'):
        build(name, **overrides)


@pytest.mark.parametrize('name', METHODS)
def test_agrees_with_the_straightforward_version(name: str) -> None:
    """Written apart, from the formulas, on SciPy: shares nothing with the fast one but the parameters."""
    image = scene()
    fast, plain = build(name).scores(image), load_tool('benchmark_baselines').plain_scores(name, image)
    assert fast.max() == 1
    np.testing.assert_allclose(fast, plain, atol=1e-5)


def test_parallel_maps_equal_serial_ones() -> None:
    baseline = build('TLLCM')
    images = [scene(), scene(40, 50), np.zeros((20, 20), np.uint8)]
    serial = list(map_images(baseline, images))
    parallel = list(map_images(baseline, images, workers=2))
    for image, one, two in zip(images, serial, parallel, strict=True):
        assert one.shape == image.shape
        np.testing.assert_array_equal(one, two)
    with pytest.raises(UserError, match='workers'):
        list(map_images(baseline, images, workers=0))


def test_known_responses() -> None:
    """One pixel of 100 on 50: what each filter says about it by hand."""
    image = np.full((41, 41), 50, np.uint8)
    image[20, 20] = 100
    centre = (20, 20)
    assert build('TopHat').predict(image)[centre] == 50
    assert build('MaxMedian').predict(image)[centre] == 50
    assert build('NWMTH').predict(image)[centre] == 50
    assert build('MPCM').predict(image)[centre] == pytest.approx((50 / 9) ** 2)
    core = 62.5
    assert build('TLLCM').predict(image)[centre] == pytest.approx(core**2 / 50 - core)
    boosted = 100 * (100 - 52)
    contrasts = [boosted / k**2 for k in (3, 5, 7, 9)]
    assert build('HBMLCM').predict(image)[centre] == pytest.approx((contrasts[0] - contrasts[-1]) ** 2)


def test_dark_spots() -> None:
    image = np.full((41, 41), 100, np.uint8)
    image[20, 20] = 50
    assert build('MPCM').predict(image)[20, 20] > 0
    assert build('MPCM', 'paper').predict(image)[20, 20] == 0
    assert build('TopHat').predict(image)[20, 20] == 0


def test_reference_rows_name_every_method() -> None:
    reference = json.loads(Path(ROOT, 'drpca', 'baselines', 'reference.json').read_text(encoding='utf-8'))
    assert set(reference['rows']) == set(METHODS)
    for row in reference['rows'].values():
        iou, f1 = (value / 100 for value in row['measured'][:2])
        assert f1 == pytest.approx(2 * iou / (1 + iou), abs=2e-4)


@pytest.mark.parametrize(('preset', 'grey'), [('leaderboard', 'luma'), ('paper', 'opencv')])
def test_colour_files_become_grey_by_the_rule_of_the_preset(tmp_path, preset, grey):
    colours = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    Image.fromarray(colours).save(tmp_path / 'a.png')
    mapper = BaselineMapper(BASELINES.build({'type': 'MaxMedian', 'preset': preset}))
    ((_, frame),) = mapper.source(tmp_path / 'a.png')
    np.testing.assert_array_equal(frame, read_image(tmp_path / 'a.png', grey))
    other = 'opencv' if grey == 'luma' else 'luma'
    assert (frame != read_image(tmp_path / 'a.png', other)).any()
