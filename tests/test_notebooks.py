"""The notebooks of the documents run, and hold the outputs of one run from top to bottom."""

from __future__ import annotations

import re
from pathlib import Path

import nbformat
import pytest
import torch

from tests.support import load_tool

TOOL = load_tool('notebooks')
NOTEBOOKS = sorted(TOOL.FOLDER.glob('*.ipynb'))
SMALL = 'EPOCHS, TRAIN, TEST, SIDE = 3, 8, 2, 32'


def code_cells(path: Path) -> list[nbformat.NotebookNode]:
    return [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == 'code']


@pytest.mark.parametrize('path', NOTEBOOKS, ids=['detect', 'train_and_compare'])
def test_the_cells_run_in_small(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In this process, which saves the start of a kernel; with few and small frames."""
    monkeypatch.chdir(tmp_path)
    threads, namespace = torch.get_num_threads(), {}
    try:
        for number, cell in enumerate(code_cells(path)):
            code = re.sub(r'^EPOCHS, .*$', SMALL, cell.source, flags=re.MULTILINE)
            exec(compile(code, f'{path.name} cell {number}', 'exec'), namespace)
    finally:
        torch.set_num_threads(threads)
    assert list(tmp_path.glob('results/**/run.json'))


@pytest.mark.parametrize('path', NOTEBOOKS, ids=['detect', 'train_and_compare'])
def test_outputs_are_of_one_run(path: Path) -> None:
    cells = code_cells(path)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell.outputs]
    assert {output.output_type for output in outputs} == {'stream', 'execute_result'}
    assert any('image/png' in output.get('data', {}) for output in outputs)
    assert path.stat().st_size < 400_000
    assert str(TOOL.FOLDER.parents[1]) not in path.read_text(encoding='utf-8')


@pytest.mark.slow
@pytest.mark.parametrize('path', NOTEBOOKS, ids=['detect', 'train_and_compare'])
def test_a_kernel_runs_them(path: Path, tmp_path: Path) -> None:
    notebook = TOOL.run(path, tmp_path)
    printed = ''.join(output.get('text', '') for cell in notebook.cells for output in cell.get('outputs', ()))
    if path.stem == 'train_and_compare':
        assert max(float(iou) for iou in re.findall(r': IoU (\d\.\d+)', printed)) > 0.1, printed
    else:
        assert printed.count('score 0.9') >= 4
