"""``docs/api.md``: its code runs as it stands, and it shows every public name."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

import drpca
from tests.support import ROOT

PAGE = (ROOT / 'docs' / 'api.md').read_text()


def test_every_public_name_is_on_the_page() -> None:
    listed = re.findall(r'^\| \[`(\w+)`\]', PAGE, flags=re.M)
    assert sorted(listed) == sorted(drpca.__all__)
    code = '\n'.join(re.findall(r'```python\n(.*?)```', PAGE, flags=re.S))
    assert set(drpca.__all__) == set(re.findall(r'drpca\.(\w+)\(', code))


def test_the_code_runs_from_top_to_bottom(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv('DRPCA_DATA', raising=False)
    threads = torch.get_num_threads()
    namespace: dict[str, object] = {}
    try:
        for number, code in enumerate(re.findall(r'```python\n(.*?)```', PAGE, flags=re.S)):
            exec(compile(code, f'docs/api.md block {number}', 'exec'), namespace)
    finally:
        torch.set_num_threads(threads)
    assert (tmp_path / 'results' / 'synthetic' / 'run.json').is_file()
    assert not (tmp_path / 'results' / 'robustness').exists()
