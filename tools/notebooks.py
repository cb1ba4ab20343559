"""Runs the notebooks of the documents, each in an empty folder, and keeps their outputs in them: ``make notebooks``.

``python tools/notebooks.py FILE …`` runs some of them.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient

FOLDER = Path(__file__).resolve().parents[1] / 'docs' / 'notebooks'


def run(path: Path, folder: Path) -> nbformat.NotebookNode:
    """The notebook with the outputs of a new kernel that runs in ``folder``; without times, warnings and progress.

    Raises:
        nbclient.exceptions.CellExecutionError: A cell failed.
    """
    notebook = nbformat.read(path, as_version=4)
    resources = {'metadata': {'path': str(folder)}}
    client = NotebookClient(notebook, timeout=3600, kernel_name='python3', resources=resources, coalesce_streams=True)
    client.execute()
    notebook.metadata = {'kernelspec': {'display_name': 'Python 3', 'language': 'python', 'name': 'python3'}}
    for cell in notebook.cells:
        cell.metadata.pop('execution', None)
        if cell.cell_type == 'code':
            cell.outputs = [output for output in cell.outputs if output.get('name') != 'stderr']
    return notebook


def main() -> int:
    for path in [Path(name) for name in sys.argv[1:]] or sorted(FOLDER.glob('*.ipynb')):
        with tempfile.TemporaryDirectory() as folder:
            notebook = run(path, Path(folder))
        nbformat.write(notebook, path)
        print(path)
    return 0


if __name__ == '__main__':
    sys.exit(main())
