"""Methods for windows of frames: reference figures, placement of windows, quirks, bad input, detector and stages."""

from __future__ import annotations

import json
import re
from typing import Any

import cv2
import numpy as np
import pytest
from threadpoolctl import ThreadpoolController

import drpca
from drpca.baselines import WindowBaseline
from drpca.baselines.frame_windows import PatchStack, scaled
from drpca.baselines.parallel import one_thread
from drpca.baselines.stpa_fctn import displacement, spatial_contrast, spatial_temporal_prior, temporal_contrast
from drpca.baselines.structure import corner_edge_prior
from drpca.baselines.svd import large_part
from drpca.baselines.unfoldings import solve_unfoldings
from drpca.datasets.io import read_image
from drpca.errors import UserError
from drpca.evaluation import functional as F
from drpca.evaluation.sequences import contrast_gains, finite_means, point_targets
from drpca.registry import BASELINES
from tests.support import DATA, load_tool, shared_path

FIXTURES = json.loads((DATA / 'multiframe_reference.json').read_text(encoding='utf-8'))['fixtures']
SMALL: dict[str, dict[str, Any]] = {
    'TensorRing': {'window': 4, 'patch_size': 16, 'step': 16},
    'TensorTrain': {'window': 4, 'patch_size': 8, 'step': 8},
    'NPSTT': {'window': 5, 'patch_size': 24, 'step': 24},
    'STT': {'window': 3, 'patch_size': 16, 'step': 12},
    'STPAFCTN': {'window': 5, 'patch_size': 16, 'step': 16},
    'ASTTVNTLA': {'max_iterations': 9},
    'TensorTrainOnline': {'patch_size': 8, 'step': 8},
}
TOOLBOX = {'TR': 'TensorRing', 'TT': 'TensorTrain', 'NPSTT': 'NPSTT', 'LogTFNN': 'LogTFNN'}


def build(name: str, preset: str = 'toolbox', **overrides: Any) -> Any:
    return BASELINES.build({'type': name, 'preset': preset, **overrides})


def small(name: str, preset: str | None = None) -> Any:
    return build(name, preset or next(iter(BASELINES.get(name).PRESETS)), **SMALL[name])


def frames(count: int = 9, side: int = 40) -> np.ndarray:
    """A target that moves 2 pixels a frame over a still, smooth background; (count, side, side + 2) uint8."""
    rows, columns = np.mgrid[:side, : side + 2]
    rng = np.random.default_rng(0)
    found = []
    for time in range(count):
        frame = 90 + 30 * np.sin(rows / 9) + 20 * np.cos(columns / 7) + rng.normal(0, 1, rows.shape)
        frame += 100 * np.exp(-((rows - 14) ** 2 + (columns - 9 - 2 * time) ** 2) / 2)
        found.append(np.clip(np.round(frame), 0, 255).astype(np.uint8))
    return np.stack(found)


def place(scores: np.ndarray) -> tuple[int, ...]:
    return tuple(map(int, np.unravel_index(scores.argmax(), scores.shape)))


@pytest.mark.parametrize('key', ['TT', 'TR'])
def test_reference_figures_of_the_four_way_tensors(key: str) -> None:
    i, j, t, n = np.meshgrid(*map(np.arange, (8, 8, 5, 6)), indexing='ij')
    data = 0.5 + 0.3 * np.sin(0.5 * i + 0.3 * j + 0.2 * t + 0.7 * n)
    spikes = [(2 + t // 2, 3 + t // 2, t, 1) for t in range(5)] + [(6, 5 - t // 2, t, 4) for t in range(5)]
    for number, spike in enumerate(spikes):
        data[spike] += 0.4 if number < 5 else 0.3
    method, expected = build(TOOLBOX[key]), FIXTURES[key]
    unfoldings, sparse_weight = method.unfoldings(data.shape)
    records: list[Any] = []
    parts = solve_unfoldings(
        data, unfoldings, sparse_weight, method.noise_weight, noise_sign=method.noise_sign, records=records
    )
    assert len(records) == expected['iterations']
    assert records[-1].residual == pytest.approx(expected['err'], rel=1e-5)
    assert np.count_nonzero(parts.target > 0) == expected['positive']
    assert parts.target.sum() == pytest.approx(expected['sum_T'], rel=1e-5)
    assert parts.background.sum() == pytest.approx(expected['sum_B'], rel=1e-5)
    # J holds the spikes frame by frame: of the first target, then of the second.
    np.testing.assert_allclose(sorted(parts.target[s] for s in spikes), sorted(expected['T_spikes']), atol=1e-6)
    values = parts.background.ravel()[expected['B']['positions']]
    np.testing.assert_allclose(values, expected['B']['values'], atol=1e-6)


def test_reference_figures_of_npstt(monkeypatch: pytest.MonkeyPatch) -> None:
    i, j, k = np.meshgrid(np.arange(24), np.arange(24), np.arange(9), indexing='ij')
    data = 100 + 40 * np.sin(0.2 * i + 0.1 * k) * np.cos(0.15 * j) + 4 * np.sin(1.9 * i + 2.3 * j + 1.1 * k)
    spikes = [(8 + k // 3, 10 + k % 3, k) for k in range(9)]
    for spike in spikes:
        data[spike] += 60
    method, expected, records = build('NPSTT'), FIXTURES['NPSTT'], []
    monkeypatch.setattr(type(method), 'sparse_weight', 0.005)
    target = method.solve_tensor(data, records).target
    assert len(records) == expected['iterations']
    assert records[-1].residual == pytest.approx(expected['err'], rel=1e-5)
    assert np.count_nonzero(target) == expected['positive']
    assert target.sum() == pytest.approx(expected['sum_S'], rel=1e-5)
    np.testing.assert_allclose([target[spike] for spike in spikes], expected['S_spikes'], rtol=1e-5)


def test_reference_figures_of_log_tfnn() -> None:
    y, x = np.mgrid[:60, :60]
    image = 0.4 + 0.2 * np.sin(0.11 * y) * np.cos(0.07 * x) + 0.03 * np.sin(1.7 * y + 2.3 * x)
    image += 0.4 * np.exp(-((y - 20) ** 2 + (x - 33) ** 2) / 2)
    method, expected = build('LogTFNN', patch_size=20, step=20), FIXTURES['LogTFNN']
    prior = corner_edge_prior(image * 256)
    assert prior.sum() == pytest.approx(expected['prior_sum'], rel=1e-5)
    grid, records = method.grid(image.shape), []
    data = grid.patches(image * 256)
    target = grid.image(method.solve_tensor(data, grid.patches(prior), records).target, 'last')
    assert method.rank(data) == expected['rank_M']
    assert len(records) == expected['iterations']
    assert np.count_nonzero(target) == expected['positive']
    assert list(place(target)) == expected['argmax']
    assert target.max() == pytest.approx(expected['max'], rel=1e-5)
    # The same by way of an image, whose values are brought to the method's scale and back.
    raw = method.predict((image * 255).astype(np.float64) / 255)
    assert raw.max() == pytest.approx(expected['max'] * 255 / 256, rel=1e-4)


def test_speed_is_measured_against_a_plain_form_of_equal_results(capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    tool = load_tool('studies/tensor_speed')
    monkeypatch.setattr(tool, 'machine', lambda: 'this one')  # which looks for a while what else it does
    assert tool.main(['--size', '70', '--frames', '3']) == 0
    iterations = {}
    for line in capsys.readouterr().out.splitlines()[1:]:
        found = re.fullmatch(r'(.+): .*; iterations (\d+) and (\d+); T differs by (.+)', line)
        assert found is not None
        assert found[2] == found[3]
        assert float(found[4]) < 1e-9
        iterations[found[1]] = int(found[2])
    assert iterations['tensorring_fast'] < 0.8 * iterations['tensorring']


def test_a_few_singular_values_are_certain_or_left_to_the_gram_matrix() -> None:
    rng = np.random.default_rng(3)
    left, right = (np.linalg.qr(rng.standard_normal((n, 30)))[0] for n in (80, 50))
    sigma = np.array([9.0, 8.9, 4, *[0.1] * 27])
    matrix, start = (left * sigma) @ right.T, rng.standard_normal((50, 6))
    values, vectors, start = large_part(matrix, 2.0, start)
    np.testing.assert_allclose(values, sigma[:3], rtol=1e-12)
    np.testing.assert_allclose(vectors @ vectors.T, right[:, :3] @ right[:, :3].T, atol=1e-11)
    assert large_part(matrix, 0.2, start) is None, 'of what is left out, one may be above 0.2'


@pytest.mark.slow
@pytest.mark.parametrize(
    ('key', 'sequence'), [(key, number) for key in TOOLBOX for number in (1, 6, 11)], ids=lambda value: str(value)
)
def test_toolbox_maps_of_real_sequences(key: str, sequence: int) -> None:
    """Scaled maps at the sampled pixels, which the file rounds to six digits, and figures of 30 whole ones."""
    reference = json.loads(shared_path('golden', 'multiframe_reference.json').read_text(encoding='utf-8'))
    folder = shared_path('datasets', 'sequences') / f'sequence{sequence}' / 'images'
    images = np.stack([read_image(folder / f'{n:04d}.png', 'luma') for n in range(1, 34)]).astype(np.float64)
    method = build(TOOLBOX[key])
    if key == 'NPSTT':
        starts = {1: (0, 0), 15: (11, 3), 30: (26, 3)}
        maps = {frame: method.solve(images[a : a + 7], None).target[b] for frame, (a, b) in starts.items()}
    elif key == 'LogTFNN':
        maps = {frame: method.detect(images[frame - 1]) * (256 / 255) for frame in (1, 15, 30)}
    else:
        maps = dict(enumerate(np.concatenate([solved.target for solved in method.stream(images[:30])]), 1))
    expected_figures = reference['methods'][key][f'sequence{sequence}']
    if len(maps) == 30:
        points = np.loadtxt(folder.parent / 'points.txt', max_rows=30)[:, ::-1] - 1  # read from 1, as by the toolbox
        roc, gains = F.Roc3dCounts.zero(), []
        for image, raw, point in zip(images, maps.values(), points):
            scores = np.clip(raw / (raw.max() + np.finfo(float).eps), 0, 1)
            roc += F.roc_3d_counts(scores, point_targets(point, raw.shape))
            gains.append(contrast_gains(image / 255, scores, point))
        figures = finite_means(np.concatenate(gains)) | F.roc_3d_figures(roc)
        for name, other in (('AUC_FaPd', 'AUC_FPD'), ('AUC_tauPd', 'AUC_tauPD'), ('AUC_tauFa', 'AUC_tauFA')):
            assert figures[name] == pytest.approx(expected_figures[other], rel=1e-5)
        for name in ('SCRG', 'BSF', 'CG', 'BSR'):
            assert figures[f'{name}_finite'] == expected_figures[f'{name}_finite']
            assert figures[name] == pytest.approx(float(expected_figures[name]), rel=1e-5)
    for number, expected in expected_figures['frames'].items():
        raw = maps[int(number)]
        assert raw.max() == pytest.approx(expected['max_before_scaling'], rel=1e-5)
        assert np.count_nonzero(raw > 0) == expected['positive']
        values = (raw / (raw.max() + np.finfo(float).eps)).ravel()
        np.testing.assert_allclose(values[reference['grid_positions']], expected['grid_values'], atol=1e-6)
        np.testing.assert_allclose(values[expected['nonzero_positions']], expected['nonzero_values'], atol=1e-6)


MOVING = [(name, preset) for name in sorted(SMALL) for preset in BASELINES.get(name).PRESETS]
MOVING.remove(('NPSTT', 'paper'))  # needs patches of a real size
MOVING.remove(('ASTTVNTLA', 'toolbox'))  # needs frames of a real size


@pytest.mark.parametrize(('name', 'preset'), MOVING)
def test_maps_and_parts_of_a_moving_target(name: str, preset: str) -> None:
    method, images = small(name, preset), frames(6, 48 if name == 'NPSTT' else 32)
    before = images.copy()
    parts = method.decompose(images, trace=True)
    assert isinstance(method, WindowBaseline)
    assert parts.background.shape == parts.target.shape == images.shape
    assert parts.target.dtype == np.float32
    error = np.linalg.norm(parts.reconstruction - images / 255) / np.linalg.norm(images / 255)
    # The solvers stop at 0.01, before overlaps are averaged; STPA-FCTN here as soon as its one target stands out, the
    # online form after a few iterations.
    assert error < {'STPAFCTN': 0.08, 'TensorTrainOnline': 0.03}.get(name, 0.02)
    assert (parts.noise is not None) == name.startswith('Tensor')
    assert parts.trace[-1].residual < parts.trace[0].residual
    assert all(np.isfinite([record.residual, record.objective]).all() for record in parts.trace)
    for time in range(2, 4):
        # Less sparse maps of a target across the border of two patches: stronger in the one with less of it.
        at_most = 1 if (name, preset) == ('TensorRing', 'fast') else 0
        np.testing.assert_allclose(place(parts.target[time]), (14, 9 + 2 * time), rtol=0, atol=at_most)
    if name == 'NPSTT':
        assert not parts.target[-2:].any(), 'frames after the middle one stay 0 in the toolbox'
        np.testing.assert_allclose(parts.background[-2:], images[-2:] / 255, atol=1e-6)
    np.testing.assert_array_equal(images, before)


def test_fully_connected_network_by_its_equations() -> None:
    rng = np.random.default_rng(0)
    data, prior = rng.random((4, 5, 3, 2)), rng.random((4, 5, 3, 2))
    method = build('STPAFCTN')
    unfoldings, weight = method.unfoldings(data.shape)
    assert weight == pytest.approx(0.015 * (20**-0.5 + 12**-0.5 + 15**-0.5))
    weight /= 30  # of so small a tensor nothing is a target otherwise
    parts = solve_unfoldings(data, unfoldings, weight, None, prior=prior, tolerance=1e-3, max_iterations=200)
    b, mu, omega = data.copy(), 1e-4, 1.0
    t, e, c = np.zeros_like(data), np.zeros_like(data), [np.zeros_like(data)] * 3
    positive = 0
    for _ in range(200):
        u = []
        for axes, multiplier in zip(((0, 1, 2, 3), (2, 0, 1, 3), (1, 2, 0, 3)), c):
            turned = (b - multiplier / mu).transpose(axes)
            left, sigma, right = np.linalg.svd(
                turned.reshape(-1, turned.shape[2] * turned.shape[3]), full_matrices=False
            )
            low = (left * np.maximum(sigma - 1 / 3 / mu, 0)) @ right
            u.append(low.reshape(turned.shape).transpose(np.argsort(axes)))
        b = (sum(u) + sum(c) / mu + data - t - e / mu) / 4
        argument, threshold = data - b - e / mu, omega * weight / mu
        t = np.sign(argument) * np.maximum(np.abs(argument) - threshold, 0)
        omega = np.minimum(1 / ((np.abs(t) + 0.01) * prior), 100)
        c = [multiplier + mu * (low - b) for multiplier, low in zip(c, u)]
        e = e + mu * (b + t - data)
        mu *= 1.2
        previous, positive = positive, np.count_nonzero(t > 0)
        if np.linalg.norm(data - b - t) < 1e-3 * np.linalg.norm(data) or positive == previous > 0:
            break
    assert positive > 3
    assert parts.noise is None
    np.testing.assert_allclose(parts.background, b, atol=1e-9)
    np.testing.assert_allclose(parts.target, t, atol=1e-9)


def test_prior_of_the_fully_connected_network_finds_what_does_not_move_with_the_rest() -> None:
    rng = np.random.default_rng(1)
    scene = cv2.GaussianBlur(rng.random((60, 72)), (0, 0), 1.5)
    moved = np.stack([scene[5 + 2 * t : 45 + 2 * t, 20 - 3 * t : 68 - 3 * t] for t in range(5)])
    assert displacement(moved[2], moved[3], 8) == (-2, 3)
    assert displacement(moved[2], moved[0], 16) == (4, -6)
    moved[:, 20, 24] += 0.5
    temporal = temporal_contrast(moved, 2)
    assert place(temporal) == (20, 24)
    assert np.count_nonzero(temporal[8:32, 12:36] > 1e-9) == 1, 'what can be seen in all frames is as expected'
    dots = np.zeros((21, 21))
    dots[10, 10], dots[10, 13] = 1, 0.5  # the first one sees the second, three pixels to the right, and so back
    expected = np.zeros_like(dots)
    expected[10, 10], expected[10, 13] = 1, abs(0.992 * 0.5 - 0.452) / (0.992 - 0.452 * 0.5)
    np.testing.assert_allclose(spatial_contrast(dots), expected, atol=1e-12)
    prior = spatial_temporal_prior(moved)
    assert prior.shape == moved.shape
    np.testing.assert_allclose(prior[0].max(), 1)
    np.testing.assert_allclose(prior[4], spatial_contrast(moved[4]) - spatial_contrast(moved[4]).min(), atol=0.1)


def test_asymmetric_variation_by_its_equations() -> None:
    data = 100 + 50 * np.random.default_rng(2).random((6, 5, 3))
    method, count = build('ASTTVNTLA', max_iterations=30, sparsity=1.0), 30
    parts = method.solve_tensor(data)
    x, mu = data, 0.005
    b = np.random.default_rng(method.seed).random(x.shape)
    t, n, y = (np.zeros_like(x) for _ in range(3))
    v, d = [np.zeros_like(x)] * 3, [np.zeros_like(x)] * 3
    identity, operators = np.eye(x.size), []
    for axis in range(3):
        columns = [(np.roll(one, -1, axis) - one).ravel() for one in identity.reshape(-1, *x.shape)]
        operators.append(np.stack(columns, axis=1))
    normal = 2 * identity + sum(operator.T @ operator for operator in operators)
    sigma = None
    for _ in range(count):
        slices, found = np.fft.fft(b, axis=2), []
        for k in range(3):
            left, values, right = np.linalg.svd(slices[:, :, k], full_matrices=False)
            last = values if sigma is None else sigma[k]
            found.append(np.maximum(values - 1e6 * np.exp(-1e6 * last) / mu, 0))
            slices[:, :, k] = (left * found[-1]) @ right
        sigma, z = found, np.fft.ifft(slices, axis=2).real
        right = x - t - n + z + y / mu
        right = right.ravel() + sum(o.T @ (a + c / mu).ravel() for o, a, c in zip(operators, v, d))
        b = np.linalg.solve(normal, right).reshape(x.shape)
        soft = lambda values, threshold: np.sign(values) * np.maximum(np.abs(values) - threshold, 0)  # noqa: E731
        t = soft(x - b - n + y / mu, 1 / np.sqrt(3 * 6) / mu)
        change = [(o @ b.ravel()).reshape(x.shape) for o in operators]
        v = [soft(g - c / mu, 0.01 * (1, 1, 1.25)[k] / mu) for k, (g, c) in enumerate(zip(change, d))]
        n = (mu * (x - b - t) + y) / (mu + 200)
        y = y + mu * (x - b - t - n)
        d = [c + mu * (a - g) for c, a, g in zip(d, v, change)]
        mu *= 1.2
    np.testing.assert_allclose(parts.background, b, atol=1e-6)
    np.testing.assert_allclose(parts.target, t, atol=1e-6)
    np.testing.assert_allclose(parts.noise, n, atol=1e-6)
    assert np.count_nonzero(t) > 3


def test_a_block_reaches_back_for_the_rest() -> None:
    method, images = small('TensorTrain'), frames()
    maps = method.predict(images)
    for start in (0, 4):
        np.testing.assert_allclose(maps[start : start + 4], method.predict(images[start : start + 4]))
    np.testing.assert_allclose(maps[8], method.predict(images[5:])[-1])
    assert method.delay == 3
    assert small('STT').delay == 1


def test_centred_windows_speak_for_their_middle() -> None:
    method, images = small('STT', 'paper'), frames(5, 24)
    maps = method.predict(images)
    assert maps.shape == images.shape
    assert maps.dtype == np.float32
    assert maps.min() >= 0
    np.testing.assert_allclose(maps[3], method.predict(images[2:5])[1])
    assert place(maps[2]) == (14, 13)
    assert place(small('STT').predict(images[1:4])[1]) == (14, 15), 'the toolbox shows the frame after'
    np.testing.assert_allclose(maps[0], method.predict(images[:3])[0])
    np.testing.assert_allclose(maps[-1], method.predict(images[-3:])[-1])
    held: list[np.ndarray] = []

    def feed():
        for image in images.astype(float):
            held.append(image)
            yield image

    for number, solved in enumerate(method.stream(feed())):
        assert len(solved.target) == (2 if number == 0 else 1)
        assert len(held) == min(3 + number, len(images))


def test_npstt_paper_preset_fills_all_frames_and_counts_in_the_fourier_slices() -> None:
    background, sigma = np.zeros((4, 4, 6)), np.array([[9.0, 4, 2, 0], [5, 0, 0, 0], [1, 0, 0, 0], [4, 4, 4, 4]])
    background[:, :, 1] = 3 * np.eye(4)
    background[:2, :2, 1] = 4 * np.eye(2)
    for preset, filled, ranks in (('toolbox', 4, [0, 2, 0, 0]), ('paper', 7, [2, 1, 0, 4])):
        method = build('NPSTT', preset)
        assert method.filled == filled
        assert method.ranks(background, sigma).tolist() == ranks


def test_the_tensor_rings_sign_is_a_quirk_of_its_toolbox_preset() -> None:
    images = frames(4)
    toolbox, paper = small('TensorRing').decompose(images), small('TensorRing', 'paper').decompose(images)
    assert np.abs(toolbox.target - paper.target).max() > 1e-4
    np.testing.assert_array_equal(small('TensorTrain').predict(images), small('TensorTrain', 'paper').predict(images))


def test_log_tfnn_paper_preset_finds_the_target() -> None:
    image = frames(1)[0]
    for preset in ('toolbox', 'paper'):
        parts = build('LogTFNN', preset, patch_size=20, step=20).decompose(image, trace=True)
        assert place(parts.target) == (14, 9)
        assert len(parts.trace) <= 20
    assert np.isfinite(parts.background).all()


@pytest.mark.parametrize('name', sorted(SMALL))
def test_bad_frames_are_refused(name: str) -> None:
    method = small(name)
    for images, message in (
        (frames(1)[0], r'consecutive frames: expected an array of shape \(n, H, W\)'),
        (frames(5)[:, : 6 if method.min_size > 6 else 1], 'at least'),
        (frames(5).astype(np.int32), 'int32'),
    ):
        with pytest.raises(UserError, match=message):
            method.predict(images)
    too_few = 0 if name == 'TensorTrainOnline' else 2
    with pytest.raises(UserError, match=rf'{name} needs \d+ consecutive frames of one size, got {too_few}'):
        list(method.stream(frames(2)[:too_few]))
    with pytest.raises(UserError, match=r'got \(20, 20\) and \(24, 20\): put those of each size into a folder'):
        list(method.stream([np.eye(20), np.eye(24, 20)]))
    assert not method.predict(np.full((5, 32, 32), 7, np.uint8)).any()
    if hasattr(method, 'step'):
        with pytest.raises(UserError, match='step'):
            build(name, method.preset, step=99)
    if name == 'TensorTrainOnline':  # a live stream, and a data set, would take each frame by itself
        with pytest.raises(UserError, match='expected at least 2 for window, got 1'):
            build(name, method.preset, window=1)


def test_the_online_form_answers_each_frame_at_once_and_goes_on_from_the_last_window() -> None:
    method, images = small('TensorTrainOnline'), frames(7, 32)
    given: list[int] = []

    def feed():
        for number, image in enumerate(images.astype(float)):
            given.append(number)
            yield image

    answers = []
    for number, solved in enumerate(method.stream(feed())):
        assert len(given) == number + 1, 'nothing waits'
        assert solved.target.shape == (1, 32, 34)
        answers.append(solved.target[0])
    assert method.delay == 0
    np.testing.assert_array_equal(np.maximum(answers, 0), method.predict(images))
    assert [place(one) for one in answers[1:]] == [(14, 9 + 2 * t) for t in range(1, 7)]
    assert not np.allclose(answers[3], method.predict(images[3:])[0]), 'the frames before tell'
    short = method.predict(images[:1])
    np.testing.assert_array_equal(short[0], np.maximum(answers[0], 0))
    images[3] = 7
    still = list(method.stream(images.astype(float)))[3]
    np.testing.assert_allclose(still.parts.background * still.scale / 255, 7 / 255)
    noise = method.decompose(images).noise
    assert noise is not None
    assert not noise[3].any()
    assert noise[2].any()
    maps = method.predict(images)
    assert not maps[3].any()
    np.testing.assert_array_equal(maps[4:], method.predict(images[4:]), 'a constant frame starts it anew')


@pytest.mark.parametrize('name', ['TensorTrain', 'TensorTrainOnline', 'NPSTT'])
def test_solvers_work_on_one_thread_and_leave_as_many_as_before(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def threads() -> set[int]:
        return {library['num_threads'] for library in ThreadpoolController().select(user_api='blas').info()}

    method, seen = small(name), []

    def fail(*_: object) -> None:
        seen.append(threads())
        with one_thread:  # of another detector, on another thread of the process
            pass
        seen.append(threads())
        raise RuntimeError('in the solver')

    monkeypatch.setattr(method, 'advance' if name == 'TensorTrainOnline' else 'solve', fail)
    with ThreadpoolController().limit(limits=2, user_api='blas'):
        with pytest.raises(RuntimeError, match='in the solver'):
            method.predict(frames(method.window, 24))
        assert seen == [{1}, {1}]
        assert threads() == {2}


def test_what_stands_still_fades_from_the_online_map_and_not_from_its_target() -> None:
    images = frames(9, 32)
    images[:, 25:27, 6:8] = 255  # a lamp, brighter than the target
    method = build('TensorTrainOnline', 'fast', **SMALL['TensorTrainOnline'], memory=5)
    maps, target = method.predict(images)[:, :, :26], np.maximum(method.decompose(images).target, 0)[:, :, :26]
    np.testing.assert_allclose(maps[:5], target[:5], atol=1e-6, err_msg='five frames must have come first')
    for number in range(5, 9):
        stood = target[number - 5 : number].min(axis=0)
        np.testing.assert_allclose(maps[number], target[number] - np.minimum(stood, target[number]), atol=1e-6)
        assert target[number, 25:27, 6:8].max() > 0.04 > 4 * maps[number, 25:27, 6:8].max()
        assert place(maps[number])[0] == 14
        assert maps[number].max() == pytest.approx(target[number, 10:19].max(), rel=0.2)
    images[4] = 0
    assert not method.predict(images)[4].any()
    np.testing.assert_array_equal(method.predict(images)[5:], method.predict(images[5:]), 'and a new start forgets it')


def test_the_online_form_comes_to_the_solution_of_the_block() -> None:
    """At a fixed penalty both starts end in the one minimum."""
    stack = PatchStack((16, 16), 4, 4)
    scene = frames(5, 16)[:, :, :16].astype(np.float64)
    data, before = stack.patches(scene[1:] / 255), stack.patches(scene[:4] / 255)
    unfoldings, weight = build('TensorTrain').unfoldings(data.shape)
    options: Any = {'noise_weight': 100, 'penalty': 3.0, 'growth': 1.0, 'tolerance': None}
    last = solve_unfoldings(before, unfoldings, weight / 3, max_iterations=5, **options)
    warm, cold = (
        solve_unfoldings(data, unfoldings, weight / 3, max_iterations=150, start=start, **options)
        for start in (last.moved_on(data), None)
    )
    assert np.count_nonzero(cold.target) > 3
    np.testing.assert_allclose(warm.target, cold.target, atol=1e-5)
    np.testing.assert_allclose(warm.background, cold.background, atol=1e-5)
    moved = last.moved_on(data)
    np.testing.assert_array_equal(moved.target[:, :, :-1], last.target[:, :, 1:])
    np.testing.assert_array_equal(moved.background[:, :, -1], data[:, :, -1])
    # With the block's own penalties it is the block's solver.
    online = build('TensorTrainOnline', 'fast', patch_size=4, step=4, iterations=10, penalty=1e-4, growth=1.2)
    same = solve_unfoldings(data, unfoldings, weight, 100, tolerance=None, max_iterations=10)
    np.testing.assert_allclose(online.advance(data, None).background, same.background, atol=1e-9)


def test_detector_takes_folders_and_videos_as_sequences(tmp_path, capsys) -> None:
    images = frames(5, 32)
    for folder, sequence in (('a', images), ('b', images[::-1])):
        (tmp_path / folder).mkdir()
        for number, image in enumerate(sequence):
            cv2.imwrite(str(tmp_path / folder / f'{number:04d}.png'), image)
    detector = drpca.Detector(
        'tensortrain', options={f'model.{key}': value for key, value in SMALL['TensorTrain'].items()}
    )
    paths = [(f'{f}/{n}', tmp_path / f / f'{n:04d}.png') for f in 'ab' for n in range(5)]
    found = detector(paths)
    assert [one.name for one in found] == [name for name, _ in paths]
    expected = small('TensorTrain').predict(images)
    for one, raw in zip(found[:5], expected):
        np.testing.assert_allclose(one.scores, scaled(raw), atol=1e-5)
    np.testing.assert_allclose(found[5].scores, scaled(small('TensorTrain').predict(images[::-1])[0]), atol=1e-5)
    drawn = list(drpca.visualize_stages(detector, tmp_path / 'a', limit=2))
    assert [one.name for one in drawn] == ['0000', '0001']
    (stage,) = drawn[1].decomposition.stages
    parts = small('TensorTrain').decompose(images)
    np.testing.assert_allclose(stage.background, parts.background[1], atol=1e-5)
    np.testing.assert_allclose(stage.target, parts.target[1], atol=1e-5)
    for refused in (lambda: detector(images[0]), lambda: detector.open_split('test', 'synthetic')):
        with pytest.raises(UserError, match='consecutive frames'):
            refused()
