"""Data sets by name: taking in what people have, in any layout, packed or not, and fetching what can be fetched."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest

import drpca
from drpca.cli.data import main
from drpca.datasets import importing, open_split
from drpca.datasets.check import check_datasets
from drpca.datasets.convert import export_labels
from drpca.datasets.importing import get_dataset, import_dataset, list_datasets
from drpca.errors import UserError
from tests.datasets.data_trees import save
from tests.datasets.test_labels import picture
from tests.loopback import serving

NAMES = [f'im{i}' for i in range(10)]
BOXES = {name: [(4 + 3 * i, 5 + 2 * i, 3, 3)] for i, name in enumerate(NAMES)}
LAYOUTS = [
    'kit', 'parts', 'archive', 'basic', 'mshnet', 'dnanet', 'plain', 'inner', 'suffixes', 'one folder', 'open-sirst-v2',
    'yolo', 'roboflow', 'coco', 'voc', 'csv', 'points',
]  # fmt: skip


def write(root: Path, layout: str) -> Path:
    """Ten images in a stranger's layout, seven to train on and three to test."""
    train, test = NAMES[:7], NAMES[7:]

    def pairs(images: str, masks: str, names: list[str] = NAMES, ending: str = '', suffix: str = '.png') -> None:
        for name in names:
            save(picture(BOXES[name]), root / images / f'{name}{suffix}')
            if masks:
                save(255 * (picture(BOXES[name], 255) == 255).astype('uint8'), root / masks / f'{name}{ending}.png')

    def lists(first: str, second: str) -> None:
        for file, names in ((first, train), (second, test)):
            (root / file).parent.mkdir(parents=True, exist_ok=True)
            (root / file).write_text('\r\n'.join(names))

    if layout == 'kit':
        pairs('PNGImages', 'SIRST/BinaryMask', ending='_pixels0')
        lists('Splits/trainval_v1.txt', 'Splits/test_v1.txt')
    elif layout == 'parts':
        pairs('Trainval/Images', 'Trainval/Masks', train)
        pairs('Test/Images', 'Test/Masks', test)
    elif layout == 'archive':
        pairs('IRSTD-1k/IRSTD1k_Img', 'IRSTD-1k/IRSTD1k_Label')
    elif layout == 'basic':
        pairs('images', 'masks', suffix='.bmp')
        lists('img_idx/train_NUAA-SIRST.txt', 'img_idx/test_NUAA-SIRST.txt')
    elif layout == 'mshnet':
        pairs('images', 'masks')
        lists('trainval.txt', 'test.txt')
    elif layout == 'dnanet':
        pairs('images', 'masks')
        lists('50_50/train.txt', '50_50/test.txt')
    elif layout == 'plain':
        pairs('deep/down/image', 'deep/down/gt', ending='_gt')
    elif layout == 'inner':
        pairs('images/train', 'labels/train', train, '_label')
        pairs('images/val', 'labels/val', test, '_label')
    elif layout == 'suffixes':
        pairs('imgs', 'annotations', ending='_mask')
    elif layout == 'one folder':
        pairs('frames', 'frames', ending='_mask')
    elif layout == 'open-sirst-v2':
        pairs('mixed', 'annotations/masks', ending='_pixels0')
        save(picture([]), root / 'images/logo.png')
        lists('splits/trainval_full.txt', 'splits/test_full.txt')
        (root / 'annotations/bboxes').mkdir()
        (root / 'annotations/bboxes/im0.xml').write_text('<annotation/>')
    elif layout == 'yolo':
        write_labels(root, 'yolo')
        shutil.rmtree(root / 'images/test')
        shutil.rmtree(root / 'labels/test')
    elif layout == 'roboflow':
        write_labels(root, 'yolo')
        for split in ('train', 'val', 'test'):
            for kind in ('images', 'labels'):
                (root / split).mkdir(exist_ok=True)
                shutil.move(root / kind / split, root / {'val': 'valid'}.get(split, split) / kind)
    else:
        write_labels(root, layout)
    return root


def write_labels(root: Path, to: str) -> None:
    """By the project's own writers, which other tests compare with what others write."""
    write(root.parent / 'masks', 'plain')
    export_labels(root.parent / 'masks/deep/down', to, root)


@pytest.mark.parametrize('layout', LAYOUTS)
def test_a_strangers_folder_is_taken_in_by_one_command(layout: str, tmp_path: Path) -> None:
    source = write(tmp_path / 'theirs', layout)
    before = sorted(source.rglob('*'))
    data = tmp_path / 'data'
    assert main(['import', 'mine', str(source), '--data-root', str(data)]) == 0
    assert sorted(source.rglob('*')) == before, 'theirs is left alone'
    splits = {split: open_split('mine', split, data) for split in ('train', 'val', 'test')}
    names = [name for split in splits.values() for name in split.names]
    assert sorted(names) == (NAMES if layout != 'yolo' else sorted({*names})), 'each once'
    assert len(names) == (10 if layout != 'yolo' else 8)
    for split in splits.values():
        for name in split.names:
            assert (split.read_mask(name) == (picture(BOXES[name], 255) == 255)).all()
    if layout in ('parts', 'basic', 'mshnet', 'dnanet', 'inner'):
        assert splits['test'].names == NAMES[7:]
    assert sorted(path.name for path in data.iterdir()) == ['mine']


@pytest.mark.slow
@pytest.mark.parametrize('layout', LAYOUTS)
def test_a_strangers_folder_trains(layout: str, tmp_path: Path) -> None:
    import_dataset('mine', write(tmp_path / 'theirs', layout), tmp_path / 'data')
    small = {f'{part}_dataloader.dataset.size': 32 for part in ('train', 'val', 'test')}
    result = drpca.train(
        'rpcanet_plus_synthetic', dataset='mine', data_root=tmp_path / 'data', work_dir=tmp_path, epochs=1,
        batch_size=2, workers=0, cfg_options={**small, 'model.network.num_stages': 1},
    )  # fmt: skip
    assert result.test is not None


def zipped(source: Path, file: Path) -> Path:
    return Path(shutil.make_archive(str(file.with_suffix('')), 'zip', source))


@pytest.mark.parametrize('kind', ['zip', 'gztar'])
def test_archives(kind: str, tmp_path: Path) -> None:
    archive = shutil.make_archive(str(tmp_path / 'a'), kind, write(tmp_path / 'nudt', 'parts').parent)
    done = import_dataset('nudt', archive, tmp_path / 'data')
    assert (done.folder, done.report.images) == (tmp_path / 'data/NUDT-SIRST', 10)
    assert len(open_split('NUDT-SIRST', 'test', tmp_path / 'data')) == 3
    with pytest.raises(UserError, match=r'is there already: .* --overwrite'):
        import_dataset('NUDT_SIRST', archive, tmp_path / 'data')
    assert import_dataset('nudt', archive, tmp_path / 'data', overwrite=True).report.images == 10
    assert [path.name for path in (tmp_path / 'data').iterdir()] == ['NUDT-SIRST']


def test_links_and_several_data_sets(tmp_path: Path) -> None:
    for name in ('NUDT-SIRST', 'IRSTD-1k'):
        write(tmp_path / 'drive' / name, 'plain')
    done = import_dataset('irstd', tmp_path / 'drive', tmp_path / 'data', link=True)
    assert (done.folder / 'images/im0.png').is_symlink()
    with pytest.raises(UserError, match=r'holds several data sets: .*give the folder of one'):
        import_dataset('mine', tmp_path / 'drive', tmp_path / 'data')
    with pytest.raises(UserError, match='cannot be the name'):
        import_dataset('../mine', tmp_path / 'drive', tmp_path / 'data')
    with pytest.raises(UserError, match='it is here already'):  # links to themselves would be left of it
        import_dataset('irstd', done.folder, tmp_path / 'data', link=True, overwrite=True)
    assert (done.folder / 'images/im0.png').is_file()
    found = {known.name: known for known in list_datasets(tmp_path / 'data')}
    assert (found['IRSTD-1k'].found, found['IRSTD-1k'].folder) == (10, done.folder)
    assert found['SIRSTv1'].advice == 'python tools/data.py get SIRSTv1'


def bad_tar(member: tarfile.TarInfo, content: bytes = b'') -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode='w:gz') as archive:
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    return file.getvalue()


def bad_zip(name: str, content: bytes = b'', mode: int = 0) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, 'w', zipfile.ZIP_DEFLATED) as archive:
        info = zipfile.ZipInfo(name)
        info.external_attr, info.compress_type = mode << 16, zipfile.ZIP_DEFLATED
        archive.writestr(info, content)
    return file.getvalue()


def link(kind: bytes) -> tarfile.TarInfo:
    member = tarfile.TarInfo('images/a.png')
    member.type, member.linkname = kind, '/etc/passwd'
    return member


@pytest.mark.parametrize(
    ('content', 'expected'),
    [
        (bad_zip('../a.png'), 'leads out of its folder'),
        (bad_zip('/tmp/a.png'), 'leads out of its folder'),
        (bad_zip('..\\a.png'), 'leads out of its folder'),
        (bad_zip('C:/a.png'), 'leads out of its folder'),
        (bad_zip('a.png', b'/etc/passwd', 0o120777), 'is a link, a device or encrypted'),
        (bad_tar(link(tarfile.SYMTYPE)), 'is a link, a device or encrypted'),
        (bad_tar(link(tarfile.LNKTYPE)), 'is a link, a device or encrypted'),
        (bad_tar(link(tarfile.CHRTYPE)), 'is a link, a device or encrypted'),
        (bad_tar(tarfile.TarInfo('../../a.png')), 'leads out of its folder'),
        (bad_zip('images/a.png', b'x' * 50)[:-60], 'no zip or tar archive'),
        (bad_zip('images/a.png', bytes(range(256))).replace(b'\x00\x01\x02', b'\x00\x00\x02'), 'damaged'),
        (bad_zip('readme.md', b'hello'), 'follows no known layout'),
        (b'Rar!\x1a\x07', 'no zip or tar archive; unpack it'),
    ],
    ids=range(13),
)
def test_archives_that_are_refused(content: bytes, expected: str, tmp_path: Path) -> None:
    (tmp_path / 'x').write_bytes(content)
    with pytest.raises(UserError, match=expected):
        import_dataset('mine', tmp_path / 'x', tmp_path / 'data')
    assert [path.name for path in tmp_path.rglob('*')] == ['x'], 'nothing is left'


@pytest.mark.parametrize(
    'make', [lambda data: bad_zip('a.png', data), lambda data: bad_tar(tarfile.TarInfo('a.png'), data)]
)
def test_archives_that_grow_out_of_proportion(make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr('drpca.datasets.archives._FREE_BYTES', 1000)
    (tmp_path / 'x').write_bytes(make(bytes(3_000_000)))
    with pytest.raises(UserError, match='out of proportion'):
        import_dataset('mine', tmp_path / 'x', tmp_path / 'data')
    assert not (tmp_path / 'data').exists()


def test_sirst_v1_is_fetched_and_laid_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('DRPCA_HOME', str(tmp_path / 'home'))
    source = write(tmp_path / 'theirs', 'kit')
    files = {}
    for name, folder in (('images', source / 'PNGImages'), ('masks', source / 'SIRST/BinaryMask')):
        content = zipped(folder, tmp_path / f'{name}.zip').read_bytes()
        files[f'/YimianDai/sirst/master/{name}.zip'] = content
        blob = hashlib.sha1(b'blob %d\0' % len(content) + content).hexdigest()
        monkeypatch.setitem(importing._FIRST_ARCHIVES, f'{name}.zip', blob)
    parts = {'train_v1': NAMES[:5], 'val_v1': NAMES[5:7], 'trainval_v1': NAMES[:7], 'test_v1': NAMES[7:]}
    for stem, names in parts.items():
        files[f'/{importing._KIT}/{importing._KIT_COMMIT}/splits/{stem}.txt'] = '\r\n'.join(names).encode()
        monkeypatch.setitem(importing._FIRST_LISTS, stem, hashlib.sha256('\n'.join(names).encode()).hexdigest())
    with serving(files, monkeypatch):
        done = get_dataset('nuaa-sirst', tmp_path / 'data', progress=False)
        assert (done.folder.name, done.report.images) == ('SIRSTv1', 10)
        assert [len(open_split('SIRSTv1', split, tmp_path / 'data')) for split in ('train', 'val', 'test')] == [5, 2, 3]
        with pytest.raises(UserError, match='is there already'):
            get_dataset('SIRSTv1', tmp_path / 'data')
    shutil.rmtree(tmp_path / 'data')
    get_dataset('SIRSTv1', tmp_path / 'data', progress=False)  # out of the cache, without a network
    monkeypatch.setitem(importing._FIRST_LISTS, 'test_v1', '0' * 64)
    with serving(files, monkeypatch), pytest.raises(UserError, match='does not hold the published names'):
        get_dataset('SIRSTv1', tmp_path / 'data', overwrite=True, progress=False)
    assert len(open_split('SIRSTv1', 'all', tmp_path / 'data')) == 10, 'what was there stays'


def test_sirst_v2_comes_with_v1(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('DRPCA_HOME', str(tmp_path / 'home'))
    source = write(tmp_path / 'kit/open-sirst-v2-a927', 'open-sirst-v2')
    (source / 'splits/test_v1.txt').write_text('im8\nim9')
    (source / 'splits/trainval_v1.txt').write_text('im1\nim2')
    archive = zipped(source.parent, tmp_path / 'v2.zip')
    with zipfile.ZipFile(archive, 'a') as file:
        file.comment = importing._KIT_COMMIT.encode()
    with serving({f'/{importing._KIT}/zip/{importing._KIT_COMMIT}': archive.read_bytes()}, monkeypatch):
        done = get_dataset('SIRSTv2', tmp_path / 'data', progress=False)
    assert done.folder == tmp_path / 'data/open-sirst-v2'
    assert len(open_split('SIRSTv2', 'test', tmp_path / 'data')) == 3
    assert open_split('SIRSTv1', 'test', tmp_path / 'data').names == ['im8', 'im9']


def test_what_lies_on_drives_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(['get', 'irstd-1k']) == 2
    assert 'find the link at https://github.com/RuiZhang97/ISNet' in capsys.readouterr().err
    assert main([]) == 0
    out = capsys.readouterr().out
    assert 'python tools/data.py import NUDT-SIRST ARCHIVE' in out
    assert not os.listdir(), 'a list makes nothing'
    assert main(['list', '--data-root', 'nope']) == 2
    assert main(['import', 'x', str(tmp_path), '--data-root', 'no/such']) == 2


def test_label_files_do_not_stop_the_check_of_other_folders(tmp_path: Path) -> None:
    """YOLO's images/train and labels/train used to end it with a traceback."""
    write(tmp_path / 'data/yolo', 'yolo')
    shutil.rmtree(tmp_path / 'data/masks')
    write(tmp_path / 'data/mine', 'plain')
    (tmp_path / 'data/empty/images').mkdir(parents=True)
    (tmp_path / 'data/empty/masks').mkdir()
    checks = check_datasets(data_root=tmp_path / 'data')
    assert [report.dataset for report in checks.reports] == ['mine']
    assert [folder.name for folder in checks.ignored] == ['empty', 'yolo']


def test_lists_follow_parts_that_are_called_otherwise_here(tmp_path: Path) -> None:
    for part, level in (('train', 50), ('val', 90)):
        for name in '12':
            save(np.full((16, 16), level, np.uint8), tmp_path / f'theirs/{part}/images/{name}.png')
            save(np.zeros((16, 16), np.uint8), tmp_path / f'theirs/{part}/masks/{name}.png')
    (tmp_path / 'theirs/val_x.txt').write_text('val/1\nval/2\n')
    import_dataset('mine', tmp_path / 'theirs', tmp_path)
    assert (tmp_path / 'mine/val_x.txt').read_text() == 'test/1\ntest/2\n'
