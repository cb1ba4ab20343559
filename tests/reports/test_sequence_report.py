"""Reports of sequences: labels of every kind, what the slider moves through, tracks."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import cv2
import numpy as np
import pytest
from scipy import io as scipy_io

import drpca
from drpca.cli.score import main
from drpca.datasets.sequences import find_sequences, labelled_frames
from drpca.errors import UserError
from drpca.reports.page_data import page_data
from drpca.reports.pictures import _spread_over_time, choose_pictures, most_wanted
from drpca.reports.report import render_report
from drpca.reports.sequences import frames_of
from drpca.results.scoring import Case, Score
from tests.support import error_line

FRAMES = 5


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Sequences 'a', with points, and 'b', with boxes; maps that miss the target in the last frame of each, and find
    something beside it there."""
    make_sequences(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def make_sequences(folder: Path) -> None:
    for name in 'ab':
        images = folder / 'sequences' / name / 'images'
        images.mkdir(parents=True)
        (folder / 'results/sequences/mat' / name / 'images').mkdir(parents=True)
        for time in range(FRAMES):
            frame = np.full((24, 32), 60, np.uint8)
            frame[9:12, 5 + time : 8 + time] = 200
            cv2.imwrite(str(images / f'{time:04}.png'), frame)
            scores = np.zeros((24, 32), np.float32)
            row = 10 if time < FRAMES - 1 else 14
            scores[row, 6 + time] = 0.9
            scipy_io.savemat(folder / f'results/sequences/mat/{name}/images/{time:04}.mat', {'T': scores})
            if name == 'b':
                (images / f'{time:04}.txt').write_text(f'{5 + time} 9 {7 + time} 11\n')
    (folder / 'sequences/a/points.txt').write_text(''.join(f'{6 + time} 10\n' for time in range(FRAMES)))


def add_tracks(folder: Path) -> None:
    """Track 3 follows the target of sequence 'a' from its second frame on; track 4 follows nothing."""
    lines = [
        'name,row,column,track',
        'a/images/0001,10,7,3',
        'a/images/0002,10,8,3',
        'a/images/0002,20,30,4',
        'b/images/0000,1,1,',
    ]
    (folder / 'results/sequences/targets.csv').write_text('\n'.join(lines) + '\n')


def test_a_page_of_sequences_has_their_frames_in_order_and_their_tracks(folder: Path) -> None:
    add_tracks(folder)
    scores = drpca.score('results/sequences', masks='sequences', protocols='basicirstd', analyse=True)
    (score,) = scores
    assert score.figures['basicirstd']['Pd'] == 0.8
    assert [line for line in score.notes if '3 × 3' in line]
    data = page_data(scores, ['one'])
    assert [(of['name'], of['images']) for of in data['sequences']] == [('a', [0, 1, 2, 3, 4]), ('b', [5, 6, 7, 8, 9])]
    assert [data['images'][image][0] for image in data['sequences'][1]['images']][::4] == [
        'b/images/0000',
        'b/images/0004',
    ]
    images = data['results'][0][0]['images']
    assert [(images[i]['misses'], images[i]['alarms']) for i in range(FRAMES)] == [(0, 0)] * 4 + [(1, 1)]
    target = dict(zip(data['target_columns'], images[4]['rows'][0]))
    assert (target['row'], target['column'], target['area'], target['off_centre']) == (10, 10, 9, 4)
    tracks = data['sequences'][0]['tracks'] + data['sequences'][1]['tracks']
    assert tracks == [
        'targets with a track: 1 of 1, 1.0 frames after they appear on average; more tracks of them: 0; '
        'false tracks: 1',
        'targets with a track: 0 of 1; more tracks of them: 0; false tracks: 0',
    ]
    text = render_report(scores)
    assert 'id="time"' in text
    assert '<input type="range"' in text
    Path('results/sequences/targets.csv').write_text('name,row\na,1\n')
    with pytest.raises(UserError, match='row, column and track'):
        page_data(scores, ['one'])


def test_pictures_are_spread_over_a_sequence_where_not_all_fit(folder: Path) -> None:
    keys = [('d', 's', f'{number}') for number in range(9)]
    assert [int(key[2]) for key in _spread_over_time(keys)] == [0, 8, 4, 2, 6, 1, 3, 5, 7]
    assert _spread_over_time(keys[:1]) == keys[:1]
    scores = drpca.score('results/sequences', masks='sequences', protocols='basicirstd', analyse=True)
    wanted, needed = most_wanted(scores)
    assert needed == 1
    names = [name for _, _, name in wanted]
    assert {*names[:5]} == {f'{sequence}/images/{place}' for sequence in 'ab' for place in ('0000', '0004')} | {
        names[4]
    }
    assert len(choose_pictures(scores, 10**6).of) == 10


@pytest.mark.parametrize('where', ['sequences/a', 'sequences/a/images'])
def test_maps_of_one_sequence_fit_its_frames_by_their_ends(folder: Path, where: str) -> None:
    """``inference.py --input`` of a sequence calls frames images/0000, of its images 0000."""
    names = [f'images/{time:04}' if where.endswith('a') else f'{time:04}' for time in range(FRAMES)]
    found = labelled_frames('sequences/a', names)
    assert found is not None
    assert found.names == names
    assert found.sequences == {'a': names}
    assert found.read_mask(names[1]).sum() == 9
    with pytest.raises(UserError, match='frames of a and b are called'):
        labelled_frames('sequences', names)


def test_frames_of_several_folders_are_in_order_and_called_alike(folder: Path) -> None:
    def score(*names: str) -> Score:
        split, records = labelled_frames('sequences/a', names), {'any': [SimpleNamespace(name=name) for name in names]}
        return cast(Score, SimpleNamespace(folder=SimpleNamespace(path='maps'), split=split, records=records))

    parts = score('images/0003', 'images/0004'), score('images/0001', 'images/0002', 'images/0003')
    (frames,) = frames_of(parts).values()
    assert [name for *_, name in frames] == [f'images/{place:04}' for place in range(1, 5)]
    with pytest.raises(UserError, match='call one frame images/0003 and 0003'):
        frames_of([parts[0], score('0003')])


def test_boxes_and_points_that_touch_are_targets_each(folder: Path) -> None:
    Path('sequences/b/images/0000.txt').write_text('5 9 7 11\n8 9 12 13\n6 10 6 10\n')
    Path('sequences/a/points.txt').write_text('6 10 8 11\n' + ''.join(f'{6 + time} 10\n' for time in range(1, FRAMES)))
    (score,) = drpca.score('results/sequences', masks='sequences', protocols='basicirstd', analyse=True)
    counted = sum(one.counts['basicirstd'].targets for one in score.records['basicirstd'])
    assert counted == score.curves[None].targets == len(score.analyses['basicirstd'].targets) == 2 * FRAMES + 3
    sequence = find_sequences('sequences')[1]
    numbers = sequence.read_numbers(0, 'boxes', (24, 32))
    assert np.unique(numbers).tolist() == [0, 1, 2, 3], 'the small one in front'
    assert len(Case('0', numbers / 3, numbers > 0, None, numbers).targets_at(48)) == 3
    assert sequence.read_label(0, 'boxes', (24, 32)).sum() == 9 + 25


def test_masks_of_frames_come_before_points(folder: Path) -> None:
    masks = folder / 'sequences/a/masks'
    masks.mkdir()
    for time in range(FRAMES):
        cv2.imwrite(str(masks / f'{time:04}.png'), np.uint8(255) * (np.indices((24, 32)).sum(axis=0) == 16 + time))
    found = labelled_frames('sequences', [f'a/images/{time:04}' for time in range(FRAMES)])
    assert found is not None
    assert found.read_mask('a/images/0000').sum() == 17
    assert found.read_targets('a/images/0000') is None
    assert found.notes == ()
    (masks / '0003.png').unlink()
    with pytest.raises(UserError, match=r'0003\.png has no mask in sequences/a/masks'):  # before anything is scored
        labelled_frames('sequences', [f'a/images/{time:04}' for time in range(FRAMES)])
    assert labelled_frames('sequences/a/masks', ['0000']) is None, 'masks alone are no sequence'


def test_sequences_that_do_not_fit_are_one_line(folder: Path, capsys: pytest.CaptureFixture) -> None:
    arguments = ['--results', 'results/sequences', '--masks', 'sequences', '--report', 'r.html']
    Path('results/sequences/mat/b/images/0004.mat').unlink()
    assert main(arguments) == 2
    assert '1 map missing (b/images/0004). Give with --masks the folder' in error_line(capsys)
    shutil.rmtree('results/sequences/mat/b')
    assert main([*arguments, '--json', 'f.json', '--protocol', 'basicirstd']) == 0, (
        'sequences without maps are not asked for'
    )
    assert json.loads(Path('f.json').read_text())['basicirstd']['images'] == FRAMES
    capsys.readouterr()
    shutil.rmtree('sequences/a')
    assert main([*arguments, '--overwrite']) == 2
    assert 'holds no labelled sequences' in error_line(capsys)
    Path('sequences/b/images/0002.png').rename('late.png')
    assert main(arguments[:4]) == 2
    assert 'frame 2 is missing' in error_line(capsys), 'frames are never taken as masks'
    shutil.move('late.png', 'sequences/b/images/0002.png')
    for file in Path('sequences/b/images').glob('*.txt'):
        file.unlink()
    assert main(arguments[:4]) == 2
    assert 'expected a folder with masks' in error_line(capsys)
