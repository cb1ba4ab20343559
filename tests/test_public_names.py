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


@pytest.mark.parametrize(
    ('own', 'expected'),
    [({}, 'passive'), ({'OMP_WAIT_POLICY': 'active'}, 'active'), ({'GOMP_SPINCOUNT': '1000'}, 'None')],
)
def test_waiting_threads_sleep_unless_a_user_says_otherwise(
    own: dict[str, str], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ('OMP_WAIT_POLICY', 'GOMP_SPINCOUNT', 'KMP_BLOCKTIME'):
        monkeypatch.delenv(name, raising=False)
    assert python("import drpca, os; print(os.environ.get('OMP_WAIT_POLICY'))", **own).stdout == f'{expected}\n'


BUSY = """
import time
import drpca, torch
from drpca.models.detector import DetectionModel
torch.manual_seed(0)
model = DetectionModel({'type': 'LRRNet'})
detector = drpca.Detector(model, size=256)
frame = torch.rand(256, 256)

def step():
    model.train().outputs(torch.rand(2, 1, 128, 128))['target'].sum().backward()

for work in (lambda: detector(frame), step):
    work()
    times = []
    for _ in range(7):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    print(sorted(times)[3])
"""


@pytest.mark.slow
def test_a_busy_core_costs_no_more_than_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two threads on two cores, alone and beside a process that keeps one of them busy; seven runs, their median.

    With PyTorch's own policy it was 20 times the time. On a machine that others keep busy it says little.
    """
    monkeypatch.delenv('OMP_WAIT_POLICY', raising=False)
    cores = sorted(os.sched_getaffinity(0))[:2]
    pinned = f'import os; os.sched_setaffinity(0, {cores}); '

    def seconds() -> list[float]:
        done = python(pinned + BUSY.strip(), OMP_NUM_THREADS=str(len(cores)))
        assert done.returncode == 0, done.stderr
        return [float(line) for line in done.stdout.splitlines()]

    alone = seconds()
    busy = subprocess.Popen([sys.executable, '-c', f'{pinned}\nwhile True: pass'])
    try:
        beside = seconds()
    finally:
        busy.kill()
        busy.wait()
    for name, before, after in zip(('inference', 'training step'), alone, beside):
        print(f'{name}: {before:.3f} s alone, {after:.3f} s beside a busy process')
        assert after < 2.5 * before


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
@pytest.mark.slow
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
