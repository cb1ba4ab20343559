"""Files that users name: whole or not at all, nothing replaced unasked, one writer at a time."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from drpca.datasets.labels import read_labels
from drpca.datasets.sequences import find_sequences
from drpca.datasets.splits import open_masks, read_tree
from drpca.errors import DiskFull, UserError
from drpca.files import (
    LOCK,
    append_whole,
    draft_of,
    in_use,
    make_folder,
    refuse_present,
    replace_quickly,
    save,
    save_bytes,
    save_text,
)
from drpca.inference.frames import find_inputs, list_frames
from drpca.results.folder import ResultsFolder
from tests.support import ROOT, limited_files


def test_what_is_there_is_replaced_only_when_asked(tmp_path: Path) -> None:
    path = save_text(tmp_path / 'a.txt', 'first\n')
    with pytest.raises(UserError, match=r'a\.txt is there already: .* --overwrite'):
        save_text(path, 'second\n')
    assert path.read_bytes() == b'first\n'
    save_text(path, 'second\n', overwrite=True)
    assert path.read_bytes() == b'second\n'
    (tmp_path / 'link').symlink_to(tmp_path / 'gone')
    with pytest.raises(UserError, match='there already'):
        refuse_present([tmp_path / 'link'], overwrite=False)
    with pytest.raises(UserError, match='it is a folder'):
        save_text(tmp_path, 'text', overwrite=True)


def test_what_systems_leave_behind_counts_nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``._x.png`` of macOS holds no picture."""
    monkeypatch.chdir(tmp_path)
    for folder in ('seq/images', 'seq/masks', 'seq/labels', '__MACOSX/seq/images', '.cache'):
        Path(folder).mkdir(parents=True)
        for name in ('1.png', '._1.png', '.DS_Store', 'Thumbs.db', '._1.txt', 'desktop.ini'):
            Path(folder, name).touch()
    assert [name for name, _ in list_frames('seq')[0]] == ['images/1']
    assert [name for name, _ in list_frames('.')[0]] == ['seq/images/1']
    assert find_inputs(['seq/images/*'])[0] == [('1', Path('seq/images/1.png'))]
    assert [len(tree.parts[''].images) for tree in [read_tree(Path('seq')), read_tree(Path())] if tree] == [1, 1]
    (sequence,) = find_sequences('.')
    assert (len(sequence), list(sequence.masks)) == (1, ['1'])
    assert open_masks('seq/masks', []).names == ['1']
    assert read_labels(Path('seq')) is None
    Path('maps/mat').mkdir(parents=True)
    Path('maps/mat/1.mat').touch()
    Path('maps/mat/._2.mat').touch()
    assert ResultsFolder('maps').names == ['1']


def test_what_breaks_off_leaves_the_old_file_and_no_draft(tmp_path: Path) -> None:
    path = save_text(tmp_path / 'a.txt', 'old')

    def half(draft: Path) -> None:
        draft.write_text('half')
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        save(path, half, overwrite=True)
    assert path.read_text() == 'old'
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_leaves_the_old_file(tmp_path: Path) -> None:
    """A limit on the size of files stands in for the disk."""
    path = save_text(tmp_path / 'a.txt', 'old')
    writers = [
        lambda: save_bytes(path, bytes(100_000), overwrite=True),
        lambda: replace_quickly(path, bytes(100_000)),
        lambda: append_whole(path, bytes(100_000)),
    ]
    for write in writers:
        with limited_files(1000), pytest.raises(DiskFull, match='the disk is full'):
            write()
        assert path.read_text() == 'old'
    assert list(tmp_path.iterdir()) == [path]


def test_a_name_outlasts_a_power_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file reaches the disk before it is moved, its name after that."""
    done: list[str] = []

    def fsync(number: int) -> None:
        done.append(Path(os.readlink(f'/proc/self/fd/{number}')).name)
        if done[-1] == tmp_path.name:
            raise OSError(22, 'not on this file system')

    replace = os.replace
    monkeypatch.setattr(os, 'fsync', fsync)
    monkeypatch.setattr(os, 'replace', lambda old, new: (done.append(f'-> {new.name}'), replace(old, new)))
    save_text(tmp_path / 'a.txt', 'text')
    draft, *rest = done
    assert draft.endswith('.partial.txt')
    assert rest == ['-> a.txt', tmp_path.name]


KILLED = """
import os, signal, sys
from pathlib import Path
from drpca.files import replace_quickly, save
os.replace = lambda *paths: os.kill(os.getpid(), signal.SIGKILL)
if sys.argv[2] == 'save':
    save(Path(sys.argv[1]) / 'a.txt', lambda draft: draft.write_text('half'))
replace_quickly(Path(sys.argv[1]) / 'a.txt', b'half')
"""


@pytest.mark.parametrize('way', ['save', 'quickly'])
def test_drafts_of_killed_processes_are_removed(tmp_path: Path, way: str) -> None:
    def drafts() -> list[Path]:
        return list(tmp_path.rglob('.*.partial*'))

    (tmp_path / 'part').mkdir()
    environment = {**os.environ, 'PYTHONPATH': str(ROOT)}
    for folder, clean in ((tmp_path, save_text), (tmp_path / 'part', None)):
        subprocess.run([sys.executable, '-c', KILLED, str(folder), way], env=environment)
        mine = draft_of(folder / 'a.txt')
        mine.write_text('of a living process')
        assert len(drafts()) == 2
        if clean is not None:
            clean(tmp_path / 'b.txt', 'text')
        else:
            with in_use(tmp_path):
                pass
        assert drafts() == [mine]
        mine.unlink()


def test_only_the_last_folder_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_text(tmp_path / 'new' / 'a.txt', 'text')
    with pytest.raises(UserError, match=r'no folder .*nope; make it first'):
        save_text(tmp_path / 'nope' / 'new' / 'a.txt', 'text')
    assert not (tmp_path / 'nope').exists()
    monkeypatch.chdir(tmp_path)
    for name in ('results/robustness/mine', 'results/decomposition/mine'):
        assert make_folder(name).is_dir(), "the commands' own folder, whether it is there or not"
    with pytest.raises(UserError, match='is a file'):
        make_folder('new/a.txt')


HOLD = """
import sys, time
from drpca.files import in_use
with in_use(sys.argv[1]):
    print(flush=True)
    time.sleep(60)
"""


@pytest.mark.parametrize('end', [signal.SIGTERM, signal.SIGKILL])
def test_one_writer_at_a_time_and_no_lock_outlives_its_process(tmp_path: Path, end: int) -> None:
    folder = tmp_path / 'run'
    holder = subprocess.Popen(
        [sys.executable, '-c', HOLD, str(folder)], env={**os.environ, 'PYTHONPATH': str(ROOT)}, stdout=subprocess.PIPE
    )
    assert holder.stdout is not None
    holder.stdout.readline()
    try:
        with pytest.raises(UserError, match=f'run is in use by process {holder.pid}'), in_use(folder):
            pass
    finally:
        holder.send_signal(end)
        holder.wait()
        holder.stdout.close()
    with in_use(folder):
        assert str(os.getpid()) in (folder / LOCK).read_text()
