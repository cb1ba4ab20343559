"""The picture grid: what is outlined in which colour, and where the inset lies."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from drpca.datasets import open_split
from drpca.datasets.synthetic import generate_dataset
from drpca.errors import UserError
from drpca.evaluation.protocols import build_protocol
from drpca.reports import grid as G

PROTOCOL = build_protocol({'type': 'basicirstd', 'size': 64})
LEFT = G._CELL + G.GAP  # where the second cell begins


def make_row(scores: np.ndarray, size: tuple[int, int] = (64, 64)) -> G.GridRow:
    gt_mask = np.zeros(size, bool)
    gt_mask[10:13, 10:13] = True
    gt_mask[50:53, 30:33] = True
    image = np.linspace(0, 1, gt_mask.size, dtype=np.float32).reshape(size)
    return G.GridRow('frame', image, gt_mask, [scores])


def has(picture: np.ndarray, colour: tuple[int, int, int]) -> bool:
    return bool((picture == colour).all(axis=-1).any())


def method_cell(picture: np.ndarray) -> np.ndarray:
    return picture[18 : 18 + G._CELL, 2 * LEFT :]


@pytest.mark.parametrize('protocol', ['basicirstd', 'drpca', 'rpcanet', 'shooting', 'opdc'])
def test_colours_say_what_was_found(protocol: str) -> None:
    preset = build_protocol({'type': protocol, 'size': 64})
    scores = np.zeros((64, 64), np.float32)
    found, alarm = scores.copy(), scores.copy()
    found[10:13, 10:13] = found[50:53, 30:33] = 0.9
    alarm[30:32, 55:58] = 0.9
    cells = [method_cell(G.draw_grid([make_row(s)], ['a'], preset)) for s in (found, alarm, scores)]
    assert [has(cells[0], c) for c in (G.HIT, G.MISS, G.FALSE_ALARM)] == [True, False, False]
    assert [has(cells[1], c) for c in (G.HIT, G.MISS, G.FALSE_ALARM)] == [False, True, True]
    assert [has(cells[2], c) for c in (G.HIT, G.MISS, G.FALSE_ALARM)] == [False, True, False]


def test_the_inset_shows_the_first_target_in_the_far_corner() -> None:
    scores = np.zeros((64, 64), np.float32)
    scores[10:13, 10:13] = 1
    cell = method_cell(G.draw_grid([make_row(scores)], ['a'], PROTOCOL))
    inset = cell[-G._INSET :, -G._INSET :]
    assert tuple(inset[0, 0]) == G._FRAME
    centre = inset[G._INSET // 2 - 3 : G._INSET // 2 + 3, G._INSET // 2 - 3 : G._INSET // 2 + 3]
    assert (centre == 255).all(), 'the target, enlarged'
    assert has(inset, G.HIT)


def test_no_target_no_inset_and_frames_keep_their_shape() -> None:
    empty = np.zeros((30, 60), np.float32)
    row = G.GridRow('empty', empty + 0.5, empty > 0, [empty])
    picture = G.draw_grid([row], ['a'], build_protocol('basicirstd'))
    frame = picture[18 : 18 + G._CELL, : G._CELL]
    assert not has(frame, G._FRAME)
    rows = np.flatnonzero(frame.any(axis=(1, 2)))
    assert (rows[0], len(rows)) == (G._CELL // 4, G._CELL // 2), 'half as high as wide, centred'


def test_shape_and_bad_input() -> None:
    scores = np.zeros((64, 64), np.float32)
    row = make_row(scores)
    picture = G.draw_grid([row, row], ['one'], PROTOCOL)
    assert picture.shape == (2 * (18 + G._CELL + G.GAP) + 22, 3 * G._CELL + 2 * G.GAP, 3)
    with pytest.raises(UserError, match='each of 2 methods'):
        G.draw_grid([row], ['one', 'two'], PROTOCOL)
    with pytest.raises(UserError, match='at least one image'):
        G.draw_grid([], [], PROTOCOL)


def test_reads_a_split_and_results_and_saves(tmp_path: Path) -> None:
    generate_dataset(tmp_path, num_train=1, num_test=2, size=32)
    split = open_split('synthetic', 'test', tmp_path)
    maps = tmp_path / 'maps' / 'img'
    maps.mkdir(parents=True)
    cv2.imwrite(str(maps / f'{split.names[0]}.png'), np.full((32, 32), 51, np.uint8))
    row = G.GridRow.read(split, split.names[0], [maps.parent])
    assert row.scores[0] == pytest.approx(np.full((32, 32), 0.2), abs=1e-6)
    picture = G.draw_grid([row], ['a'], PROTOCOL)
    G.save_grid(picture, tmp_path / 'new' / 'grid.png')
    assert np.array_equal(cv2.imread(str(tmp_path / 'new' / 'grid.png'))[..., ::-1], picture)
    (tmp_path / 'file').write_text('')
    with pytest.raises(UserError, match='Cannot write'):
        G.save_grid(picture, tmp_path / 'file' / 'grid.png')
