"""Tiny detectors and frames for the tests of the page, and the page in a process of its own."""

import functools
import os
import socket
import subprocess
import sys
from contextlib import contextmanager

import numpy as np
import torch
from mmengine.config import Config

from drpca.config_text import config_text
from drpca.registry import MODELS
from tests.support import ROOT

NETWORK = {'type': 'RPCANet', 'num_stages': 2, 'channels': 4}


def frame(height=40, width=48, dtype=np.uint8):
    """Noise with a bright 2 × 2 target at row 10 and column 20."""
    rng = np.random.default_rng(0)
    image = rng.integers(80, 100, (height, width))
    image[10:12, 20:22] = 250
    return (image * (1 if dtype == np.uint8 else 40)).astype(dtype)


@functools.cache
def weights(seed=0):
    torch.manual_seed(seed)
    return MODELS.build(dict(NETWORK)).state_dict()


def save_run(folder, name='rpcanet_tiny', seed=0):
    """A checkpoint as training leaves it, with its config inside."""
    path = folder / name / f'seed_{seed}' / 'best.pth'
    path.parent.mkdir(parents=True)
    config = Config({'model': {'type': 'DetectionModel', 'network': NETWORK}, 'inference_size': 32})
    state = {f'network.{key}': value for key, value in weights().items()}
    torch.save({'meta': {'cfg': config_text(config)}, 'state_dict': state}, path)
    return path


@contextmanager
def running_page(folder, *options):
    """Starts the page in a folder; gives its process and port, once it has said where it is."""
    with socket.socket() as listener:
        listener.bind(('127.0.0.1', 0))
        port = listener.getsockname()[1]
    environment = {key: value for key, value in os.environ.items() if not key.startswith(('PYTEST', 'NICEGUI'))}
    environment['PYTHONPATH'] = os.pathsep.join([str(ROOT), os.environ.get('PYTHONPATH', '')])
    process = subprocess.Popen(
        [sys.executable, '-m', 'drpca.app', '--no-browser', '--port', str(port), *options],
        cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    try:
        assert process.stdout.readline() == f'The page is at http://127.0.0.1:{port} (Ctrl-C stops it)\n'
        yield process, port
    finally:
        process.kill()
        process.wait()
