"""Pictures of stages and curves."""

import cv2
import numpy as np
import pytest
import torch

from drpca.errors import UserError
from drpca.inference.decomposer import FrameDecomposition, StageRecord
from drpca.models.detector import DetectionModel
from drpca.results.stage_pictures import StageFolder, read_index, stages_picture
from drpca.studies import figures
from drpca.studies.corruptions import Corruption
from drpca.studies.decomposition import measure
from drpca.studies.robustness import CorruptionScore, robustness_figure
from drpca.visualization import charts
from drpca.visualization.panels import (
    BAR,
    CAPTION_HEIGHT,
    GAP,
    decomposition_panel,
    range_text,
    variable_picture,
    variable_range,
)

SIZE = 200


def decomposition(noise, scalars=None):
    rng = np.random.default_rng(0)
    ramp = np.linspace(-5, 5, SIZE * SIZE, dtype=np.float32).reshape(SIZE, SIZE)
    stage = StageRecord(ramp, 2 * ramp, -ramp, rng.random((SIZE, SIZE)) if noise else None, scalars or {})
    return FrameDecomposition(rng.random((SIZE, SIZE)).astype(np.float32), [stage, stage])


@pytest.mark.parametrize(('noise', 'columns'), [(False, 3), (True, 4)])
def test_layout(noise, columns):
    parts = decomposition(noise)
    picture = stages_picture(parts, np.zeros((SIZE, SIZE)), np.eye(SIZE, dtype=bool))
    row, column = SIZE + CAPTION_HEIGHT + GAP, SIZE + GAP + BAR + GAP
    assert picture.shape == (3 * row + 2 * CAPTION_HEIGHT, columns * column - GAP, 3)
    image = picture[CAPTION_HEIGHT : CAPTION_HEIGHT + SIZE, :SIZE, 0]
    assert np.array_equal(image, np.round(255 * parts.image).astype(np.uint8)), 'the image is not stretched'
    top = row + 2 * CAPTION_HEIGHT
    background, target = (picture[top : top + SIZE, start : start + SIZE] for start in (0, column))
    assert (background.min(), background.max()) == (0, 255)
    assert target[0, 0].tolist() == [255, 150, 60], 'T falls where B rises'
    assert target[-1, -1].tolist() == [90, 160, 255]
    bar = picture[top : top + SIZE, column + SIZE + GAP : column + SIZE + GAP + BAR]
    assert (bar[0, 0].tolist(), bar[-1, 0].tolist()) == ([255, 150, 60], [90, 160, 255])


def test_an_outlier_does_not_hide_the_rest():
    values = np.random.default_rng(0).normal(0, 1, (64, 64)).astype(np.float32)
    values[3, 3] = 1e6
    for around_zero in (False, True):
        low, high = variable_range(values, around_zero)
        assert -4 < low < -2
        assert 2 < high < 4
        assert range_text(values, around_zero).endswith(' of -3.9 .. 1e+06')
        assert variable_picture(values, around_zero).std() > 30, 'from one to the other end it would be below 1'
    assert variable_range(values, True)[0] == -variable_range(values, True)[1], 'T is shown around 0'
    assert variable_picture(np.zeros((4, 4)), True).max() == 0
    sparse = np.zeros((64, 64))
    sparse[5, 5:8] = 2, 3, 500
    assert variable_range(sparse, True) == (-3, 3), 'of what is not 0'
    assert variable_range(np.full((4, 4), 7.0)) == (7, 7)


def test_small_images_are_enlarged_by_whole_pixels():
    image = np.array([[0, 1], [1, 0]], np.float32)
    picture = stages_picture(FrameDecomposition(image, [StageRecord(image, image, image)]))
    part = picture[CAPTION_HEIGHT : CAPTION_HEIGHT + SIZE, :SIZE, 0]
    assert part[:100, :100].max() == 0
    assert part[:100, 100:].min() == 255


def test_scalars_are_written_above_their_stage():
    plain, told = (stages_picture(decomposition(False, s)) for s in ({}, {'epsilon': 0.25}))
    changed = np.flatnonzero((plain != told).any(axis=(1, 2)))
    row = SIZE + CAPTION_HEIGHT + GAP
    assert changed.size
    inside = (changed - row) % (row + CAPTION_HEIGHT)
    assert inside.max() < CAPTION_HEIGHT


def test_stage_folder(tmp_path):
    made_by = {'checkpoint_sha256': 'ab', 'model': {}}
    picture = np.zeros((4, 6, 3), np.uint8)
    picture[..., 0] = 200  # red
    StageFolder(tmp_path / 's', made_by).write('one', picture, [{'epsilon': 0.5}])
    assert cv2.imread(str(tmp_path / 's' / 'one.png'))[0, 0].tolist() == [0, 0, 200]
    assert read_index(tmp_path / 's') == {**made_by, 'images': {'one': [{'epsilon': 0.5}]}}
    with pytest.raises(UserError, match='--overwrite'):
        StageFolder(tmp_path / 's', made_by)
    StageFolder(tmp_path / 's', made_by, overwrite=True).write('two', picture, [])
    assert sorted(p.name for p in (tmp_path / 's').iterdir()) == ['stages.json', 'two.png']
    assert read_index(tmp_path) is None


def test_overwriting_spares_pictures_of_another_origin(tmp_path):
    (tmp_path / 'holiday.png').write_bytes(b'mine')
    with pytest.raises(UserError, match='another origin'):
        StageFolder(tmp_path, {}, overwrite=True)
    assert (tmp_path / 'holiday.png').read_bytes() == b'mine'


@pytest.mark.parametrize('content', ['{', '[]', '{"images": 3}'])
def test_damaged_index(tmp_path, content):
    (tmp_path / 'stages.json').write_text(content)
    with pytest.raises(UserError, match=r'stages\.json'):
        read_index(tmp_path)


def robustness_results():
    def result(detector, corruption, iou):
        return CorruptionScore(detector, corruption, {'p': {'IoU': iou, 'Fa': 1e-5}})

    levels = [None, Corruption('gaussian', 10), Corruption('gaussian', 30), Corruption('blur', 1)]
    return [result(name, level, iou) for name in ('a', 'b') for level, iou in zip(levels, (0.9, 0.5, 0.1, 0.4))]


def test_robustness_curves_show_the_figures():
    figure = robustness_figure(robustness_results(), 'p', 'IoU')
    gaussian, blur = figure.axes
    assert [line.get_label() for line in gaussian.lines] == ['a', 'b']
    assert gaussian.lines[0].get_xydata().tolist() == [[0, 90], [10, 50], [30, 10]]
    assert blur.lines[1].get_xydata().tolist() == [[0, 90], [1, 40]]
    fa = robustness_figure(robustness_results(), 'p', 'Fa').axes[0]
    assert fa.lines[0].get_ydata() == pytest.approx([10, 10, 10])


def test_figures_say_what_they_are_of_and_show_lines_that_coincide():
    heading = 'SIRSTv1 test, 10 of 86 images, basicirstd (> 0.5, native, centroid < 3 px), and ' + 30 * 'a name '
    figure = robustness_figure(robustness_results(), 'p', 'Fa', heading)
    assert figure.get_suptitle().replace('\n', ' ') == heading.strip()
    assert figure.get_suptitle().count('\n') > 1, 'lines that fit'
    wide, narrow = figure.axes[0].lines
    assert wide.get_linewidth() > narrow.get_linewidth()
    assert wide.get_zorder() < narrow.get_zorder()
    assert (wide.get_linestyle(), narrow.get_linestyle()) == ('-', '--')
    measured = measure(fixed('a'))
    for draw in (figures.low_rank_figure, figures.sparsity_figure, figures.scalars_figure):
        assert draw(measured, 'own: SIRSTv1').get_suptitle() == 'own: SIRSTv1'


def test_false_alarms_over_decades_are_drawn_logarithmically():
    levels = [None, Corruption('gaussian', 10), Corruption('gaussian', 30), Corruption('blur', 1)]
    results = [
        CorruptionScore('a', level, {'p': {'Fa': fa}})
        for level, fa in zip(levels, (0.0, 2e-6, 9e-3, 1e-6), strict=True)
    ]
    gaussian, blur = robustness_figure(results, 'p', 'Fa').axes
    assert (gaussian.get_yscale(), blur.get_yscale()) == ('symlog', 'linear')
    assert gaussian.get_ylim()[0] == 0, 'no false alarm has its place'
    assert robustness_figure(robustness_results(), 'p', 'IoU').axes[0].get_yscale() == 'linear'


def test_files_of_figures_are_reproducible(tmp_path):
    for name in ('first', 'second'):
        (tmp_path / name).mkdir()
        figure = robustness_figure(robustness_results(), 'p', 'IoU')
        charts.save_figure(figure, tmp_path / name / 'IoU')
    for suffix in charts.SUFFIXES:
        first, second = ((tmp_path / name / f'IoU{suffix}').read_bytes() for name in ('first', 'second'))
        assert first == second
        assert len(first) > 1000
    with pytest.raises(UserError, match='Cannot make'):
        charts.save_figure(figure, tmp_path / 'no' / 'where' / 'IoU')


def fixed(*names):
    """Every frame decomposed alike."""
    return [(name, decomposition(False, {'epsilon': 0.5, 'gamma': 0.1})) for name in names]


def test_curves_of_a_decomposition_show_its_means():
    measured = measure(fixed('a', 'b'))
    spectrum, rank, energy = figures.low_rank_figure(measured).axes
    assert len(spectrum.lines) == 3, 'two stages and the image'
    assert spectrum.lines[0].get_ydata()[0] == 1
    assert rank.lines[0].get_ydata() == pytest.approx(measured.effective_rank[0])
    assert energy.lines[0].get_ydata() == pytest.approx(measured.energy[0, :, 0])
    l0, l1, gini = figures.sparsity_figure(measured).axes
    for axis, values in ((l0, measured.l0), (l1, measured.l1), (gini, measured.gini)):
        assert axis.lines[0].get_ydata() == pytest.approx(values.mean(axis=0))
    epsilon, gamma = figures.scalars_figure(measured).axes
    assert epsilon.lines[0].get_ydata().tolist() == [0.5, 0.5]
    assert gamma.get_title() == 'gamma'


@pytest.mark.parametrize('name', ['RPCANet', 'RPCANetPlus', 'LRRNet'])
def test_decomposition_of_a_model_is_in_image_units_and_of_its_size(name):
    torch.manual_seed(0)
    stages = {} if name == 'LRRNet' else {'num_stages': 2}
    model = DetectionModel({'type': name, **stages}, mean=0.3, std=0.2, pad_multiple=16).eval()
    image = torch.rand(2, 1, 21, 34)
    with torch.inference_mode():
        outputs, states = model.outputs(image), model.decompose(image)
    assert all(value.shape == image.shape for state in states for value in state if value is not None)
    assert torch.allclose(states[-1].target, outputs['target'], atol=1e-4)
    assert torch.allclose(states[-1].reconstruction, outputs['reconstruction'], atol=1e-4)
    assert not torch.allclose(states[-1].reconstruction, (outputs['reconstruction'] - 0.3) / 0.2, atol=1e-2)
    assert (states[0].noise is None) == (name != 'RPCANetPlus')


def test_panel_of_the_last_stage():
    model = DetectionModel({'type': 'RPCANetPlus', 'num_stages': 1}).eval()
    picture = decomposition_panel(model, torch.rand(1, 6, 40), torch.zeros(1, 6, 40))
    assert picture.shape == (6 + CAPTION_HEIGHT, 6 * 40 + 5 * GAP, 3), 'D, B, T, N, score and mask'
