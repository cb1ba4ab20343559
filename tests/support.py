"""Helpers of the tests."""

from __future__ import annotations

import importlib.util
import inspect
import os
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from mmengine.optim import build_optim_wrapper
from torch import Tensor, nn

import drpca
from drpca.registry import MODELS, network_names

DATA = Path(__file__).parent / 'data'
ROOT = Path(__file__).resolve().parents[1]

CHROMIUM = shutil.which('chromium') or shutil.which('chromium-browser') or shutil.which('google-chrome')
"""The browser of the tests that drive one, where there is one."""


def shared_path(*parts: str) -> Path:
    """A file of the development data beside the clone; skips the test where there is none."""
    path = ROOT.parent.joinpath('shared', *parts)
    if not path.exists():
        pytest.skip(f'needs {"/".join(parts)} of the development data, which is not beside this clone')
    return path


def small(name: str) -> dict[str, Any]:
    """Config of a registered network, of two stages of 16 channels where it has stages, without dropout and
    with every gradient."""
    known = inspect.signature(MODELS.get(name)).parameters
    options = {'num_stages': 2, 'channels': 16} if 'num_stages' in known else {'dropout': 0.0, 'attached': True}
    return {'type': name, **{key: value for key, value in options.items() if key in known}}


def decomposing_networks() -> list[str]:
    """The registered networks that split an image, not a window, into background and target."""
    kinds = ((name, MODELS.get(name)) for name in network_names())
    return [name for name, kind in kinds if hasattr(kind, 'decompose') and getattr(kind, 'frames', 1) == 1]


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


def save_weights(path: Any = 'w.pth', seed: int = 0, network: str = 'RPCANetPlus', **options: Any) -> None:
    """A file with the weights of a new network, of one stage unless told otherwise."""
    torch.manual_seed(seed)
    torch.save(MODELS.build({'type': network, 'num_stages': 1, **options}).state_dict(), path)


def error_line(capsys: pytest.CaptureFixture) -> str:
    """The one line on stderr, besides notes."""
    err = capsys.readouterr().err
    (line,) = [line for line in err.splitlines() if not line.startswith('note: ')]
    assert line.startswith('error: '), err
    return line


def python(code: str, *arguments: str, cwd: Path = ROOT, **more: str) -> subprocess.CompletedProcess[str]:
    """Code that finds this project, run in a process of its own; ``more``: of its environment."""
    return subprocess.run(
        [sys.executable, '-c', code, *arguments], cwd=cwd, env={**os.environ, 'PYTHONPATH': str(ROOT), **more},
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip


def load_tool(name: str) -> ModuleType:
    """A file of ``tools/`` as a module."""
    spec = importlib.util.spec_from_file_location(name, ROOT / 'tools' / f'{name}.py')
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# Trains and kills itself in the fifth step, as the system or a power cut would.
KILLED_IN_A_STEP = """
import os, signal
from drpca.models.detector import DetectionModel
train_step, steps = DetectionModel.train_step, []
def step(self, *args, **kwargs):
    steps.append(1)
    if len(steps) == 5:
        os.kill(os.getpid(), signal.SIGKILL)
    return train_step(self, *args, **kwargs)
DetectionModel.train_step = step
"""


def train_until_killed(options: dict[str, Any], program: str = KILLED_IN_A_STEP) -> None:
    """``drpca.train(**options)`` behind a program that kills it, in a fork, which has imported all that it needs."""
    process = os.fork()
    if process == 0:
        try:
            torch.set_num_threads(1)
            exec(program, {})
            drpca.train(**options)
        finally:
            os._exit(70)
    assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == -signal.SIGKILL


def train_one_step(config: Any, images: dict[str, Any]) -> None:
    """A step on a batch logs every loss and leaves finite, changed weights, each with a gradient."""
    torch.manual_seed(0)
    model = MODELS.build(config.model).train()
    wrapper = build_optim_wrapper(model, dict(config.optim_wrapper))
    wrapper.zero_grad = lambda: None  # keeps the gradients to look at
    trainable = {name: value for name, value in model.named_parameters() if value.requires_grad}
    before = {name: value.detach().clone() for name, value in trainable.items()}
    logs = model.train_step(images, wrapper)
    losses = {name for name in logs if not name.startswith('weight_')}
    assert losses == {'loss', *(f'loss_{name}' for name in config.model.losses)}
    assert all(value.isfinite() for value in logs.values())
    assert [name for name, value in trainable.items() if value.grad is None] == []
    assert any(not torch.equal(value, before[name]) for name, value in trainable.items())
    assert all(value.isfinite().all() for value in model.state_dict().values())


class Mark:
    """Unpickling makes a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


def write_video(path: Path, codec: str = 'MJPG', noisy: bool = False) -> Path:
    """Twelve frames of 64 × 48 with a moving target; noise takes more bytes, which leaves room to cut."""
    rng = np.random.default_rng(0)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*codec), 25, (64, 48))
    if not writer.isOpened():
        pytest.skip(f'this OpenCV writes no {codec} video')
    for index in range(12):
        picture = rng.integers(0, 255, (48, 64), dtype=np.uint8) if noisy else np.full((48, 64), 40, np.uint8)
        picture[20:23, 10 + 2 * index : 13 + 2 * index] = 220
        writer.write(cv2.cvtColor(picture, cv2.COLOR_GRAY2BGR))
    writer.release()
    return path


def smallest_image(network: nn.Module, batch: int) -> Tensor:
    """Random images of the smallest size the network declares, at least 32."""
    multiple = getattr(network, 'size_multiple', 1)
    side = -(-max(getattr(network, 'min_size', 1), 32) // multiple) * multiple
    return torch.rand(batch, getattr(network, 'in_channels', 1), side, side, generator=torch.Generator().manual_seed(1))
