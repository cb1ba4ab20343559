"""The fuzzer finds nothing that is not known; and what it says of a command with faults is right."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.fuzz.cases import Case, make_case
from tests.fuzz.known import KNOWN
from tests.fuzz.runner import hashes, looked_around, said
from tests.support import ROOT, python

CASES = 600
TRACEBACK = """Traceback (most recent call last):
  File "/a/drpca/config.py", line 7, in load
    x
KeyError: 'a'
"""

still_open = pytest.mark.xfail(bool(KNOWN), reason='faults are still open, see tests/fuzz/known.py', strict=False)


def fuzz(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The fuzzer in a process of its own: it forks, which a process with threads must not."""
    command = [sys.executable, '-m', 'tests.fuzz', *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@still_open
def test_bad_input_of_every_kind(tmp_path: Path) -> None:
    done = fuzz('--cases', str(CASES), '--keep', str(tmp_path / 'faults'))
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_case_follows_from_seed_and_number() -> None:
    cases = [make_case(1, number).text() for number in range(300)]
    assert cases == [make_case(1, number).text() for number in range(300)]
    assert len(set(cases)) > 270
    assert cases[0] != make_case(2, 0).text()
    assert all(Case.read(case).text() == case for case in cases)


def test_a_kept_case_runs_again(tmp_path: Path) -> None:
    (tmp_path / 'case.json').write_text(Case(['score', '--results', 'nope']).text())
    done = fuzz('--replay', str(tmp_path))
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


def test_nothing_in_a_file_runs(tmp_path: Path) -> None:
    """Python in checkpoints, pickles in weights and exported networks, PostScript as a picture."""
    scratch = tmp_path / 'scratch'
    code = (
        'import sys; from pathlib import Path; from random import Random\n'
        'from tests.fuzz.cases import payloads; from tests.fuzz.runner import load, make_world, run_cases\n'
        f'scratch = Path({str(scratch)!r}); world = make_world(scratch); load()\n'
        "cases = [(n, payloads(Random(f'payload {n}'))) for n in range(60)]\n"
        'for outcome in run_cases(cases, world, scratch, 2):\n'
        "    print(*(f'{fault} {outcome.case}' for fault in outcome.faults if fault.kind in ('code ran', 'crash')))\n"
    )
    done = python(code, OMP_NUM_THREADS='1', OPENBLAS_NUM_THREADS='1')
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == ''
