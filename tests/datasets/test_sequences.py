"""Sequences on disk, windows of them, and the synthetic ones."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import torch
from scipy.io import savemat

from drpca.datasets import RandomCrop, RandomTranspose, SequenceDataset
from drpca.datasets.sequence_dataset import made_masks
from drpca.datasets.sequences import Window, find_sequences, open_sequences, windows_of
from drpca.datasets.synthetic_sequence import generate_sequence, generate_sequences, random_sequence
from drpca.errors import UserError
from drpca.evaluation.sequences import track_figures
from tests.datasets.data_trees import frame, save, target_mask
from tests.support import shared_path


def write_frames(folder: Path, count: int, form: str = '{:04d}.png', first: int = 1, masks: Path | None = None) -> None:
    for number in range(first, first + count):
        name = form.format(number)
        seed = f'{"/".join(folder.parts[-3:])}/{name}'
        save(frame(seed), folder / name)
        if masks:
            save(target_mask(seed), masks / name)


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    """Five sequences of four frames with points; of the last target in the last frame there is none."""
    for number in range(1, 6):
        write_frames(tmp_path / f'mine/seq{number}/images', 4)
        (tmp_path / f'mine/seq{number}/points.txt').write_text('3 5\n4 6\n20 7 9 8\nNone\n')
    return tmp_path


# Windows


def test_windows_by_placement_and_border() -> None:
    def frames(*arguments: object) -> list[tuple[int, ...]]:
        return [window.frames for window in windows_of(4, 3, *arguments)]  # type: ignore[arg-type]

    assert windows_of(4, 3)[:2] == [Window((0, 0, 0), (0,)), Window((0, 0, 1), (1,))]
    assert frames('causal', 'repeat') == [(0, 0, 0), (0, 0, 1), (0, 1, 2), (1, 2, 3)]
    assert frames('causal', 'reflect') == [(2, 1, 0), (1, 0, 1), (0, 1, 2), (1, 2, 3)], 'those that follow, reversed'
    assert frames('causal', 'inside') == [(0, 1, 2), (1, 2, 3)]
    assert windows_of(4, 3, 'centred') == [
        Window((0, 0, 1), (0,)), Window((0, 1, 2), (1,)), Window((1, 2, 3), (2,)), Window((2, 3, 3), (3,)),
    ]  # fmt: skip
    assert windows_of(4, 3, 'block') == [Window((0, 1, 2), (0, 1, 2)), Window((1, 2, 3), (1, 2, 3))]
    assert frames('block', 'inside') == [(0, 1, 2)], 'the rest has no block of its own'
    with pytest.raises(UserError, match='Mine has 4 frames, fewer than a window of 5'):
        windows_of(4, 5, name='Mine')
    with pytest.raises(UserError, match=r"placement of windows 'middle'.*causal"):
        windows_of(4, 3, 'middle')  # type: ignore[arg-type]


# Layouts


def test_every_layout_gives_frames_parts_and_labels(tmp_path: Path) -> None:
    nudt = tmp_path / 'nudt'
    write_frames(nudt / 'Sequence2/images', 2, '{:05d}.png', masks=nudt / 'Sequence2/masks')
    write_frames(nudt / 'Sequence2/masks_centroid', 2, '{:05d}.png')
    (nudt / 'Sequence10/Mix').mkdir(parents=True)
    for number in (1, 2):
        savemat(nudt / f'Sequence10/Mix/{number:05d}.mat', {'Mix': np.full((5, 24, 32), number, np.uint8)})
    shutil.copytree(nudt / 'Sequence2/masks', nudt / 'Sequence10/masks')
    for name, number in (('train', 2), ('test', 10)):
        (nudt / f'{name}.txt').write_text(f'Sequence{number}/Mix/00001.mat\r\nSequence{number}/Mix/00002.mat\r\n')
    irdst = tmp_path / 'irdst'
    write_frames(irdst / 'images/7', 3, '{}.png', masks=irdst / 'masks/7')
    (irdst / 'img_idx').mkdir()
    (irdst / 'img_idx/train_IRDST-simulation.txt').write_text('7/1\n7/2\n7/3\n')
    satellite = tmp_path / 'satellite'
    for part in ('train', 'val'):
        write_frames(satellite / f'{part}/0001/img', 2, masks=satellite / f'{part}/0001/mask')
    dmist = tmp_path / 'dmist'
    for part, name in (('train', 'data1'), ('test60', 'data2'), ('test100', 'data3')):
        write_frames(dmist / f'images/{part}/{name}', 12, '{}.png', 0)
        for number in range(12):
            (dmist / f'images/{part}/{name}/{number}.txt').write_text('3 4 5 6\n10,11,12,13\n')
    ground = tmp_path / 'ground'
    write_frames(ground / 'data/data1', 2)
    (ground / 'anno').mkdir()
    (ground / 'anno/data1.txt').write_text('1 2\n0 0\n')

    def opened(dataset: str, split: str) -> list[tuple[str, int, list[str]]]:
        return [(one.name, len(one), one.labels) for one in open_sequences(dataset, split, tmp_path)]  # type: ignore[misc]

    assert opened('NUDT', 'trainval') == [('Sequence2', 2, ['masks', 'points'])]
    assert opened('nudt', 'test') == [('Sequence10', 2, ['masks'])]
    (mixed,) = open_sequences('nudt', 'test', tmp_path)
    assert mixed.read_frame(1).dtype == np.uint8
    assert (mixed.read_frame(1) == 2).all()
    assert opened('irdst', 'trainval') == [('7', 3, ['masks'])]
    assert opened('satellite', 'train') == [('train/0001', 2, ['masks'])]
    assert opened('satellite', 'val') == [('val/0001', 2, ['masks'])], 'of one name'
    assert opened('dmist', 'test60') == [('data2', 12, ['boxes'])]
    (boxed,) = open_sequences('dmist', 'test100', tmp_path)
    assert [file.stem for file in boxed.frames[9:]] == ['9', '10', '11'], 'by number'
    assert np.argwhere(boxed.read_label(0, 'boxes', (24, 32)))[[0, -1]].tolist() == [[4, 3], [13, 12]]
    assert opened('ground', 'all') == [('data1', 2, ['points'])]
    shutil.copytree(ground, tmp_path / 'toolbox/dataset')
    assert opened('toolbox', 'all') == [('dataset/data1', 2, ['points'])], 'the folder above'
    with pytest.raises(UserError, match=r"no split 'test'. Known: train, trainval, all, test100, test60"):
        open_sequences('dmist', 'test', tmp_path)


def test_a_folder_is_a_part_among_parts_alone(tmp_path: Path) -> None:
    def parts(*folders: str) -> list[tuple[str, str]]:
        root = tmp_path / str(len(folders)) / folders[0].replace('/', '_')
        for number, folder in enumerate(folders):
            write_frames(root / folder, 2, first=1 + 2 * number)
        return [(one.part, one.name) for one in find_sequences(root)]

    assert parts('valley/a', 'hills/a') == [('', 'hills/a'), ('', 'valley/a')]
    assert parts('test/a', 'b') == [('', 'b'), ('', 'test/a')], 'the name of a flight'
    assert parts('testflight/a') == [('', 'testflight/a')]
    assert parts('test/a') == [('test', 'a')]
    assert parts('images/train_day/a', 'images/val_day/a') == [('train_day', 'train_day/a'), ('val_day', 'val_day/a')]


def test_sequences_are_divided_whole_and_never_shared(plain: Path) -> None:
    names = {split: [one.name for one in open_sequences('mine', split, plain)] for split in ('train', 'val', 'test')}
    assert sorted(name for part in names.values() for name in part) == [f'seq{number}' for number in range(1, 6)]
    assert [len(names[split]) for split in names] == [3, 1, 1]
    for name, number in (('train', 1), ('test', 2)):
        (plain / f'mine/{name}.txt').write_text(f'seq{number}/0001\n')
    assert [one.name for one in open_sequences('mine', 'test', plain)] == ['seq2']
    (plain / 'mine/test.txt').write_text('seq2/0001\nseq1/0004\n')
    with pytest.raises(UserError, match=r'sequence seq1 of (train|test) is also in (train|test), as seq1'):
        open_sequences('mine', 'train', plain)
    shutil.copytree(plain / 'mine/seq1', plain / 'mine/other')
    (plain / 'mine/test.txt').write_text('other/0001\n')
    with pytest.raises(UserError, match=r'is also in (train|test), as (seq1|other)'):
        open_sequences('mine', 'train', plain)


@pytest.mark.parametrize('form', ['{:04d}.png', '{:04d}.bmp'])
def test_no_frame_is_in_two_splits_under_whatever_name(tmp_path: Path, form: str) -> None:
    root, names = tmp_path / 'cut', [form.format(number) for number in (1, 2, 3, 4)]
    for part in ('train/flightA', 'test60/flightB', 'test100/flightC'):
        write_frames(root / part, 4, form)
    shutil.copy(root / 'test60/flightB' / names[3], root / 'test100/flightC' / names[2])
    assert len(open_sequences('cut', 'all', tmp_path)) == 3, 'two tests may share frames'
    shutil.copy(root / 'train/flightA' / names[2], root / 'test100/flightC' / names[1])
    for split in ('train', 'test60', 'all'):
        with pytest.raises(UserError) as caught:
            open_sequences('cut', split, tmp_path)
        for place in (f'train/flightA/{names[2]}', f'test100/flightC/{names[1]}', 'sequence flight'):
            assert place in str(caught.value)
        assert '\n' not in str(caught.value)


def test_a_sequence_cut_in_two_is_refused(tmp_path: Path) -> None:
    root = tmp_path / 'cut'
    for first, part in ((1, 'train'), (3, 'val')):
        write_frames(root / f'{part}/seq1', 2, first=first)
    message = r'seq1 of train goes on in val, from train/seq1/0002.png to val/seq1/0003.png: .*two recordings'
    with pytest.raises(UserError, match=message):
        open_sequences('cut', 'train', tmp_path)
    shutil.rmtree(root / 'val/seq1')
    write_frames(root / 'val/seq1', 2)
    assert len(open_sequences('cut', 'train', tmp_path)) == 1, 'two recordings of one name both begin with frame 1'


def test_sequences_that_no_list_divides_share_no_frames_either(plain: Path) -> None:
    test, train = (open_sequences('mine', split, plain)[0].frames[0] for split in ('test', 'train'))
    shutil.copy(test, train)
    with pytest.raises(UserError, match='is also in'):
        open_sequences('mine', 'val', plain)


def test_lists_of_one_part_add_up_and_training_leaves_out_what_validates(plain: Path) -> None:
    for name, numbers in (('trainval', (1, 3, 4)), ('val', (3,)), ('test_easy', (2,)), ('test_hard', (5,))):
        (plain / f'mine/{name}.txt').write_text(''.join(f'seq{number}/0001\n' for number in numbers))

    def opened(split: str) -> list[str]:
        return [one.name for one in open_sequences('mine', split, plain)]

    assert (opened('train'), opened('val'), opened('test')) == (['seq1', 'seq4'], ['seq3'], ['seq2', 'seq5'])
    (plain / 'mine/trainval.txt').unlink()
    with pytest.raises(UserError, match="no split 'train'"):
        opened('train')


# Labels and bad input


def test_points_become_targets_around_them(plain: Path) -> None:
    sequence = find_sequences(plain / 'mine')[0]
    assert [len(points) for points in sequence.read_points()] == [1, 1, 2, 0]
    mask = sequence.read_label(2, 'points', (24, 32), radius=1)
    assert np.argwhere(mask).min(axis=0).tolist() == [6, 8]
    assert mask.sum() == 18
    assert mask[7, 20]
    assert mask[8, 9]
    (plain / 'mine/seq1/points.txt').write_text('3 5\n0 0\n0 0 9 8\nNone\n')
    sequence = find_sequences(plain / 'mine')[0]
    assert [points.tolist() for points in sequence.read_points()] == [[[5, 3]], [], [[8, 9]], []]
    places = [cast(np.ndarray, sequence.read_places(place, 'points')) for place in range(4)]
    figures = track_figures([[], [], [(1, 8, 9)], []], places, rate=1)
    assert (figures.targets, figures.found, figures.delay) == (2, 1, 0), 'of two targets, the second'


BAD = {
    'gap': 'frame 2 is missing between 0001.png and 0003.png',
    'few labels': r'points.txt has 2 lines for 4 frames',
    'many labels': r'points.txt has 5 lines for 4 frames',
    'text': r"points.txt, line 1: expected numbers, got 'here'",
    'odd': r"points.txt, line 1: expected x y for each target, got '3 4 5'",
    'outside': r'points.txt, line 1: a target outside of its frame of 32 × 24',
    'mixed': r'0003.png is 10 × 32, other frames of sequence seq1 24 × 32',
    'long': r'Sequence seq1 has 4 frames, fewer than a window of 8',
    'unlabelled': r'Sequence seq1 has no labels',
    'unnumbered': r'expected frames with numbers',
    'none': r'holds no sequences',
}


@pytest.mark.parametrize('change', BAD)
def test_bad_sequences_are_one_line(plain: Path, change: str) -> None:
    folder = plain / 'mine/seq1'
    points = folder / 'points.txt'
    lines = points.read_text().splitlines()
    first = {'text': 'here', 'odd': '3 4 5', 'outside': '40 2'}.get(change)
    if first:
        points.write_text('\n'.join([first, *lines[1:]]))
    elif change == 'gap':
        (folder / 'images/0002.png').unlink()
    elif change == 'few labels':
        points.write_text('\n'.join(lines[:2]))
    elif change == 'many labels':
        points.write_text('\n'.join([*lines, '1 2']))
    elif change == 'mixed':
        save(frame('x', (10, 32)), folder / 'images/0003.png')
    elif change == 'unlabelled':
        points.unlink()
    elif change == 'unnumbered':
        (folder / 'images/0002.png').rename(folder / 'images/late.png')
    elif change == 'none':
        shutil.rmtree(plain / 'mine')
        (plain / 'mine').mkdir()
    with pytest.raises(UserError, match=BAD[change]) as caught:
        SequenceDataset('mine', 'all', plain, frames=8 if change == 'long' else 2)
    assert '\n' not in str(caught.value)


# The data set


def test_samples_are_windows_with_the_labels_of_what_is_reported(plain: Path) -> None:
    for cache in (True, False):
        data = SequenceDataset('mine', 'all', plain, frames=3, cache=cache, sequences=['seq2', 'seq4'])
        assert len(data) == 8
        sample = data[6]
        expected = np.stack([find_sequences(plain / 'mine')[3].read_frame(place) for place in range(3)]) / 255
        assert sample['image'].dtype == sample['gt_mask'].dtype == torch.float32
        np.testing.assert_allclose(sample['image'].numpy(), expected, atol=1e-6)
        assert sample['gt_mask'].shape == (1, 24, 32)
        assert sample['gt_mask'].sum() == 18
        assert (sample['name'], sample['index']) == ('seq4/000002', 6)
    block = SequenceDataset('mine', 'all', plain, frames=3, placement='block', without=['seq1'], size=(12, 16))[1]
    assert block['image'].shape == block['gt_mask'].shape == (3, 12, 16)
    assert [bool(mask.any()) for mask in block['gt_mask']] == [True, True, False]
    assert (block['ori_height'], block['ori_width']) == (24, 32)
    assert len(SequenceDataset('mine', 'all', plain, frames=3, limit=0.5)) == 10
    with pytest.raises(UserError, match=r"Unknown sequence of mine all 'seq9'"):
        SequenceDataset('mine', 'all', plain, frames=3, without=['seq9'])
    with pytest.raises(UserError, match='TargetCopyPaste takes single frames'):
        SequenceDataset('mine', 'all', plain, frames=3, pipeline=[{'type': 'TargetCopyPaste'}])


def test_transforms_move_all_frames_of_a_window_alike() -> None:
    frames = np.random.default_rng(0).random((10, 14, 3), np.float32)
    sample = {'image': frames, 'gt_mask': frames[..., :1] > 0.9}
    for transform in (RandomCrop(12), RandomTranspose(1.0)):
        whole = transform({**sample, 'rng': np.random.default_rng(1)})
        for place in range(3):
            single = {
                'image': frames[..., place],
                'gt_mask': sample['gt_mask'][..., 0],
                'rng': np.random.default_rng(1),
            }
            alone = transform(single)
            np.testing.assert_array_equal(whole['image'][..., place], alone['image'])
            np.testing.assert_array_equal(whole['gt_mask'][..., 0], alone['gt_mask'])


def test_the_synthetic_data_set_needs_no_files() -> None:
    small = {'train': 2, 'val': 1, 'test': 1, 'num_frames': 5, 'size': 32}
    parts = {split: SequenceDataset(split=split, frames=4, synthetic=small) for split in ('train', 'val', 'test')}
    assert [len(part) for part in parts.values()] == [10, 5, 5]
    assert parts['train'][3]['image'].shape == (4, 32, 32)
    pictures = [part[4]['image'].numpy().tobytes() for part in parts.values()]
    assert len({*pictures}) == 3, 'other sequences in each split'
    assert SequenceDataset(frames=4, synthetic=small)[4]['image'].numpy().tobytes() == pictures[0]
    with pytest.raises(UserError, match='Unknown option of synthetic sequences'):
        SequenceDataset(synthetic={'frames': 3})


def test_written_sequences_are_those_made_without_files(tmp_path: Path) -> None:
    options = {'train': 2, 'val': 1, 'test': 1, 'num_frames': 6, 'size': 32, 'seed': 3}
    root = generate_sequences(tmp_path, 4, 6, 32, 3)
    for split, kind in (('train', 'masks'), ('val', 'points'), ('all', 'points'), ('test', 'auto')):
        written = SequenceDataset(root.name, split, tmp_path, frames=2, labels=kind)
        made = SequenceDataset(split=split, frames=2, labels=kind, synthetic=options)
        assert sorted(written.names) == sorted(made.names)
        for index in range(len(made)):
            other = written[written.names.index(made[index]['name'].partition('/')[0]) * 6 + index % 6]
            assert made[index]['name'] == other['name']
            assert torch.equal(made[index]['image'], other['image'])
            assert torch.equal(made[index]['gt_mask'], other['gt_mask'])


@pytest.mark.parametrize('passing', [True, False])
def test_points_and_boxes_of_made_targets(passing: bool) -> None:
    made = generate_sequence(4, 20, 48, num_targets=3, speed=(2.5, 3.0), spikes=0, passing=passing)
    points, boxes = (made_masks(made, kind, 1) for kind in ('points', 'boxes'))
    assert (boxes >= made.gt_masks).all()
    assert boxes.any(axis=2).sum() == made.gt_masks.any(axis=2).sum(), 'no larger than what is in them'
    for place, targets in enumerate(made.positions):
        pixels = np.floor(targets + 0.5).astype(int)
        inside = pixels[((pixels >= 0) & (pixels < 48)).all(axis=1)]
        assert all(points[place, row, column] for row, column in inside)
        assert points[place].sum() <= 9 * len(inside)
        assert points[place].any() == bool(len(inside))


def test_real_points_lie_on_bright_pixels() -> None:
    data = SequenceDataset('sequences', 'all', shared_path('datasets', 'sequences').parent, frames=2, cache=False)
    assert len(data.names) == 6
    assert len(data) == 600
    sample = data[data.names.index('sequence11') * 100 + 50]
    last, mask = sample['image'][-1], sample['gt_mask'][0] > 0
    assert last[mask].max() > last.median() + 0.1


# Synthetic sequences


def test_passing_targets_enter_leave_and_meet() -> None:
    made = generate_sequence(4, 41, 48, num_targets=3, speed=(2.5, 3.0), spikes=0, passing=True)
    inside = ((made.positions >= 0) & (made.positions < 48)).all(axis=-1)
    assert not inside[0].all()
    assert not inside[-1].all()
    distance = np.linalg.norm(made.positions[:, 0] - made.positions[:, 1], axis=-1)
    assert 18 <= distance.argmin() <= 23
    assert distance.min() < 1
    lit = made.gt_masks.any(axis=(1, 2))
    assert lit[20]
    assert not lit.all() or not inside.all()


def still(**options: object) -> np.ndarray:
    quiet = {'num_targets': 0, 'spikes': 0.0, 'drift': (0.0, 0.0), 'noise': 0.004}
    return generate_sequence(1, 12, 48, **quiet | options).frames.astype(float)  # type: ignore[arg-type]


def test_shaking_clouds_and_blinking_change_what_is_still_otherwise() -> None:
    quiet = still().std(axis=0)
    assert quiet.mean() < 1.5
    assert still(jitter=1.0).std(axis=0).mean() > 1.5 * quiet.mean()
    assert still(clouds=0.2).std(axis=0).mean() > 1.5 * quiet.mean()
    blinking = still(blinkers=2, snr=(30.0, 31.0)).std(axis=0)
    assert blinking.max() > 10 * quiet.mean()
    assert np.median(blinking) < 1.5, 'at their places alone'
    # A pan moves all that is seen, for as long as it lasts.
    panned = still(pan=3.0, contrast=0.1)
    moved = np.abs(np.diff(panned, axis=0)).mean(axis=(1, 2))
    assert moved.max() > 5 * quiet.mean()
    assert moved.min() < 2, 'in turns'
    # What belongs to the background stays: corners are bright and few, vegetation is sharp.
    corners, leaves = still(corners=20, snr=(30.0, 60.0)), still(vegetation=0.1)
    assert max(corners.std(axis=0).mean(), leaves.std(axis=0).mean()) < 1.5
    extra = corners.mean(axis=0) - still().mean(axis=0)
    assert extra.max() > 10
    assert np.median(np.abs(extra)) < 1
    assert np.abs(np.diff(leaves, axis=2)).mean() > 3 * np.abs(np.diff(still(), axis=2)).mean()
    with pytest.raises(UserError, match="Unknown scene 'moon'"):
        still(scene='moon')


def test_a_target_narrower_than_a_pixel_has_a_mask_wherever_it_lies() -> None:
    made = generate_sequence(2, 30, 32, num_targets=1, widths=(0.3, 0.31), speed=(0.3, 0.4), spikes=0)
    areas = made.gt_masks.sum(axis=(1, 2))
    assert areas.min() >= 1
    assert areas.max() <= 4


def test_a_seed_tells_all_of_a_random_sequence() -> None:
    one, other = random_sequence(5, 3, 32), random_sequence(5, 3, 32)
    assert np.array_equal(one.frames, other.frames)
    assert not np.array_equal(one.frames, random_sequence(6, 3, 32).frames)
