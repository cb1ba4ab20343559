"""One name for all commands."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module

import pytest

from drpca.cli.main import COMMANDS, main
from tests.support import ROOT


def test_without_a_command_the_known_ones_are_listed(capsys: pytest.CaptureFixture) -> None:
    assert main([]) == 2
    err = capsys.readouterr().err
    assert all(name in err for name in COMMANDS)


@pytest.mark.parametrize('name', sorted(COMMANDS))
def test_every_command_has_help(name: str, capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as ended:
        import_module(COMMANDS[name][0]).main(['--help'])
    assert ended.value.code == 0
    assert 'examples:' in capsys.readouterr().out


@pytest.mark.parametrize('script', ['run_configs.py', 'inference.py', 'cal_from_mask.py'])
def test_scripts_start_from_anywhere(script: str, tmp_path) -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / script), '--help'], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert 'examples:' in done.stdout
