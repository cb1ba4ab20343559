"""One list of commands, and the files that call them."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import drpca
from drpca.cli.main import COMMANDS, SCRIPTS, main, script_of
from tests.support import ROOT

BENCHES = {'benchmark_baselines', 'benchmark_evaluation', 'demo'}
"""Scripts for those who work on the project: no commands, each whole in itself."""


def test_without_a_command_the_known_ones_are_listed(capsys: pytest.CaptureFixture) -> None:
    assert main([]) == 2
    err = capsys.readouterr().err
    assert all(name in err and script_of(name) in err for name in COMMANDS)


def test_version(capsys: pytest.CaptureFixture) -> None:
    assert main(['--version']) == 0
    assert capsys.readouterr().out == f'drpca {drpca.__version__}\n'


@pytest.mark.parametrize(
    ('given', 'nearest'), [('trian', 'train'), ('check_dataset', 'check-dataset'), ('foo', '')]
)
def test_an_unknown_command_names_the_nearest(
    given: str, nearest: str, capsys: pytest.CaptureFixture
) -> None:
    assert main([given, '--help']) == 2
    out, err = capsys.readouterr()
    assert not out
    assert err.startswith(f"error: There is no command '{given}'; the nearest is '{nearest}")
    assert err.count('\n') == 1


@pytest.mark.parametrize('name', sorted(COMMANDS))
def test_every_command_has_help(name: str, capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as ended:
        import_module(COMMANDS[name][0]).main(['--help'])
    assert ended.value.code == 0
    assert 'examples:' in capsys.readouterr().out


@pytest.mark.parametrize('name', sorted(COMMANDS))
def test_a_file_stands_for_every_command(name: str) -> None:
    """All files are the same but for their first line; those under tools/ also find the project."""
    file = ROOT / script_of(name)
    model = ROOT / ('inference.py' if name in SCRIPTS else 'tools/robustness.py')
    first, rest = file.read_text().split('\n', 1)
    assert first.endswith(f': ``python {script_of(name)} --help``."""')
    assert rest == model.read_text().split('\n', 1)[1]


def test_no_tool_without_a_command() -> None:
    tools = {path.stem for path in (ROOT / 'tools').glob('*.py')}
    assert tools == BENCHES | {Path(script_of(name)).stem for name in COMMANDS.keys() - SCRIPTS}


@pytest.mark.parametrize('script', [*SCRIPTS.values(), 'tools/check_dataset.py'])
def test_scripts_start_from_anywhere_without_installation(script: str, tmp_path: Path) -> None:
    """``-I -S`` hides installed packages; the packages that the project needs are given back by hand."""
    packages = [path for path in sys.path if path.endswith('site-packages')]
    code = f'import sys, runpy; sys.path += {packages}; sys.path[:0] = [{str((ROOT / script).parent)!r}]; '
    code += f"sys.argv = [{script!r}, '--help']; runpy.run_path({str(ROOT / script)!r}, run_name='__main__')"
    done = subprocess.run(
        [sys.executable, '-I', '-S', '-c', code], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert 'examples:' in done.stdout
