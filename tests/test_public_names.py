"""``import drpca``: quick, and with names that people, help and type checkers see."""

from __future__ import annotations

import os
import pydoc
import subprocess
import sys
from pathlib import Path

import pytest

import drpca
from tests.support import ROOT, python


def test_import_alone_is_quick() -> None:
    code = "import drpca, sys; print(*{'torch', 'cv2', 'numpy', 'mmengine'} & set(sys.modules))"
    assert python(code).stdout == '\n'


def test_the_public_names_are_listed_and_described() -> None:
    assert {'Detector', 'load_weights'} <= set(drpca.__all__) == set(dir(drpca))
    text = pydoc.render_doc(drpca, renderer=pydoc.plaintext)
    for name in drpca.__all__:
        assert getattr(drpca, name).__doc__, name
        assert name in text
    with pytest.raises(AttributeError):
        drpca.detector  # noqa: B018


@pytest.mark.parametrize(
    ('line', 'verdict'),
    [
        ("drpca.Detector('RPCANet', threshold=0.4)", ''),
        ("drpca.Detector('RPCANet', threshold='high')", 'incompatible type'),
        ('drpca.train_network()', 'has no attribute'),
    ],
)
def test_type_checkers_know_the_public_names(line: str, verdict: str, tmp_path: Path) -> None:
    """As from another project that has this one installed: ``py.typed`` and the stub are what counts."""
    file = tmp_path / 'use.py'
    file.write_text(f'import drpca\n\n{line}\n')
    command = [sys.executable, '-m', 'mypy', '--config-file', '', '--ignore-missing-imports', str(file)]
    command += ['--follow-imports', 'silent', '--cache-dir', str(ROOT / '.mypy_cache' / 'public_names')]
    # An editable installation may lie behind an import hook, which type checkers do not follow.
    environment = {**os.environ, 'MYPYPATH': str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment)
    assert verdict in done.stdout if verdict else done.returncode == 0, done.stdout + done.stderr
