import shutil
from pathlib import Path

import pytest

from drpca.datasets import find_datasets, open_split, splits
from drpca.datasets.check import check_datasets
from drpca.datasets.splits import available_splits, find_dataset, read_list
from drpca.errors import UserError
from drpca.names import KNOWN_DATASETS, canonical_name

NAMES = [f'{i:03d}' for i in range(10)]


@pytest.mark.parametrize(
    ('spelling', 'name'),
    [
        ('NUAA-SIRST', 'SIRSTv1'),
        ('sirst-v1', 'SIRSTv1'),
        ('SIRST_V2', 'SIRSTv2'),
        ('nudt sirst', 'NUDT-SIRST'),
        ('IRSTD-1K', 'IRSTD-1k'),
        ('SIRST-Aug', 'sirst_aug'),
        ('Synthetic', 'synthetic'),
        ('mine', 'mine'),
    ],
)
def test_canonical_name(spelling, name):
    assert canonical_name(spelling) == name


def test_no_two_data_sets_share_a_name():
    keys = [key for info in KNOWN_DATASETS.values() for key in info.keys]
    assert len(keys) == len(set(keys))


def test_kit(kit_root):
    counts = [len(open_split('nuaa-sirst', s, kit_root)) for s in ('train', 'val', 'trainval', 'test', 'all')]
    assert counts == [6, 2, 8, 2, 10]
    split = open_split('SIRSTv1', 'test', kit_root)
    assert (split.dataset, split.split, split.names) == ('SIRSTv1', 'test', ['Misc_9', 'Misc_10'])
    assert split.root == kit_root / 'SIRSTdevkit-master'
    assert split.mask_path('Misc_9').name == 'Misc_9_pixels0.png'
    assert split.read_image('Misc_9').shape == (24, 32)
    assert split.read_mask('Misc_9').sum() == 6
    assert open_split('SIRSTv1', 'TEST_half', kit_root).names == [f'Misc_{i}' for i in range(1, 6)]
    assert open_split('SIRSTdevkit-master', 'test', kit_root).dataset == 'SIRSTv1'
    with pytest.raises(UserError, match="no image 'Misc_1'"):
        split.image_path('Misc_1')


def test_kit_of_v2_is_told_apart_by_its_lists(kit_root):
    with pytest.raises(UserError, match='SIRSTv2 is not under'):
        open_split('SIRSTv2', 'test', kit_root)
    splits = kit_root / 'SIRSTdevkit-master/Splits'
    for split in ('train', 'val', 'trainval', 'test'):
        shutil.copy(splits / f'{split}_v1.txt', splits / f'{split}_full.txt')
    (splits / 'test_full.txt').write_text('Misc_1\n')
    assert set(find_datasets(kit_root)) == {'SIRSTv1', 'SIRSTv2'}
    assert open_split('SIRSTv2', 'test', kit_root).names == ['Misc_1']
    assert open_split('SIRSTv1', 'test', kit_root).names == ['Misc_9', 'Misc_10']
    for file in splits.glob('*_v1.txt'):
        file.unlink()
    assert set(find_datasets(kit_root)) == {'SIRSTv2'}


def test_two_parts_and_the_fixed_division_of_trainval(two_part_root):
    names = ('train', 'val', 'trainval', 'test', 'all')
    split = {name: open_split('nudt_sirst', name, two_part_root) for name in names}
    assert [len(s) for s in split.values()] == [8, 2, 10, 4, 14]
    assert sorted(split['train'].names + split['val'].names) == split['trainval'].names
    assert open_split('NUDT-SIRST', 'val', two_part_root).names == split['val'].names
    assert '80/20' in split['val'].source


def test_the_division_is_pinned(plain_root):
    """A figure on 'val' means the same images tomorrow."""
    assert open_split('mine', 'val', plain_root).names == ['f06', 'f07', 'f09', 'f19']
    assert open_split('mine', 'test', plain_root).names == ['f03', 'f08', 'f10', 'f16']


def test_train_beside_val_is_taken_as_it_is(tmp_path, write_pairs):
    for part, names in (('train', NAMES[:6]), ('val', NAMES[6:8]), ('test', NAMES[8:])):
        write_pairs(tmp_path / 'mine' / part / 'images', tmp_path / 'mine' / part / 'masks', names)
    assert open_split('mine', 'train', tmp_path).names == NAMES[:6]
    assert open_split('mine', 'val', tmp_path).names == NAMES[6:8]
    assert open_split('mine', 'trainval', tmp_path).names == NAMES[:8]


def test_two_folders_of_one_part_are_refused(tmp_path, write_pairs):
    for part, names in (('train', NAMES[:6]), ('training', NAMES[6:8]), ('test', NAMES[8:])):
        write_pairs(tmp_path / 'mine' / part / 'images', tmp_path / 'mine' / part / 'masks', names)
    with pytest.raises(UserError, match=r'train/images and .*training/images are both the train images'):
        open_split('mine', 'test', tmp_path)
    (report,) = check_datasets(data_root=tmp_path).reports
    assert [finding.kind for finding in report.problems] == ['two folders']


def test_plain_folders(plain_root):
    parts = [set(open_split('mine', s, plain_root).names) for s in ('train', 'val', 'test')]
    assert [len(part) for part in parts] == [12, 4, 4]
    assert set.union(*parts) == set(open_split('mine', 'all', plain_root).names)
    assert set(open_split('mine', 'trainval', plain_root).names) == parts[0] | parts[1]


@pytest.mark.parametrize(
    ('folder', 'train', 'test'),
    [
        ('NUAA-SIRST', 'img_idx/train_NUAA-SIRST.txt', 'img_idx/test_NUAA-SIRST.txt'),
        ('sirst', 'img_idx/train_NUAA-SIRST.txt', 'img_idx/test_NUAA-SIRST.txt'),
        ('IRSTD-1K', 'trainval.txt', 'test.txt'),
        ('NUDT-SIRST', '50_50/train.txt', '50_50/test.txt'),
        ('my_frames', 'img_idx/train_my_frames.txt', 'img_idx/test_my_frames.txt'),
        ('my_frames', 'lists/train.txt', 'lists/test.txt'),
    ],
)
def test_layouts_with_lists(tmp_path, write_pairs, folder, train, test):
    root = tmp_path / folder
    write_pairs(root / 'images', root / 'masks', NAMES)
    for file, names in ((train, NAMES[:5]), (test, NAMES[5:])):
        (root / file).parent.mkdir(exist_ok=True)
        (root / file).write_text('\n'.join(names) + '\n')
    (root / 'readme.txt').write_text('not a list')
    assert open_split(folder, 'trainval', tmp_path).names == NAMES[:5]
    assert open_split(folder.lower(), 'test', tmp_path).names == NAMES[5:]
    assert [len(open_split(folder, s, tmp_path)) for s in ('train', 'val')] == [4, 1]
    name, tree = find_dataset(folder, tmp_path)
    assert 'readme' not in available_splits(name, tree)


def test_official_irstd_1k_archive_in_a_wrapping_folder(tmp_path, write_pairs):
    root = tmp_path / 'IRSTD-1k' / 'IRSTD-1k'
    names = [f'XDU{i}' for i in range(10)]
    write_pairs(root / 'IRSTD1k_Img', root / 'IRSTD1k_Label', names)
    assert len(open_split('irstd1k', 'all', tmp_path)) == 10
    (root / 'test.txt').write_text('XDU3\nXDU4')
    (root / 'trainval.txt').write_text('XDU0\nXDU1\nXDU2')
    assert open_split('IRSTD-1K', 'test', tmp_path).names == ['XDU3', 'XDU4']


def test_folder_case_and_mixed_suffixes(tmp_path, write_pairs):
    root = tmp_path / 'Mine'
    write_pairs(root / 'Images', root / 'MASKS', ['a'], suffix='.bmp')
    write_pairs(root / 'Images', root / 'MASKS', ['b'], suffix='.PNG')
    (root / 'Images' / '._a.png').write_bytes(b'left by a file manager')
    split = open_split('MINE', 'all', tmp_path)
    assert split.dataset == 'Mine'
    assert split.names == ['a', 'b']
    assert split.image_path('a').suffix == '.bmp'


def test_list_quirks(tmp_path):
    path = tmp_path / 'test.txt'
    lines = b'Misc_1.png', b'  Misc_2\t ', b'', b'images/Misc_3.PNG', b'images\\v1.5', b'Misc_4'
    path.write_bytes(b'\xef\xbb\xbf' + b'\r\n'.join(lines))
    assert [name for _, name in read_list(path)] == ['Misc_1', 'Misc_2', 'Misc_3', 'v1.5', 'Misc_4']
    assert [folders for folders, _ in read_list(path)] == [[], [], ['images'], ['images'], []]
    path.write_bytes(b'\xff\xfe\x00\x81')
    with pytest.raises(UserError, match=r'test\.txt: expected UTF-8'):
        read_list(path)


def test_lists_of_the_same_name_in_two_folders(tmp_path, write_pairs):
    root = tmp_path / 'mine'
    write_pairs(root / 'images', root / 'masks', NAMES)
    for folder, names in (('img_idx', NAMES[:2]), ('50_50', NAMES[2:4])):
        (root / folder).mkdir()
        (root / folder / 'test.txt').write_text('\n'.join(names))
    assert open_split('mine', 'test', tmp_path).names == NAMES[:2]
    assert open_split('mine', '50_50/test', tmp_path).names == NAMES[2:4]


def test_data_root_comes_from_the_environment_or_the_working_folder(plain_root, monkeypatch):
    monkeypatch.setenv('DRPCA_DATA', str(plain_root))
    assert len(open_split('mine', 'all')) == 20
    monkeypatch.delenv('DRPCA_DATA')
    (plain_root / 'elsewhere').mkdir()
    monkeypatch.chdir(plain_root / 'elsewhere')
    with pytest.raises(UserError, match=r'Data root datasets is not a folder.*--data-root or DRPCA_DATA'):
        open_split('mine', 'all')
    shutil.copytree(plain_root / 'mine', 'datasets/mine')
    assert len(open_split('mine', 'all')) == 20


def test_data_set_not_found(plain_root, tmp_path_factory):
    with pytest.raises(UserError, match=r'holds no data set'):
        open_split('mine', 'all', tmp_path_factory.mktemp('empty'))
    with pytest.raises(UserError, match=r"Unknown data set 'mina'. Did you mean 'mine'.*Present.*mine"):
        open_split('mina', 'all', plain_root)
    with pytest.raises(UserError, match=r'IRSTD-1k is not under .*IRSTD-1k.*README.md.*Present.*mine'):
        open_split('irstd-1k', 'test', plain_root)
    with pytest.raises(UserError, match=r'tools/make_synthetic\.py'):
        open_split('synthetic', 'test', plain_root)
    (plain_root / 'NUDT-SIRST' / 'pictures').mkdir(parents=True)
    with pytest.raises(UserError, match='NUDT-SIRST follows no known layout'):
        open_split('NUDT-SIRST', 'test', plain_root)


def test_unknown_split_lists_the_known_ones(kit_root):
    with pytest.raises(UserError, match=r"no split 'tset'. Did you mean 'test'\? Known: train, val, .*test_half"):
        open_split('SIRSTv1', 'tset', kit_root)


def test_missing_images_and_masks(kit_root, two_part_root):
    kit = kit_root / 'SIRSTdevkit-master'
    (kit / 'SIRST/BinaryMask/Misc_10_pixels0.png').unlink()
    with pytest.raises(UserError, match=r'image .*Misc_10\.png has no mask in .*BinaryMask'):
        open_split('SIRSTv1', 'test', kit_root)
    (kit / 'PNGImages/Misc_9.png').unlink()
    with pytest.raises(UserError, match=r"'Misc_9' has a mask without image \(from .*test_v1\.txt\)"):
        open_split('SIRSTv1', 'test', kit_root)
    (kit / 'Splits/test_v1.txt').write_text('Misc_77\n')
    with pytest.raises(UserError, match=r"'Misc_77' has no image of that name in .*PNGImages"):
        open_split('SIRSTv1', 'test', kit_root)
    (kit / 'Splits/test_v1.txt').write_text('Misc_1\nMisc_1.png\n')
    with pytest.raises(UserError, match="'Misc_1' occurs twice"):
        open_split('SIRSTv1', 'test', kit_root)
    (kit / 'Splits/test_v1.txt').write_text('\n\n')
    with pytest.raises(UserError, match='holds no images'):
        open_split('SIRSTv1', 'test', kit_root)
    (two_part_root / 'NUDT-SIRST/test/images/000010.png').unlink()
    with pytest.raises(UserError, match="'000010' has a mask without image"):
        open_split('NUDT-SIRST', 'test', two_part_root)


def test_a_link_that_leads_back_is_not_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / 'bin').mkdir()
    (tmp_path / 'bin' / 'X11').symlink_to('.')
    read = []
    monkeypatch.setattr(splits, '_read_part', lambda root, *_: read.append(root))
    assert splits.read_tree(tmp_path / 'bin') is None
    assert {*read} <= {tmp_path / 'bin'}
