"""Trainings and inferences that are killed at random moments and begun again end as if nothing had happened."""

from __future__ import annotations

import csv
import json
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import drpca.engine.train
import drpca.results.predict  # noqa: F401  (now, so that the killed processes do not spend their time on it)
from drpca.cli import infer
from drpca.cli import train as train_command
from drpca.datasets.io import read_image, read_maps
from drpca.datasets.synthetic import generate_dataset
from drpca.registry import MODELS
from drpca.results.folder import COLUMNS

pytestmark = pytest.mark.skipif(not hasattr(os, 'fork'), reason='needs fork')

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGKILL)
MOST = 4
"""Kills in a row before one is left to end."""
TRAIN = [
    *('--model', 'rpcanet', '--dataset', 'synthetic', '--data-root', 'datasets', '--epochs', '5', '--batch-size', '2'),
    *('--workers', '0', '--resume', '--cfg-options', 'model.network.num_stages=1', 'model.network.channels=4'),
    *('train_cfg.val_interval=1', 'default_hooks.checkpoint.interval_iters=1'),
    *(f'{part}_dataloader.dataset.size=32' for part in ('train', 'val', 'test')),
]  # fmt: skip
INFER = [
    *('rpcanet_sirstv1', '--checkpoint', 'w.pth', '--size', '64', '--dataset', 'synthetic'),
    *('--format', 'png', 'mat', 'json', 'csv', 'coco', '--overlay', '--save-stages', '--threshold', '0.3'),
    *('--cfg-options', 'model.network.num_stages=1', 'model.network.channels=4'),
]  # fmt: skip


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    generate_dataset('datasets', num_train=10, num_test=12, size=64)
    torch.manual_seed(0)
    torch.save(MODELS.build({'type': 'RPCANet', 'num_stages': 1, 'channels': 4}).state_dict(), 'w.pth')
    return tmp_path


def run(main: Callable[[list[str]], int], argv: list[str], kill: int = 0, after: float = 0.0) -> tuple[int, float]:
    """A command in a process of its own, which gets a signal after so many seconds.

    Returns:
        Its exit code, or minus the signal that ended it; and the seconds it took.
    """
    started = time.perf_counter()
    process = os.fork()
    if process == 0:
        code = 70
        try:
            log = os.open('log.txt', os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            os.dup2(log, 1)
            os.dup2(log, 2)
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
            code = main(argv)
        finally:
            os._exit(code)
    if kill:
        time.sleep(after)
        os.kill(process, kill)
    status = os.waitpid(process, 0)[1]
    return os.waitstatus_to_exitcode(status), time.perf_counter() - started


def content(folder: str) -> dict[str, Any]:
    """What the files hold, less dates, durations and places; a file that is cut off is not read."""
    found: dict[str, Any] = {}
    for path in sorted(Path(folder).rglob('*')):
        name = path.relative_to(folder).as_posix()
        if not path.is_file() or '.partial' in path.name or path.name == '.lock':
            continue
        if path.suffix == '.png':
            found[name] = read_image(path).tolist()
        elif path.suffix == '.mat':
            found[name] = read_maps(path, ['T'])['T'].tolist()
        elif path.suffix == '.json':
            found[name] = json.loads(path.read_text())
        elif path.suffix == '.jsonl':
            found[name] = [json.loads(line) for line in path.read_text().splitlines()]
        elif path.suffix == '.csv':
            rows = list(csv.reader(path.open()))
            assert path.read_bytes().endswith(b'\n')
            assert {len(row) for row in rows} == {len(COLUMNS)}
            found[name] = rows
        elif path.suffix == '.pth':
            found[name] = torch.load(path, weights_only=True)['state_dict']
    return found


def differing(first: dict[str, Any], second: dict[str, Any]) -> list[str]:
    """Names of the files that differ."""

    def same(name: str) -> bool:
        one, other = first[name], second.get(name)
        if name.endswith('.pth'):
            return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)
        if name.endswith(('.jsonl', 'summary.json')):
            lines = [[entry] if isinstance(entry, dict) else entry for entry in (one, other)]
            one, other = (
                [{k: v for k, v in line.items() if k not in ('seconds', 'checkpoint')} for line in entry]
                for entry in lines
            )
        return one == other

    return [name for name in first.keys() | second.keys() if name not in first or not same(name)]


def kill_and_begin_again(
    main: Callable[[list[str]], int], argv: list[str], folder: str, option: str, kills: int, seed: int
) -> Counter[str]:
    """Kills so many runs in all, each begun again until it ends; all have to end with the same files.

    Returns:
        How often each signal came before the run was over, and the number of runs that ended.
    """
    draw = random.Random(seed)
    code, seconds = run(main, [option, folder + '0', *argv])
    assert code == 0, Path('log.txt').read_text()[-3000:]
    expected = content(folder + '0')
    counts: Counter[str] = Counter()
    while counts.total() - counts['ended'] < kills:
        counts['ended'] += 1
        out = f'{folder}{counts["ended"]}'
        for _ in range(MOST):
            number = draw.choice(SIGNALS)
            code, _ = run(main, [option, out, *argv], number, draw.uniform(0, seconds))
            content(out)  # raises where a file is cut off
            if code == 0:
                break
            assert code in (75, 130, -signal.SIGTERM, -signal.SIGKILL, -signal.SIGINT), Path('log.txt').read_text()[
                -3000:
            ]
            counts[number.name] += 1
        if code:
            code, _ = run(main, [option, out, *argv])
        assert code == 0, Path('log.txt').read_text()[-3000:]
        assert not differing(expected, content(out))
        assert not list(Path(out).rglob('*.partial*')), 'drafts are left'
    return counts


def check(kills: int, seed: int) -> None:
    counts = {
        'trainings': kill_and_begin_again(train_command.main, TRAIN, 'runs', '--work-dir', kills // 2, seed),
        'inferences': kill_and_begin_again(infer.main, INFER, 'results', '--out', kills - kills // 2, seed),
    }
    print(counts)
    assert 'Traceback' not in Path('log.txt').read_text()


def test_killed_and_begun_again(workplace: Path) -> None:
    check(6, seed=0)


@pytest.mark.slow
def test_a_hundred_kills(workplace: Path) -> None:
    check(100, seed=1)
