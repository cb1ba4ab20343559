"""One list of commands, and the files that call them."""

from __future__ import annotations

import re
import resource
import subprocess
import sys
from pathlib import Path

import pytest

import drpca
from drpca import options
from drpca.cli.main import COMMANDS, main
from drpca.deploy.backends import BACKENDS
from drpca.deploy.optimise import PRECISIONS
from drpca.deploy.variants import VARIANTS
from drpca.inference.video_writer import CODECS
from drpca.options import SCRIPTS, script_of
from drpca.studies.decomposition import VIEWS
from tests.support import ROOT, python

BENCHES = {'benchmark_baselines', 'benchmark_evaluation', 'demo', 'notebooks', 'site_pages'}
"""Scripts for those who work on the project: no commands, each whole in itself."""


def test_without_a_command_the_known_ones_are_listed(capsys: pytest.CaptureFixture) -> None:
    assert main([]) == 2
    err = capsys.readouterr().err
    assert all(name in err and script_of(name) in err for name in COMMANDS)


def test_version(capsys: pytest.CaptureFixture) -> None:
    assert main(['--version']) == 0
    assert capsys.readouterr().out == f'drpca {drpca.__version__}\n'


@pytest.mark.parametrize(('given', 'nearest'), [('trian', 'train'), ('check_dataset', 'check-dataset'), ('foo', '')])
def test_an_unknown_command_names_the_nearest(given: str, nearest: str, capsys: pytest.CaptureFixture) -> None:
    assert main([given, '--help']) == 2
    out, err = capsys.readouterr()
    assert not out
    assert err.startswith(f"error: There is no command '{given}'; the nearest is '{nearest}")
    assert err.count('\n') == 1


@pytest.mark.parametrize('name', ['', *sorted(COMMANDS)])
def test_help_takes_less_than_a_second(name: str) -> None:
    """Of processor time. What a command needs is imported after its arguments are read."""
    code = (
        'import resource, sys; from drpca.cli.main import main\ntry: main(sys.argv[1:])\nexcept SystemExit: pass\n'
        "print(*{'torch', 'scipy.optimize', 'matplotlib', 'mmengine.runner'} & set(sys.modules), file=sys.stderr)"
    )
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = python(code, *name.split(), '--help')
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    script = '-m drpca.app' if name == 'app' else script_of(name) if name else ''
    assert (f'examples:\n  python {script}' if name else 'usage: ') in done.stdout
    assert ('exit status' in done.stdout) == (name not in ('', 'train', 'export', 'benchmark', 'benchmark-training'))
    assert not done.stderr.strip()
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 1


def test_options_offer_what_there_is() -> None:
    assert tuple(PRECISIONS) == options.PRECISIONS
    assert tuple(BACKENDS) == options.BACKENDS
    assert tuple(CODECS) == options.VIDEO_OUT
    assert tuple(VARIANTS) == options.VARIANTS
    assert tuple(VIEWS) == options.VIEWS


@pytest.mark.parametrize('name', sorted(COMMANDS))
def test_a_file_stands_for_every_command(name: str) -> None:
    """All files are the same but for their first line; those under tools/ also find the project."""
    file = ROOT / script_of(name)
    model = ROOT / ('inference.py' if name in SCRIPTS else 'tools/robustness.py')
    first, rest = file.read_text().split('\n', 1)
    assert first.endswith(f': ``python {script_of(name)} --help``."""')
    assert rest == model.read_text().split('\n', 1)[1]


def test_no_command_calls_another() -> None:
    """A command parses, calls one function, prints: what two of them need stands in ``common`` or among the options."""
    for path in (ROOT / 'drpca' / 'cli').glob('*.py'):
        for module in re.findall(r'(?:from|import) drpca\.cli(?:\.| import )(\w+)', path.read_text()):
            assert module in ('common', 'guard') or module.endswith('_options'), f'{path.name} imports {module}'


def test_no_tool_without_a_command() -> None:
    tools = {path.stem for path in (ROOT / 'tools').glob('*.py')}
    assert tools == BENCHES | {Path(script_of(name)).stem for name in COMMANDS.keys() - SCRIPTS}


@pytest.mark.parametrize('script', [*SCRIPTS.values(), 'tools/check_dataset.py'])
def test_scripts_start_from_anywhere_without_installation(script: str, tmp_path: Path) -> None:
    """``-I -S`` hides installed packages; the packages that the project needs are given back by hand."""
    packages = [path for path in sys.path if path.endswith('site-packages')]
    code = f'import sys, runpy; sys.path += {packages}; sys.path[:0] = [{str((ROOT / script).parent)!r}]; '
    code += f"sys.argv = [{script!r}, '--help']; runpy.run_path({str(ROOT / script)!r}, run_name='__main__')"
    done = subprocess.run([sys.executable, '-I', '-S', '-c', code], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert 'examples:' in done.stdout
