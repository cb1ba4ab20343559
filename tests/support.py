"""Helpers of the tests."""

from __future__ import annotations

from pathlib import Path

import pytest

DATA = Path(__file__).parent / 'data'
ROOT = Path(__file__).resolve().parents[1]


def shared_path(*parts: str) -> Path:
    """A file of the development data beside the clone; skips the test where there is none."""
    path = ROOT.parent.joinpath('shared', *parts)
    if not path.exists():
        pytest.skip(f'needs {"/".join(parts)} of the development data, which is not beside this clone')
    return path
