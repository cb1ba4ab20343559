"""Helpers of the tests."""

from __future__ import annotations

import inspect
import resource
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from drpca.registry import MODELS, network_names

DATA = Path(__file__).parent / 'data'
ROOT = Path(__file__).resolve().parents[1]


def shared_path(*parts: str) -> Path:
    """A file of the development data beside the clone; skips the test where there is none."""
    path = ROOT.parent.joinpath('shared', *parts)
    if not path.exists():
        pytest.skip(f'needs {"/".join(parts)} of the development data, which is not beside this clone')
    return path


def small(name: str) -> dict[str, Any]:
    """Config of a registered network, of two stages of 16 channels where it has stages, and without dropout."""
    known = inspect.signature(MODELS.get(name)).parameters
    options = {'num_stages': 2, 'channels': 16} if 'num_stages' in known else {'dropout': 0.0}
    return {'type': name, **{key: value for key, value in options.items() if key in known}}


def decomposing_networks() -> list[str]:
    """The registered networks that split an image into background and target."""
    return [name for name in network_names() if hasattr(MODELS.get(name), 'decompose')]


def exit_code(main: Callable[[list[str]], int], arguments: list[str]) -> int:
    """What a command ends with, also where its parser ends it."""
    try:
        return main(arguments)
    except SystemExit as end:
        return int(end.code or 0)


@contextmanager
def limited_files(size: int) -> Iterator[None]:
    """No file can grow beyond so many bytes: what a full disk does, to any user."""
    limits, action = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, action)
