"""The wheel: whole in itself, with configs, metafiles and the project's weights."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import drpca
from drpca.cards import weight_cards
from drpca.cli.main import COMMANDS
from drpca.config import default_models
from tests.support import ROOT

pytest.importorskip('setuptools')

OWN = {name: card.path.name for name, card in weight_cards().items()}
(DETECTOR,) = default_models('detect')


@pytest.fixture(scope='module')
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a package that was built from a copy of the sources."""
    source, wheels, target = (tmp_path_factory.mktemp(name) for name in ('source', 'wheels', 'installed'))
    for name in ('drpca', 'configs'):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns('__pycache__'))
    (source / 'checkpoints').mkdir()
    names = ('pyproject.toml', 'setup.py', 'README.md', 'LICENSE', 'requirements.txt')
    for name in (*names, *(f'checkpoints/{file}' for file in OWN.values())):
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
    assert {path.name for path in (package / 'checkpoints').iterdir()} == {*OWN.values()}


def run(installed: Path, folder: Path, *commands: str, timeout: float = 300) -> str:
    """Commands, one after the other in one process, of the package alone; what they print."""
    code = (
        f'import shlex, sys; sys.path.insert(0, {str(installed)!r})\n'
        'import drpca; from drpca.cli.main import main\n'
        f'assert drpca.__file__.startswith({str(installed)!r}), drpca.__file__\n'
        'for line in sys.argv[1:]:\n'
        '    try: code = main(shlex.split(line))\n'
        '    except SystemExit as end: code = end.code\n'
        "    assert not code, f'{line}: {code}'\n"
    )
    environment = {key: value for key, value in os.environ.items() if key != 'PYTHONPATH'}
    done = subprocess.run(
        [sys.executable, '-c', code, *commands], cwd=folder, env=environment, capture_output=True, text=True,
        timeout=timeout,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


# What needs the data set, the weights or the templates of the package; the slow test has the rest.
COMMANDS_RUN = (
    'make-synthetic --num-train 6 --num-test 2 --size 64',
    'check-dataset --dataset synthetic',
    'config lrrnet_synthetic',
    'weights',
    'train lrrnet_synthetic --dry-run',
    f'infer {DETECTOR} --dataset synthetic --size 64',
    'score --report report.html',
)
UNFOLDED = 'rpcanet_plus_sirstv1_whole'
"""Its weights come with the project, too, and it has B and T."""
_WEIGHTS = f'{UNFOLDED} --checkpoint {{package}}/checkpoints/{OWN[UNFOLDED]} --dataset synthetic --size 64'
MORE_RUN = (
    'train rpcanet_plus_synthetic --epochs 2 --cfg-options model.network.num_stages=1 train_dataloader.num_workers=0 '
    'train_dataloader.persistent_workers=False train_dataloader.batch_size=2 train_dataloader.dataset.size=64',
    f'robustness {_WEIGHTS}',
    f'visualize-stages {_WEIGHTS}',
    f'analyse-decomposition {_WEIGHTS}',
    f'cross-dataset {_WEIGHTS}',
    'leaderboard tophat --dataset synthetic --no-latency',
    f'export {DETECTOR} --checkpoint {{package}}/checkpoints/{OWN[DETECTOR]} --out net.pt2 --format torch '
    '--images datasets/synthetic/test/images --size 64',
    'benchmark RPCANetPlus --variants optimised --size 64 --repetitions 1 --no-memory',
)


def test_commands_run_from_an_empty_folder(installed: Path, tmp_path: Path) -> None:
    printed = run(installed, tmp_path, *(f'{name} --help' for name in COMMANDS), *COMMANDS_RUN)
    assert printed.count('usage: ') == len(COMMANDS)
    assert len(list(tmp_path.glob('results/synthetic/img/*.png'))) == 2
    assert 'synthetic' in (tmp_path / 'report.html').read_text()


@pytest.mark.slow
def test_the_other_commands_run_from_an_empty_folder(installed: Path, tmp_path: Path) -> None:
    commands = [COMMANDS_RUN[0], *(line.format(package=installed / 'drpca') for line in MORE_RUN)]
    run(installed, tmp_path, *commands, timeout=900)


def test_the_version_is_the_same_everywhere(installed: Path) -> None:
    (metadata,) = installed.glob('drpca-*.dist-info/METADATA')
    lines = metadata.read_text().splitlines()
    assert f'Version: {drpca.__version__}' in lines
    assert any(line.startswith('Requires-Dist: torchvision') for line in lines)
    assert f'\nversion: {drpca.__version__}\n' in (ROOT / 'CITATION.cff').read_text()
