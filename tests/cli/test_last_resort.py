"""What ends a command is one line: errors of the system, a lack of memory, and faults of our own."""

from __future__ import annotations

import errno
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from pydantic_core import SchemaError

import drpca
from drpca.cli.guard import guarded
from drpca.errors import UserError
from tests.support import python


@pytest.mark.parametrize(
    ('error', 'code', 'line'),
    [
        (UserError('Expected a, got b.'), 2, 'error: Expected a, got b.'),
        (KeyboardInterrupt(), 130, 'stopped'),
        (SchemaError('Error building "literal" validator:\n  KeyboardInterrupt: '), 130, 'stopped'),
        (MemoryError(), 1, 'error: There is not enough memory'),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), 1, 'error: There is not enough memory'),
        (OSError(errno.ENOSPC, 'No space left on device', 'out/a'), 1, 'error: out/a: No space left on device; free'),
        (IsADirectoryError(errno.EISDIR, 'Is a directory', 'out'), 2, 'error: out: Is a directory; name another path'),
    ],
)  # fmt: skip
def test_no_fault_of_ours(error: BaseException, code: int, line: str, capsys: pytest.CaptureFixture) -> None:
    @guarded
    def main(argv: list[str] | None = None) -> int:
        raise error

    assert main([]) == code
    written = capsys.readouterr().err
    assert written.startswith(line)
    assert len(written.splitlines()) == 1


def test_ctrl_c_that_a_library_made_an_error_of_stays_ctrl_c(capsys: pytest.CaptureFixture) -> None:
    """MMEngine takes whatever ends the formatting of a config for a mistake in it."""

    @guarded
    def main(argv: list[str] | None = None) -> int:
        try:
            raise KeyboardInterrupt
        except BaseException:
            raise SyntaxError('Failed to format the config file') from None

    assert main([]) == 130
    assert capsys.readouterr().err == 'stopped\n'


def test_ctrl_c_that_is_lost_in_a_finaliser_comes_again(capsys: pytest.CaptureFixture) -> None:
    class Swallows:
        def __del__(self) -> None:
            raise KeyboardInterrupt

    @guarded
    def main(argv: list[str] | None = None) -> int:
        Swallows()
        for _ in range(200):
            time.sleep(0.01)
        return 0

    hook, before = sys.unraisablehook, signal.signal(signal.SIGINT, signal.default_int_handler)  # not as in background
    try:
        assert main([]) == 130
    finally:
        signal.signal(signal.SIGINT, before)
    assert capsys.readouterr().err == 'stopped\n'
    assert sys.unraisablehook is hook


def test_a_fault_names_input_and_version_and_keeps_its_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr('tempfile.tempdir', str(tmp_path))

    @guarded
    def main(argv: list[str] | None = None) -> int:
        return {}['a b']

    assert main(['x.png', '--size', '7']) == 70
    line = capsys.readouterr().err
    assert len(line.splitlines()) == 1
    assert 'Traceback' not in line
    assert f'drpca {drpca.__version__}' in line
    assert "x.png --size 7: KeyError: 'a b'" in line
    found = re.search(r'the traceback is in (\S+);', line)
    assert found is not None
    text = Path(found[1]).read_text()
    assert 'Traceback (most recent call last)' in text
    assert 'x.png --size 7' in text


def test_a_traceback_without_a_place_to_write_is_no_second_fault(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr('tempfile.tempdir', '/nope')

    @guarded
    def main(argv: list[str] | None = None) -> int:
        raise KeyError(7)

    assert main([]) == 70
    assert 'could not be written (No such file' in capsys.readouterr().err


def test_warnings_of_ours_are_one_line() -> None:
    code = "from drpca.cli.guard import guarded; from drpca.errors import warn; guarded(lambda _: warn('a') or 0)([])"
    done = python(code)
    assert (done.returncode, done.stderr) == (0, 'warning: a\n')


def test_names_that_are_no_text_can_be_printed() -> None:
    code = r"from drpca.cli.guard import guarded; guarded(lambda argv: print('\udcff') or 0)([])"
    done = python(code, PYTHONIOENCODING='utf-8')
    assert (done.returncode, done.stdout) == (0, '\\udcff\n')


@pytest.mark.parametrize('arguments', [['--help'], ['config'], ['config', 'lrrnet_synthetic'], ['config', 'nothere']])
def test_a_reader_that_leaves_ends_a_command_quietly(arguments: list[str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, '-m', 'drpca', *arguments]
    both = arguments[-1] == 'nothere'  # what it has to say goes to stderr
    result = subprocess.run(command, stdout=writing, stderr=writing if both else subprocess.PIPE, timeout=100)
    os.close(writing)
    assert result.returncode == 141
    assert not result.stderr


@pytest.mark.skipif(not Path('/dev/full').exists(), reason='not on this system')
def test_output_that_does_not_fit_is_one_line() -> None:
    with open('/dev/full', 'w') as full:
        result = subprocess.run(
            [sys.executable, '-m', 'drpca', 'config'], stdout=full, stderr=subprocess.PIPE, text=True
        )
    assert (result.returncode, result.stderr) == (
        1,
        'error: No space left on device; free some space and start again.\n',
    )
