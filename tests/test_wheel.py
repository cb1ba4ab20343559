"""The wheel: whole in itself, with configs, metafiles and the project's weights."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.support import ROOT

pytest.importorskip('setuptools')

WEIGHTS = 'rpcanet_plus_sirstv1_whole-ead54e6b.pth'


@pytest.fixture(scope='module')
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a package that was built from a copy of the sources."""
    source, wheels, target = (tmp_path_factory.mktemp(name) for name in ('source', 'wheels', 'installed'))
    for name in ('drpca', 'configs'):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns('__pycache__'))
    (source / 'checkpoints').mkdir()
    names = ('pyproject.toml', 'setup.py', 'README.md', 'LICENSE', 'requirements.txt', f'checkpoints/{WEIGHTS}')
    for name in names:
        shutil.copy(ROOT / name, source / name)
    (source / 'checkpoints' / 'mine-best.pth').touch()
    command = ['pip', 'wheel', str(source), '--no-deps', '--no-build-isolation', '-q', '-w', str(wheels)]
    subprocess.run([sys.executable, '-m', *command], check=True)
    zipfile.ZipFile(next(wheels.glob('*.whl'))).extractall(target)
    return target


def test_contents(installed: Path) -> None:
    package = installed / 'drpca'
    for folder in ('drpca', 'configs'):
        files = [path.relative_to(ROOT / folder) for path in (ROOT / folder).rglob('*.*') if path.is_file()]
        files = [path for path in files if '__pycache__' not in path.parts and path.suffix != '.pyc']
        inside = package if folder == 'drpca' else package / folder
        assert [str(path) for path in files if not (inside / path).is_file()] == []
    assert [path.name for path in (package / 'checkpoints').iterdir()] == [WEIGHTS]


def test_commands_run_from_an_empty_folder(installed: Path, tmp_path: Path) -> None:
    def drpca(*arguments: str) -> str:
        code = f'import sys; sys.path.insert(0, {str(installed)!r}); from drpca.cli.main import main; '
        code += f'sys.exit(main({list(arguments)}))'
        done = subprocess.run([sys.executable, '-c', code], cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    drpca('make-synthetic', '--num-train', '6', '--num-test', '2', '--size', '64')
    assert 'lrrnet_synthetic' in drpca('train', 'lrrnet_synthetic', '--dry-run')
    drpca('infer', 'rpcanet_plus_sirstv1_whole', '--dataset', 'synthetic', '--size', '64')
    assert len(list(tmp_path.glob('results/synthetic/img/*.png'))) == 2
