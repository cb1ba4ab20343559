import json

import cv2
import numpy as np
import pytest
from PIL import Image

from drpca.cli.check_dataset import main
from drpca.datasets import open_split
from drpca.datasets.check import check_dataset, find_cross_leaks, mask_contrast
from drpca.datasets.fingerprints import fingerprints, pixel_hash, scene_descriptor
from drpca.datasets.leaks import find_leaks, find_near_leaks
from drpca.datasets.splits import find_dataset, find_datasets
from tests.datasets.data_trees import frame, save


def check(root, name='mine'):
    return check_dataset(*find_dataset(name, root))


def kinds(findings):
    return sorted({finding.kind for finding in findings})


def only(findings, kind):
    return [finding for finding in findings if finding.kind == kind]


def test_clean_sets_are_clean(plain_root, kit_root, two_part_root):
    report = check(plain_root)
    assert report.clean
    assert kinds(report.notes) == ['faint target'], 'the frames are noise'
    assert (report.images, report.masks, report.targets, report.empty_masks) == (20, 20, 20, 0)
    assert report.sizes == {'smallest': [24, 32], 'median': [24, 32], 'largest': [24, 32], 'distinct': 1}
    assert report.splits == {'train': 12, 'val': 4, 'trainval': 16, 'test': 4, 'all': 20}
    report = check(two_part_root, 'NUDT-SIRST')
    assert report.clean
    assert report.splits == {'train': 8, 'val': 2, 'trainval': 10, 'test': 4, 'all': 14}
    report = check(kit_root, 'SIRSTv1')
    assert report.clean
    assert kinds(report.notes) == ['faint target', 'incomplete', 'leak']


def test_lists_of_other_divisions_are_named_as_leaks(kit_root):
    messages = [finding.message for finding in only(check(kit_root, 'SIRSTv1').notes, 'leak')]
    assert messages == [
        '5 of the 5 images of SIRSTv1 test_half are in SIRSTv1 trainval',
        '2 of the 2 images of SIRSTv1 test are in SIRSTv1 train_half',
    ]


def test_file_problems(plain_root):
    images, masks = plain_root / 'mine/images', plain_root / 'mine/masks'
    (masks / 'f00.png').unlink()
    (images / 'f01.png').unlink()
    (images / 'f02.png').write_bytes((images / 'f02.png').read_bytes()[:-30])
    (masks / 'f03.png').write_bytes(b'')
    save(frame('f04', (20, 20)), images / 'f04.png')
    save(np.uint8([[0, 90, 255]]).repeat(24, 0).repeat(11, 1)[:, :32], masks / 'f05.png')
    save(np.zeros((24, 32), np.uint8), masks / 'f06.png')
    save(frame('f07'), images / 'f07.bmp')
    report = check(plain_root)
    assert sorted((f.kind, name) for f in report.problems for name in f.names) == [
        ('ambiguous name', 'f07'), ('grey mask', 'f05'), ('orphan image', 'f00'), ('orphan mask', 'f01'),
        ('size mismatch', 'f04'), ('unreadable', 'f02'), ('unreadable', 'f03'),
    ]  # fmt: skip
    assert 'image 20 × 20, mask 24 × 32' in only(report.problems, 'size mismatch')[0].message
    assert [f.names for f in only(report.notes, 'empty mask')] == [['f06']]
    assert report.empty_masks == 1


def test_list_problems(kit_root):
    splits = kit_root / 'SIRSTdevkit-master/Splits'
    (splits / 'test_v1.txt').write_text('Misc_9\nMisc_77\nMisc_9.png\n')
    (splits / 'val_v1.txt').write_bytes(b'\xff\xfe\x00\x81')
    messages = ' '.join(finding.message for finding in only(check(kit_root, 'SIRSTv1').problems, 'list'))
    assert '1 name(s) in' in messages
    assert 'without image: Misc_77' in messages
    assert 'more than once' in messages
    assert 'expected UTF-8' in messages


def test_images_in_no_list(kit_root):
    for file in (kit_root / 'SIRSTdevkit-master/Splits').glob('*_half.txt'):
        file.unlink()
    (kit_root / 'SIRSTdevkit-master/Splits/test_v1.txt').write_text('Misc_9')
    assert only(check(kit_root, 'SIRSTv1').notes, 'unlisted')[0].names == ['Misc_10']


def test_copies_and_leaks_between_the_parts_of_a_division(two_part_root):
    root = two_part_root / 'NUDT-SIRST'
    copy = np.dstack([frame('000003')] * 3)
    save(copy, root / 'test/images/000011.png')
    report = check(two_part_root, 'NUDT-SIRST')
    assert kinds(report.problems) == ['duplicate', 'leak']
    assert only(report.problems, 'duplicate')[0].names == ['trainval/000003', 'test/000011']
    (leak,) = only(report.problems, 'leak')
    assert leak.message == '1 of the 4 images of NUDT-SIRST test are in NUDT-SIRST trainval'


def test_listed_leak_in_one_division_is_a_problem(kit_root):
    (kit_root / 'SIRSTdevkit-master/Splits/val_v1.txt').write_text('Misc_1\nMisc_7')
    (leak,) = only(check(kit_root, 'SIRSTv1').problems, 'leak')
    assert leak.names == ['Misc_1']


def scene_of(name):
    scene = cv2.GaussianBlur(frame(name, (120, 160)).astype(np.float32), (0, 0), 8)
    return np.uint8(255 * (scene - scene.min()) / np.ptp(scene))


def test_near_duplicates(tmp_path):
    scene = scene_of('scene')
    retouched = scene.copy()
    retouched[30:33, 40:43] = 255
    brighter = np.uint8(scene * 0.8 + 30)
    other = scene[::-1]
    for name, image in zip('abcd', (scene, retouched, brighter, other)):
        save(image, tmp_path / f'mine/images/{name}.png')
        save(np.eye(120, 160, dtype=np.uint8) * 255, tmp_path / f'mine/masks/{name}.png')
    report = check(tmp_path)
    assert report.clean
    assert [f.names for f in only(report.notes, 'near duplicate')] == [['a', 'b'], ['a', 'c'], ['b', 'c']]
    assert scene_descriptor(scene) @ scene_descriptor(scene) == pytest.approx(1)
    assert not scene_descriptor(np.full((50, 60), 7, np.uint16)).any()


@pytest.fixture
def near_root(tmp_path):
    """Two parts of scenes; test 7 shows that of trainval 2, and test 8 is trainval 3."""
    scenes = {'trainval': ['0', '1', '2', '3', '4', '5'], 'test': ['6', '2', '3', '9']}
    for part, names in scenes.items():
        for number, name in enumerate(names, start=6 * (part == 'test')):
            image = scene_of(name)
            if part == 'test' and name == '2':
                image[30:34, 40:44] = 255
            save(image, tmp_path / f'mine/{part}/images/{number}.png')
            save(np.eye(120, 160, dtype=np.uint8) * 255, tmp_path / f'mine/{part}/masks/{number}.png')
    return tmp_path


def test_scenes_across_the_parts_of_a_division(near_root):
    report = check(near_root)
    assert [f.names for f in only(report.problems, 'leak')] == [['8']]
    assert [f.message for f in only(report.notes, 'near leak')] == [
        '1 of the 4 images of mine test show scenes that are in mine trainval: 7'
    ]
    train, test = (open_split('mine', split, near_root) for split in ('trainval', 'test'))
    leaks, left_out = find_near_leaks(train, [test])
    assert [(leak.names, leak.near) for leak in leaks] == [(['7'], True)]
    assert left_out == {}
    for file in (near_root / 'mine/test/images').iterdir():
        file.touch()
    assert find_near_leaks(train, [test], seconds=-1) == ([], {'mine test': 4}), 'no time to read those again'


def test_a_clean_split_leaves_leaking_images_out_of_training(near_root, capsys):
    lists = near_root / 'mine/clean'
    arguments = ['--data-root', str(near_root), '--dataset', 'mine', '--write-split', str(lists)]
    assert main(arguments) == 0
    assert 'trainval_clean.txt: 4 of the 6 images of trainval' in capsys.readouterr().out
    assert (lists / 'trainval_clean.txt').read_text().split() == [f'trainval/{i}' for i in '0145']
    test, clean = (open_split('mine', split, near_root) for split in ('test_clean', 'trainval_clean'))
    assert (len(test), clean.names) == (4, ['0', '1', '4', '5'])
    assert {*open_split('mine', 'train_clean', near_root).names} < {*clean.names}
    assert find_leaks(clean, [test]) == find_near_leaks(clean, [test])[0] == []
    assert main(arguments) == 2
    assert 'is there already' in capsys.readouterr().err
    assert main(arguments[:2] + arguments[4:]) == 2
    assert '--dataset NAME' in capsys.readouterr().err


def test_fingerprints_are_kept_until_the_file_changes(near_root, monkeypatch):
    monkeypatch.setenv('DRPCA_HOME', str(near_root / 'home'))
    paths = sorted((near_root / 'mine/test/images').iterdir())
    before = fingerprints(paths)
    save(scene_of('other'), paths[0])
    read = []
    monkeypatch.setattr('drpca.datasets.fingerprints.read_image', lambda path: read.append(path) or frame('x'))
    assert fingerprints(paths[:2])[paths[1]].digest == before[paths[1]].digest
    assert read == paths[:1]
    (cache,) = (near_root / 'home/fingerprints').iterdir()
    cache.write_bytes(cache.read_bytes()[:99])
    assert fingerprints(paths, seconds=-1) == {}, 'a damaged cache is none'


def test_a_mask_of_another_image(plain_root):
    folder = plain_root / 'mine'
    rng = np.random.default_rng(0)
    for number, file in enumerate(sorted((folder / 'images').iterdir())):
        image, mask = rng.normal(100, 4, (40, 40)), np.zeros((40, 40), np.uint8)
        place = np.s_[5 + number : 8 + number, 30 - number : 33 - number]
        mask[place] = 255
        image[place] += -60 if number % 3 else 60
        save(image.astype(np.uint8), file)
        save(mask, folder / 'masks' / file.name)
    assert check(plain_root).clean
    first, second = (folder / f'masks/f{i}.png' for i in ('04', '06'))
    first.rename(folder / 'swap')
    second.rename(first)
    (folder / 'swap').rename(second)
    found = only(check(plain_root).problems, 'foreign mask')
    assert [finding.names for finding in found] == [['f04', 'f06'], ['f06', 'f04']]
    assert 'f04: the mask does not show on its image (contrast ' in found[0].message
    assert mask_contrast(np.full((9, 9), 5), np.ones((9, 9), int)) == 0, 'nothing around'


def test_pixel_hash_is_of_the_picture_not_of_the_file(tmp_path):
    image = frame('a')
    assert pixel_hash(image) == pixel_hash(image.copy(order='F'))
    assert pixel_hash(image) != pixel_hash(image.reshape(32, 24))
    assert pixel_hash(image) != pixel_hash(image.astype(np.uint16))
    assert pixel_hash(image) != pixel_hash(image ^ np.uint8(1))


def test_find_leaks(kit_root, two_part_root, write_pairs):
    half, test = (open_split('SIRSTv1', s, kit_root) for s in ('train_half', 'test'))
    (leak,) = find_leaks(half, [test, open_split('SIRSTv1', 'test_half', kit_root)], pixels=False)
    assert str(leak) == '2 of the 2 images of SIRSTv1 test are in SIRSTv1 train_half'
    assert find_leaks(open_split('SIRSTv1', 'train', kit_root), [test]) == []
    nudt = open_split('NUDT-SIRST', 'test', two_part_root)
    assert find_leaks(half, [nudt]) == []
    Image.fromarray(frame('Misc_9')).convert('RGB').save(nudt.image_path('000010'))
    assert find_leaks(half, [nudt], pixels=False) == []
    assert [leak.names for leak in find_leaks(half, [nudt])] == [['000010']]


def test_same_name_in_two_parts_is_no_leak(tmp_path, write_pairs):
    for part, names in (('trainval', ['1', '2', '3']), ('test', ['1', '2'])):
        write_pairs(tmp_path / f'mine/{part}/images', tmp_path / f'mine/{part}/masks', names)
        for file in (tmp_path / f'mine/{part}/images').iterdir():
            save(frame(part + file.stem), file)
    assert check(tmp_path).clean
    assert find_leaks(open_split('mine', 'trainval', tmp_path), [open_split('mine', 'test', tmp_path)]) == []


def test_leaks_between_sirst_v1_and_v2_by_name(tmp_path, write_pairs, kit_root):
    """V2 holds V1's pictures, partly at another size, under the same names."""
    v2 = kit_root / 'SIRSTv2'
    names = ['Misc_9', 'Misc_20', 'Misc_21']
    write_pairs(v2 / 'PNGImages', v2 / 'SIRST/BinaryMask', names)
    save(frame('Misc_9', (48, 64)), v2 / 'PNGImages/Misc_9.png')
    (v2 / 'trainval_full.txt').write_text('Misc_9\nMisc_20')
    (v2 / 'test_full.txt').write_text('Misc_21')
    reports = [check_dataset(name, tree) for name, tree in find_datasets(kit_root).items()]
    assert [str(leak) for leak in find_cross_leaks(reports)] == [
        '1 of the 2 images of SIRSTv1 test are in SIRSTv2 trainval'
    ]
    train, test = open_split('SIRSTv2', 'trainval', kit_root), open_split('SIRSTv1', 'test', kit_root)
    assert [leak.names for leak in find_leaks(train, [test], pixels=False)] == [['Misc_9']]
    save(scene_of('2'), v2 / 'PNGImages/Misc_20.png')
    save(scene_of('2') // 2, kit_root / 'SIRSTdevkit-master/PNGImages/Misc_10.png')
    leaks = find_cross_leaks([check_dataset(name, tree) for name, tree in find_datasets(kit_root).items()])
    assert [(leak.names, leak.near) for leak in leaks] == [(['Misc_9'], False), (['Misc_10'], True)]


def test_command(plain_root, two_part_root, tmp_path, capsys):
    (plain_root / 'junk').mkdir()
    assert main(['--data-root', str(plain_root)]) == 0
    output = capsys.readouterr()
    assert 'mine' in output.out
    assert '20 images, 20 masks, 20 targets, 0 empty masks' in output.out
    assert 'size 32 × 24' in output.out
    assert 'junk follows no known layout' in output.err
    (plain_root / 'mine/masks/f00.png').unlink()
    target = tmp_path / 'report.json'
    assert main(['--data-root', str(plain_root), '--dataset', 'MINE', '--json', str(target)]) == 1
    assert 'problem: orphan image: 1 image(s) without mask' in capsys.readouterr().out
    values = json.loads(target.read_text())
    assert values['datasets']['mine']['clean'] is False
    assert values['datasets']['mine']['problems'][0]['names'] == ['f00']
    assert main(['--data-root', str(plain_root), '--dataset', 'nudt-sirst', '--json', '-']) == 0
    assert json.loads(capsys.readouterr().out)['datasets']['NUDT-SIRST']['images'] == 14


def test_command_errors(plain_root, capsys):
    assert main(['--data-root', str(plain_root), '--dataset', 'nothing']) == 2
    assert capsys.readouterr().err.startswith("error: Unknown data set 'nothing'")
    assert main(['--data-root', str(plain_root / 'nothing')]) == 2
    assert main(['--data-root', str(plain_root), '--json', str(plain_root / 'no/such/folder.json')]) == 2
    assert 'there is no folder' in capsys.readouterr().err
    assert main(['--no-such-option']) == 2
