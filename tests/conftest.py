"""Makes ``tests.support`` importable however pytest is started, and keeps the tests to one thread each."""

import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
torch.set_num_threads(2)


@pytest.fixture(autouse=True)
def _no_data_root(monkeypatch):
    """Tests name their data; a developer's own setting must not reach them."""
    monkeypatch.delenv('DRPCA_DATA', raising=False)
