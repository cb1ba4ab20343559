"""The figure that compares methods: what is marked, where the inset lies, which rows are chosen."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.patches import Circle, Rectangle

from drpca.datasets import open_split
from drpca.datasets.synthetic import generate_dataset
from drpca.errors import UserError
from drpca.evaluation.protocols import build_protocol
from drpca.reports import grid as G
from drpca.visualization.charts import save_drawing

PROTOCOL = build_protocol({'type': 'basicirstd', 'size': 64})


def make_row(*scores: np.ndarray, size: tuple[int, int] = (64, 64)) -> G.GridRow:
    gt_mask = np.zeros(size, bool)
    gt_mask[10:13, 10:13] = True
    gt_mask[50:53, 30:33] = True
    image = np.linspace(0, 1, gt_mask.size, dtype=np.float32).reshape(size)
    return G.GridRow('frame', image, gt_mask, list(scores))


def cells(figure: Figure) -> list[Axes]:
    return list(figure.axes)


def marks(axis: Axes) -> list[tuple[str, str]]:
    return sorted((type(patch).__name__, to_hex(patch.get_edgecolor()).upper()) for patch in axis.patches)


@pytest.mark.parametrize('protocol', ['basicirstd', 'drpca', 'rpcanet', 'shooting', 'opdc'])
def test_forms_and_colours_say_what_was_found(protocol: str) -> None:
    preset = build_protocol({'type': protocol, 'size': 64})
    scores = np.zeros((64, 64), np.float32)
    found, alarm = scores.copy(), scores.copy()
    found[10:13, 10:13] = found[50:53, 30:33] = 0.9
    alarm[30:32, 55:58] = 0.9
    figure = G.draw_grid([make_row(found, alarm, scores)], ['a', 'b', 'c'], preset)
    image, label, *methods = cells(figure)
    assert not image.patches
    assert not label.patches
    hit, miss, square = ('Circle', G.HIT), ('Circle', G.MISS), ('Rectangle', G.FALSE_ALARM)
    assert [marks(axis) for axis in methods] == [[hit, hit], [miss, miss, square], [miss, miss]]
    assert {type(patch.get_linestyle()) for patch in methods[0].patches} == {str}
    assert all(patch.get_linestyle() != '-' for patch in methods[2].patches), 'dashed, also without colours'
    (false,) = (patch for patch in methods[1].patches if isinstance(patch, Rectangle))
    assert false.get_center() == pytest.approx((56, 30.5)), 'column, row'


def test_the_inset_shows_the_first_target_where_it_covers_nothing() -> None:
    scores = np.zeros((64, 64), np.float32)
    scores[10:13, 10:13] = 1
    figure = G.draw_grid([make_row(scores)], ['a'], PROTOCOL)
    (inset,) = cells(figure)[2].child_axes
    assert np.array_equal(inset.images[0].get_array(), scores[1:22, 1:22])
    box = inset.get_position()
    assert box.x1 == pytest.approx(cells(figure)[2].get_position().x1)
    assert box.y0 == pytest.approx(cells(figure)[2].get_position().y0), 'the target lies at the top left'
    alarm = scores.copy()
    alarm[60:62, 60:62] = 1
    figure = G.draw_grid([make_row(scores, alarm)], ['a', 'b'], PROTOCOL)
    boxes = [axis.child_axes[0].get_position() for axis in cells(figure)]
    assert all(box.y1 == pytest.approx(boxes[0].y1) for box in boxes), 'the same corner for a whole row'
    assert boxes[0].y0 > 0.5, 'away from the false alarm at the bottom right'


def test_no_target_no_inset_and_frames_keep_their_shape() -> None:
    empty = np.zeros((30, 60), np.float32)
    row = G.GridRow('empty', empty + 0.5, empty > 0, [empty])
    figure = G.draw_grid([row], ['a'], build_protocol('basicirstd'))
    assert not any(axis.child_axes for axis in figure.axes)
    width, height = figure.axes[0].get_position().size * figure.get_size_inches()
    assert height == pytest.approx(width / 2)


def test_width_surfaces_names_and_bad_input() -> None:
    scores = np.zeros((64, 64), np.float32)
    row = make_row(scores)
    figure = G.draw_grid([row], ['$one_'], PROTOCOL, width=3.5, surface=True)
    assert figure.get_size_inches()[0] == 3.5
    assert len(figure.axes) == 6, 'three pictures, three surfaces'
    assert figure.axes[4].get_title() == r'\$one_'
    with pytest.raises(UserError, match='10 methods, the frame and the mask need a width of at least 75 mm'):
        G.draw_grid([make_row(*[scores] * 10)], list('abcdefghij'), PROTOCOL, width=30 / 25.4)
    with pytest.raises(UserError, match='each of 2 methods'):
        G.draw_grid([row], ['one', 'two'], PROTOCOL)
    with pytest.raises(UserError, match='at least one image'):
        G.draw_grid([], [], PROTOCOL)


def test_reads_a_split_and_results_chooses_rows_and_saves(tmp_path: Path) -> None:
    generate_dataset(tmp_path, num_train=1, num_test=6, size=32)
    split = open_split('synthetic', 'test', tmp_path)
    labelled = [name for name in split.names if split.read_mask(name).any()]
    assert len(labelled) > 2
    for number, folder in enumerate('ab'):
        for index, name in enumerate(split.names):
            # All alike but for two images, of which each method finds the targets of one.
            mine = split.read_mask(name) & (name not in labelled[:2] or index % 2 == number)
            file = tmp_path / folder / 'img' / f'{name}.png'
            file.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(file), np.where(mine, 255, 51).astype(np.uint8))
    folders = [tmp_path / 'a', tmp_path / 'b']
    assert set(G.telling_images(split, split.names, folders, PROTOCOL, 2)) == set(labelled[:2])
    assert len(G.telling_images(split, split.names, folders[:1], PROTOCOL, 2)) == 2
    with pytest.raises(UserError, match='no image with a target'):
        G.telling_images(split, [], folders, PROTOCOL, 2)
    row = G.GridRow.read(split, labelled[2], folders)
    assert row.scores[0].min() == pytest.approx(0.2, abs=1e-6)
    (tmp_path / 'new').mkdir()
    figure = G.draw_grid([row], ['a', 'b'], PROTOCOL, width=2)
    save_drawing(figure, tmp_path / 'new' / 'grid.png')
    assert cv2.imread(str(tmp_path / 'new' / 'grid.png')).shape[1] == 300
    assert all(isinstance(patch, Circle) for patch in figure.axes[2].patches)
    (tmp_path / 'file').write_text('')
    with pytest.raises(UserError, match='Cannot'):
        save_drawing(figure, tmp_path / 'file' / 'grid.png')
