"""Scoring of detectors on labelled sequences: function and command."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import cast

import cv2
import numpy as np
import pytest

import drpca
from drpca.cli import sequences
from drpca.datasets.sequences import FrameSequence
from drpca.datasets.synthetic_sequence import generate_sequence
from drpca.errors import UserError
from drpca.inference.mappers import FrameMapper, ScoredBatch
from drpca.inference.temporal import TemporalFilter
from drpca.studies.sequence_scores import SequenceScore, score_sequences
from tests.support import error_line, load_tool


@pytest.fixture(scope='module')
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two sequences of six frames: a strong target over little noise, and a dim one with a false alarm at (30, 30)."""
    root = tmp_path_factory.mktemp('sequences')
    rng = np.random.default_rng(0)
    for name, height in (('bright', 120), ('dim', 8)):
        (root / name / 'images').mkdir(parents=True)
        lines = []
        for time in range(6):
            image = 60 + rng.normal(0, 6, (40, 44))
            image[10:12, 8 + 2 * time : 10 + 2 * time] += height
            if name == 'dim':
                image[29 + time % 2 * 6, 30] = 250
            cv2.imwrite(str(root / name / 'images' / f'{time:04d}.png'), np.clip(image, 0, 255).astype(np.uint8))
            lines.append(f'{8.6 + 2 * time} 10.5')
        (root / name / 'points.txt').write_text('\n'.join(lines) + '\n')
    return root


def test_figures_of_sequences_and_groups(folder: Path) -> None:
    scores = {score.name: score for score in score_sequences(drpca.Detector('tophat_paper'), folder, confirm=(2, 3))}
    assert list(scores) == ['bright', 'dim', 'all', 'SNR <= 3', 'SNR > 3']
    bright, dim, whole = scores['bright'].figures, scores['dim'].figures, scores['all'].figures
    assert scores['bright'].snr > 3 > scores['dim'].snr
    assert (bright['Pd'], bright['Fa'], bright['pd_at_fa_1e-5']) == (1, 0, 1)
    assert dim['Pd'] < 0.5
    assert dim['Fa'] > 0
    assert whole['Pd'] == pytest.approx((bright['Pd'] + dim['Pd']) / 2)
    assert whole['Fa'] == pytest.approx((bright['Fa'] + dim['Fa']) / 2)
    assert scores['SNR > 3'].figures['pd_at_fa_1e-4'] == 1
    assert np.isnan(whole['pd_at_fa_1e-4']), 'the false alarms are the highest of all'
    assert bright['shooting_Pd'] == 1
    assert bright['AUC_FaPd'] > dim['AUC_FaPd']
    assert bright['CG_finite'] == 6
    assert (bright['track_found_in_time'], bright['track_fragments'], bright['track_false_tracks']) == (1, 0, 0)
    assert bright['track_delay'] == 1, 'two of three frames'
    assert bright['confirmed_Pd'] == bright['confirmed_pd_at_fa_1e-5'] == pytest.approx(5 / 6)
    assert bright['shooting_AUC'] > dim['shooting_AUC']
    rows = scores['dim'].rows
    assert [row.name for row in rows] == [f'{time:04d}' for time in range(6)]
    assert sum(row.hits for row in rows) == round(6 * dim['Pd'])
    assert sum(row.false_pixels for row in rows) == round(6 * 40 * 44 * dim['Fa'])


class Saturated(FrameMapper):
    """Logits of 40 where the image is brightest and 30 at (30, 30): scores of exactly 1 at both."""

    def __init__(self) -> None:
        super().__init__(None)

    def map_batch(self, images: list[np.ndarray]) -> ScoredBatch:
        logits = [np.where(image == image.max(), 40, -40).astype(np.float32) for image in images]
        for values in logits:
            values[30, 30] = 30
        return ScoredBatch([(1 / (1 + np.exp(-values))).astype(np.float32) for values in logits], logits)

    def score_batch(self, images: list[np.ndarray]) -> list[np.ndarray]:
        return list(self.map_batch(images).scores)


def test_logits_tell_saturated_scores_apart(folder: Path) -> None:
    scores = score_sequences(drpca.Detector.from_mapper(Saturated()), folder, names=['bright'])
    for score in scores:
        assert score.figures['Fa'] > 0
        assert score.figures['pd_at_fa_1e-5'] == 1


def test_methods_for_windows_are_scored_likewise(folder: Path) -> None:
    options = {'model.window': 3, 'model.patch_size': 10, 'model.step': 10}
    (score, whole) = score_sequences(drpca.Detector('tensortrain', options=options), folder, names=['bright'], limit=4)
    assert (score.frames, whole.frames, len(score.rows)) == (4, 4, 4)
    assert score.figures['pd_at_fa_1e-4'] == 1
    assert 'confirmed_Pd' not in score.figures


def test_command(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    file = tmp_path / 'scores.json'
    arguments = ['tophat_paper', '--input', str(folder), '--names', 'bright', '--json', str(file)]
    assert sequences.main(arguments) == 0
    shown = capsys.readouterr().out
    assert {'Pd@1e-5', 'SCRG', 'false/min', 'ms'} <= set(shown.split())
    assert ['bright', '6', '6'] in [line.split()[:3] for line in shown.splitlines()]
    first, _ = json.loads(file.read_text())
    assert first['figures']['Pd'] == 1
    assert len(first['rows']) == 6
    for wrong, message in (
        (arguments, 'scores.json'),
        (['tophat', '--input', str(folder), '--names', 'dark'], 'bright, dim'),
        (['tophat'], '--input'),
        (['--input', str(folder)], 'CONFIG'),
        (['--json', 'new.json'], 'give CONFIG'),
        (['--threshold', '0.4'], 'give CONFIG'),
        (['tophat', '--input', str(folder), '--contrast', '0.1'], '--contrast is of synthetic'),
        (['--table', str(file), '--limit', '3'], '--limit'),
        (['--table', str(folder / 'bright' / 'points.txt')], 'points.txt'),
    ):
        assert sequences.main(wrong) == 2
        assert message in error_line(capsys)


@pytest.mark.parametrize('kind', ['masks', 'masks_centroid', 'boxes'])
def test_other_labels_than_points(folder: Path, tmp_path: Path, kind: str) -> None:
    shutil.copytree(folder / 'bright', tmp_path / 'bright')
    (tmp_path / 'bright/points.txt').unlink()
    for time in range(6):
        left = 8 + 2 * time
        if kind == 'boxes':
            # a second target crosses the row of the first between two frames
            boxes = f'{left} 10 {left + 1} 11\n30 {5 + 2 * time} 31 {6 + 2 * time}\n'
            (tmp_path / f'bright/images/{time:04d}.txt').write_text(boxes)
            frame = cv2.imread(str(tmp_path / f'bright/images/{time:04d}.png'), 0)
            frame[5 + 2 * time : 7 + 2 * time, 30:32] = 190
            cv2.imwrite(str(tmp_path / f'bright/images/{time:04d}.png'), frame)
            continue
        mask = np.zeros((40, 44), np.uint8)
        mask[10 : 11 if kind == 'masks_centroid' else 12, left : left + (1 if kind == 'masks_centroid' else 2)] = 255
        (tmp_path / 'bright' / kind).mkdir(exist_ok=True)
        cv2.imwrite(str(tmp_path / 'bright' / kind / f'{time:04d}.png'), mask)
    score, _ = score_sequences(drpca.Detector('tophat_paper'), tmp_path, confirm=(2, 3))
    count = 2 if kind == 'boxes' else 1
    assert (score.targets, score.figures['Pd'], score.figures['track_found']) == (6 * count, 1, count)
    assert score.figures['track_fragments'] == 0
    assert score.snr > 3
    last = f'images/{5:04d}.txt' if kind == 'boxes' else f'{kind}/{5:04d}.png'
    (tmp_path / 'bright' / last).unlink()
    score_sequences(drpca.Detector('tophat'), tmp_path, limit=5)
    with pytest.raises(UserError, match=r'0005.png has no'):
        score_sequences(cast(drpca.Detector, None), tmp_path)  # before any frame is scored


def test_what_is_undefined_without_targets_is_a_dash() -> None:
    figures = {'SCRG': np.inf, 'SCRG_finite': 0.0, 'Pd': np.nan, 'track_found_in_time': np.nan, 'track_targets': 0.0}
    text = sequences.table([SequenceScore('empty', 3, 0, np.nan, 0.001, figures, [])])
    assert 'nan' not in text
    assert 'inf' not in text
    assert '- (0)' in text


def test_table_of_several_files(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    for name, more in (('tophat', []), ('tophat_paper', []), ('short', ['--limit', '3'])):
        arguments = ['tophat_paper' if more else name, '--input', str(folder), *more]
        assert sequences.main([*arguments, '--json', str(tmp_path / f'{name}.json')]) == 0
    capsys.readouterr()
    assert sequences.main(['--table', str(tmp_path / 'tophat.json'), str(tmp_path / 'tophat_paper.json')]) == 0
    header, _, first, second = capsys.readouterr().out.splitlines()
    names = [cell.strip() for cell in header.split('|')[1:-1]]
    assert names == ['detector', 'bright', 'dim', 'all', 'all, confirmed', '(F,D)', "DTUM's AUC", 'ms a frame']
    figures = {score.name: score.figures for score in score_sequences(drpca.Detector('tophat_paper'), folder)}
    cells = [cell.strip() for cell in second.split('|')[1:-1]]
    assert cells[:4] == ['tophat_paper', '1.00 / 1.00', '– / –', '– / –']
    assert cells[5:7] == [f'{figures["all"][name]:.4f}' for name in ('AUC_FaPd', 'shooting_AUC')]
    assert first.split('|')[1].strip() == 'tophat'
    assert sequences.main(['--table', str(tmp_path / 'tophat_paper.json'), '--confirmed']) == 0
    header, _, row = capsys.readouterr().out.splitlines()
    names, cells = ([cell.strip() for cell in line.split('|')[1:-1]] for line in (header, row))
    assert names == ['detector', 'bright', 'dim', 'all', 'found', 'fragments', 'false a minute']
    written = json.loads((tmp_path / 'tophat_paper.json').read_text())
    confirmed = [score['figures'] for score in written if not score['name'].startswith('SNR')]
    assert cells[1] == f'{confirmed[0]["confirmed_pd_at_fa_1e-5"]:.2f} / {confirmed[0]["confirmed_pd_at_fa_1e-4"]:.2f}'
    tracks = [confirmed[-1][f'track_{name}'] for name in ('found_in_time', 'targets', 'fragments', 'false_per_minute')]
    assert cells[4:] == '{:.0f}/{:.0f} {:.0f} {:.0f}'.format(*tracks).split()
    assert sequences.main(['--confirmed']) == 2
    assert 'give --table' in error_line(capsys)
    (tmp_path / 'other').mkdir()
    same = [str(tmp_path / 'tophat.json'), str(shutil.copy(tmp_path / 'tophat.json', tmp_path / 'other'))]
    assert sequences.main(['--table', *same]) == 0
    assert [line.split('|')[1].strip() for line in capsys.readouterr().out.splitlines()[2:]] == same
    (tmp_path / 'none.json').write_text('[]')
    assert sequences.main(['--table', str(tmp_path / 'tophat.json'), str(tmp_path / 'none.json')]) == 2
    assert 'none.json holds no figures' in error_line(capsys)
    assert sequences.main(['--table', str(tmp_path / 'tophat.json'), str(tmp_path / 'short.json')]) == 2
    assert 'short.json: expected figures of the sequences' in error_line(capsys)


def test_frames_are_read_when_their_turn_comes(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    events: list[str] = []
    read, step = FrameSequence.read_frame, TemporalFilter.step
    monkeypatch.setattr(FrameSequence, 'read_frame', lambda self, place: [events.append('read'), read(self, place)][1])
    monkeypatch.setattr(TemporalFilter, 'step', lambda self, found: [events.append('scored'), step(self, found)][1])
    score_sequences(drpca.Detector('tophat'), folder, names=['bright'], confirm=(2, 3))
    assert events == ['read', 'scored'] * 6


def test_shifts_of_the_whole_picture_are_taken_out_before_targets_are_confirmed(tmp_path: Path) -> None:
    scene = cv2.GaussianBlur(np.random.default_rng(0).normal(90, 60, (48, 168)), None, 3)
    scene[20:23, 50:53] += 100
    (tmp_path / 'shaken' / 'images').mkdir(parents=True)
    shifts = [0, 16, 32, 8, 24, 40]
    for number, shift in enumerate(shifts, 1):
        cv2.imwrite(str(tmp_path / f'shaken/images/{number:04d}.png'), scene[:, shift : shift + 128])
    (tmp_path / 'shaken' / 'points.txt').write_text(''.join(f'{51 - shift} 21\n' for shift in shifts))
    confirmed = [
        score_sequences(drpca.Detector('tophat'), tmp_path, confirm=(3, 5), stabilise=stabilise)[0].figures[
            'confirmed_Pd'
        ]
        for stabilise in (False, True)
    ]
    assert confirmed == pytest.approx([0, 4 / 6]), 'the first two of three are not reported'


def test_lists_of_low_snr_are_of_their_data_set_alone(folder: Path, tmp_path: Path) -> None:
    for name in ('raw/Sequence47', 'raw/Sequence90', 'mine/Sequence47'):
        shutil.copytree(folder / ('dim' if name.endswith('90') else 'bright'), tmp_path / name)
    (tmp_path / 'NUDT-MIRSDT').symlink_to('raw')
    groups = {name: score_sequences(drpca.Detector('tophat'), tmp_path / name, limit=2)
              for name in ('NUDT-MIRSDT', 'mine')}  # fmt: skip
    assert [score.name for score in groups['NUDT-MIRSDT']][-2:] == ['SNR <= 3', 'SNR > 3']
    low, high = groups['NUDT-MIRSDT'][-2:]
    assert low.snr > 3 > high.snr, 'by the list, whatever is measured'
    assert [score.name for score in groups['mine']] == ['Sequence47', 'all']


def test_sequences_without_points_are_refused_first(folder: Path, tmp_path: Path) -> None:
    (tmp_path / 'bare' / 'images').mkdir(parents=True)
    for number in range(2):
        cv2.imwrite(str(tmp_path / 'bare' / 'images' / f'{number:04d}.png'), np.zeros((20, 20), np.uint8))
    with pytest.raises(UserError, match='no file of points'):
        score_sequences(drpca.Detector('tophat'), tmp_path)
    (tmp_path / 'bare' / 'points.txt').write_text('3 4\n20 4\n')
    with pytest.raises(UserError, match=r'line 2: a target outside of its frame of 20 × 20'):
        score_sequences(drpca.Detector('tophat'), tmp_path)


def test_networks_of_windows_refuse_short_and_mixed_sequences_first(folder: Path, tmp_path: Path) -> None:
    class Window(Saturated):
        frames, reported = 5, (4,)

        def map_window(self, window: list[np.ndarray], memory: object) -> ScoredBatch:
            return self.map_batch(window[-1:])

    detector = drpca.Detector.from_mapper(Window())
    shutil.copytree(folder, tmp_path / 'mine')
    assert score_sequences(detector, tmp_path / 'mine', names=['bright'], limit=5)[0].frames == 5
    with pytest.raises(UserError, match='Sequence bright, cut to 4, has 4 frames, fewer than a window of 5'):
        score_sequences(detector, tmp_path / 'mine', limit=4)
    cv2.imwrite(str(tmp_path / 'mine/dim/images/0003.png'), np.zeros((44, 40), np.uint8))
    with pytest.raises(UserError, match=r'0003.png is 44 × 40, other frames of sequence dim 40 × 44'):
        score_sequences(detector, tmp_path / 'mine')


@pytest.mark.slow
def test_leave_one_out(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    for seed, name in enumerate(('one', 'other')):
        folder, made = tmp_path / 'both' / name, generate_sequence(seed, 9, 40, 1)
        (folder / 'images').mkdir(parents=True)
        for place, frame in enumerate(made.frames):
            cv2.imwrite(str(folder / 'images' / f'{place:04d}.png'), frame)
        (folder / 'points.txt').write_text(''.join(f'{x} {y}\n' for y, x in made.positions[:, 0]))
    tool, written = load_tool('studies/leave_one_out'), tmp_path / 'one_out.json'
    given = ['tensor_rpcanet_synthetic_sequence', '--epochs', '2', '--work-dir', str(tmp_path), '--json', str(written)]
    assert tool.main([*given, '--input', str(tmp_path / 'both')]) == 0
    for name in ('one', 'other'):
        (config,) = (tmp_path / f'without_{name}').glob('*/seed_0/tensor_rpcanet_synthetic_sequence.py')
        assert f"'{name}'" in config.read_text(), 'it is left out'
    scores = json.loads(written.read_text())
    assert [(score['name'], score['frames']) for score in scores] == [('one', 9), ('other', 9), ('all', 18)]
    capsys.readouterr()
    assert sequences.main(['--table', str(written)]) == 0
    assert '| one_out |' in capsys.readouterr().out
    shutil.copy(tmp_path / 'both/one/images/0004.png', tmp_path / 'both/other/images/0002.png')
    assert tool.main([*given, '--input', str(tmp_path / 'both'), '--overwrite']) == 2
    assert 'sequence one of one is also in other, as other' in error_line(capsys)
    shutil.rmtree(tmp_path / 'both' / 'one')
    assert tool.main([*given, '--input', str(tmp_path / 'both')]) == 2
    assert 'holds one sequence: expected at least two' in error_line(capsys)
