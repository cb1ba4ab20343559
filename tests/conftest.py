"""Makes ``tests.support`` importable however pytest is started, and keeps the tests to one thread each.

Tests run in parallel processes; on these small tensors more threads only wait for each other.
"""

import os
import random
import sys
from pathlib import Path

os.environ.setdefault('OMP_NUM_THREADS', '1')

import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _same_random_numbers():
    """A test that draws without a seed of its own passes always or never."""
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002, for MMEngine draws from it
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def _no_data_root(monkeypatch, tmp_path_factory):
    """Tests name their data; a developer's own settings must not reach them, and they reach no network."""
    monkeypatch.delenv('DRPCA_DATA', raising=False)
    monkeypatch.setenv('COLUMNS', '240')  # a table on one line, unless a test is about folding
    monkeypatch.setenv('DRPCA_HOME', str(tmp_path_factory.getbasetemp() / 'home'))
    monkeypatch.setenv('DRPCA_MIRROR', 'http://127.0.0.1:9')


@pytest.fixture(scope='session')
def data_root(tmp_path_factory):
    """The folder of a made data set: 16 images to train on (13 without those for validation) and 4 to test."""
    from drpca.datasets.synthetic import generate_dataset

    root = tmp_path_factory.mktemp('data')
    generate_dataset(root, num_train=16, num_test=4, size=64)
    return root
