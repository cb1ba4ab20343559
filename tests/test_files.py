"""Files that users name: whole or not at all, nothing replaced unasked, one writer at a time."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from drpca.errors import UserError
from drpca.files import LOCK, in_use, make_folder, refuse_present, save, save_bytes, save_text
from tests.support import ROOT


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
    before = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[0][1]))
    try:
        with pytest.raises(UserError, match='the disk is full'):
            save_bytes(path, bytes(100_000), overwrite=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before[0])
        signal.signal(signal.SIGXFSZ, before[1])
    assert path.read_text() == 'old'
    assert list(tmp_path.iterdir()) == [path]


def test_only_the_last_folder_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_text(tmp_path / 'new' / 'a.txt', 'text')
    with pytest.raises(UserError, match=r'no folder .*nope; make it first'):
        save_text(tmp_path / 'nope' / 'new' / 'a.txt', 'text')
    assert not (tmp_path / 'nope').exists()
    monkeypatch.chdir(tmp_path)
    assert make_folder('results/mine').is_dir(), "the commands' own folder"
    with pytest.raises(UserError, match='File exists'):
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
        [sys.executable, '-c', HOLD, str(folder)],
        env={**os.environ, 'PYTHONPATH': str(ROOT)},
        stdout=subprocess.PIPE,
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
