"""The folder of a training: what it says, and finding one."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from drpca.errors import UserError
from drpca.run_folder import RunFolder, best_run, find_runs, newest_weights


def made(root: Path, name: str, seed: int, *files: str, best: float | None = None) -> RunFolder:
    folder = root / name / f'seed_{seed}'
    folder.mkdir(parents=True)
    for file in files:
        (folder / file).write_text('')
    if best is not None:
        (folder / 'summary.json').write_text(json.dumps({'best': best}))
    return RunFolder(folder)


def test_states_and_files(tmp_path: Path) -> None:
    assert RunFolder(tmp_path / 'a' / 'seed_0').state == 'train'
    begun = made(tmp_path, 'acm_sirstv1', 3, 'log.jsonl', 'last.pth')
    assert (begun.state, begun.files(), begun.weights) == ('resume', ['last.pth', 'log.jsonl'], None)
    assert (begun.name, begun.seed, begun.log()) == ('acm_sirstv1', 3, [])
    done = made(tmp_path, 'acm_sirstv1_final', 0, 'final.pth', best=0.5)
    assert (done.state, done.weights, done.summary()) == ('done', done.path / 'final.pth', {'best': 0.5})


@pytest.mark.parametrize('name', ['log.jsonl', 'summary.json'])
def test_damaged_files_are_one_line(tmp_path: Path, name: str) -> None:
    run = made(tmp_path, 'acm_sirstv1', 0)
    (run.path / name).write_text('{"epoch": 1')
    with pytest.raises(UserError, match=f'Cannot read .*{name}: expected JSON'):
        run.log() if name.startswith('log') else run.summary()


def test_finding_runs(tmp_path: Path) -> None:
    names = ['acm_sirstv1', 'acm_sirstv1_cpu', 'acm_sirstv1_final', 'acm_sirstv1_on_irstd1k']
    for age, name in enumerate(names):
        file = made(tmp_path, name, 0, 'final.pth' if 'final' in name else 'best.pth').weights
        assert file is not None
        os.utime(file, (1000 - age, 1000 - age))
    (tmp_path / 'acm_sirstv1' / 'seed_x').mkdir()
    assert [run.name for run in find_runs(tmp_path)] == ['acm_sirstv1', *names]
    found = [run.name for run in find_runs(tmp_path, 'acm_sirstv1')]
    assert found == ['acm_sirstv1', 'acm_sirstv1', 'acm_sirstv1_final', 'acm_sirstv1_on_irstd1k']
    assert newest_weights(tmp_path) == tmp_path / 'acm_sirstv1' / 'seed_0' / 'best.pth'
    cpu = tmp_path / 'acm_sirstv1_cpu' / 'seed_0' / 'best.pth'
    assert newest_weights(tmp_path, 'acm_sirstv1_cpu') == cpu
    assert newest_weights(tmp_path / 'nowhere') is None


def test_the_best_of_the_runs_that_are_done(tmp_path: Path) -> None:
    for seed, best in ((0, 0.5), (1, 0.7), (2, 0.6)):
        made(tmp_path, 'acm_sirstv1', seed, 'best.pth', best=best)
    made(tmp_path, 'acm_sirstv1', 3, 'best.pth')
    made(tmp_path, 'acm_sirstv1', 4, best=0.9)
    of_seed_1 = tmp_path / 'acm_sirstv1' / 'seed_1' / 'best.pth'
    assert best_run(tmp_path, 'acm_sirstv1') == ({'best': 0.7}, of_seed_1)
    assert best_run(tmp_path, 'acm_sirstv1', 2)[0] == {'best': 0.6}
    with pytest.raises(UserError, match='No finished run of seed 3 in'):
        best_run(tmp_path, 'acm_sirstv1', 3)
    with pytest.raises(UserError, match='No finished run of any seed in'):
        best_run(tmp_path, 'acm')
