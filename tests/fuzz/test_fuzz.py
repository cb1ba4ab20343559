"""The fuzzer finds nothing; and what it says of a command with faults is right."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path
from random import Random

import pytest

from tests.fuzz.cases import Case, make_case, payload_forms
from tests.fuzz.runner import hashes, looked_around, said
from tests.support import ROOT

CASES = 2000
TRACEBACK = """Traceback (most recent call last):
  File "/a/drpca/config.py", line 7, in load
    x
KeyError: 'a'
"""


@pytest.fixture(scope='module')
def world(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Where the world of both runs is."""
    return str(tmp_path_factory.mktemp('fuzz') / 'world')


def fuzz(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The fuzzer in a process of its own: it forks, which a process with threads must not."""
    command = [sys.executable, '-m', 'tests.fuzz', *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_bad_input_of_every_kind(world: str, tmp_path: Path) -> None:
    done = fuzz('--cases', str(CASES), '--world', world, '--keep', str(tmp_path / 'faults'))
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_case_follows_from_seed_and_number() -> None:
    cases = [make_case(1, number).text() for number in range(300)]
    assert cases == [make_case(1, number).text() for number in range(300)]
    assert len(set(cases)) > 270
    assert cases[0] != make_case(2, 0).text()
    assert all(Case.read(case).text() == case for case in cases)


def test_every_payload_is_tried() -> None:
    """What runs from a file is a fault of its case (``code ran``)."""
    tried = Counter(_form(make_case(0, number)) for number in range(CASES))
    assert min(tried[_form(form)] for form in payload_forms(Random(0))) >= 2


def _form(case: Case) -> str:
    """Command, file and kind of edit, without what is drawn."""
    return f'{case.argv} {case.edits[0][:2] if case.edits else ""} {"marker" in str(case.edits)}'


def test_a_kept_case_runs_again(world: str, tmp_path: Path) -> None:
    (tmp_path / 'case.json').write_text(Case(['score', '--results', 'nope']).text())
    done = fuzz('--replay', str(tmp_path), '--world', world)
    assert done.returncode == 0, done.stderr
    assert 'error: No results folder nope' in done.stdout
    assert 'exit code 2' in done.stdout


@pytest.mark.parametrize(
    ('text', 'kept', 'code', 'faults'),
    [
        ('error: a\n', '', 2, []),
        ('error: a\nerror: b\n', '', 2, ['noise: score: 2 error lines']),
        ('', '', 2, ['noise: score: code 2 without an error line']),
        ('libpng warning: bad\nerror: a\n', '', 2, ['noise: score: libpng']),
        ('', '', 3, ['code: 3 score']),
        (TRACEBACK, '', 1, ['traceback: drpca/config.py:load KeyError']),
        ('error: A fault\n', TRACEBACK, 70, ['traceback: drpca/config.py:load KeyError']),
    ],
)
def test_the_screen_is_judged(text: str, kept: str, code: int, faults: list[str]) -> None:
    assert [*map(str, said(text, kept, code, 'score', 1))] == faults


def test_files_are_judged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ('own.py', 'new.json'):
        Path(name).write_text('1')
    before = hashes(tmp_path)
    case = Case(['score', '--json', 'new.json'], [['config_text', 'a', 'b'], ['disk', 5]])
    assert looked_around(case, tmp_path, before, 0) == []
    Path('new.json').write_text('2')
    Path('own.py').unlink()
    Path('MARK').touch()
    Path('new.csv').write_text('12345')
    assert looked_around(case, tmp_path, before, 0) == [
        ('code ran', 'score from a config_text'),
        ('replaced', 'score: a file named with --json'),
        ('replaced', 'score: an input .py, not named'),
        ('silent', 'score: a file is cut where the disk was full'),
    ]
