"""3 × 3 convolutions by F(4 × 4, 3 × 3) on processors with AVX2 or AVX-512, in C++ compiled on this machine.

Lavin and Gray, Fast Algorithms for Convolutional Neural Networks, CVPR 2016: a tile of outputs is
Y = Aᵀ[(G w Gᵀ) ⊙ (Bᵀ d B)]A, with the points 0, ±1, ±2 and ∞. It takes a quarter of the multiplications, and its
rounding errors are some ten times those of the nine taps added up, 1e-5 where values are near 1.

``winograd.cpp`` is compiled in half a second by whichever C++ compiler there is, once in a process, and never kept:
what is loaded is what was compiled. Before it is used it has to agree with PyTorch.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from drpca.errors import UserError

FLAGS = {'AVX2': ('-mavx2', '-mfma'), 'AVX512': ('-mavx512f', '-mfma')}
"""Of the compiler, for each of PyTorch's instruction sets that the kernel is written for."""
_G = ((1 / 4, 0, 0), (-1 / 6, -1 / 6, -1 / 6), (-1 / 6, 1 / 6, -1 / 6), (1 / 24, 1 / 12, 1 / 6),
      (1 / 24, -1 / 12, 1 / 6), (0, 0, 1))  # fmt: skip
_SECONDS = 120


def register_width() -> int:
    """Floats of a register: channels have to be multiples of it."""
    return 16 if torch.backends.cpu.get_cpu_capability() == 'AVX512' else 8


def compiler() -> str | None:
    """The C++ compiler: ``$CXX``, else the system's."""
    return next(filter(None, map(shutil.which, filter(None, (os.environ.get('CXX'), 'c++', 'g++', 'clang++')))), None)


@cache
def library() -> ctypes.CDLL:
    """The compiled kernel.

    Raises:
        UserError: This processor has other instructions, there is no compiler, or what it makes computes nonsense.
    """
    flags = FLAGS.get(torch.backends.cpu.get_cpu_capability())
    if flags is None:
        raise UserError('this processor has neither AVX2 nor AVX-512')
    program = compiler()
    if program is None:
        raise UserError('there is no C++ compiler, as c++ or in CXX')
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / 'winograd.so'
        source = Path(__file__).with_suffix('.cpp')
        command = [program, '-O3', '-std=c++17', '-fopenmp', '-shared', '-fPIC', *flags, str(source), '-o', str(made)]
        try:
            subprocess.run(command, check=True, capture_output=True, text=True, timeout=_SECONDS)
            loaded = ctypes.CDLL(str(made))
        except (OSError, subprocess.SubprocessError) as error:
            reason = (getattr(error, 'stderr', None) or str(error)).splitlines()[0][:200]
            raise UserError(f'{program} does not compile it: {reason}') from None
    pointer, size = ctypes.c_void_p, ctypes.c_int64
    loaded.convolve.argtypes = [pointer] * 4 + [size] * 5 + [ctypes.c_float, ctypes.c_int]
    loaded.convolve.restype = None
    _check(loaded)
    return loaded


def _check(loaded: ctypes.CDLL) -> None:
    generator = torch.Generator().manual_seed(0)
    channels = 3 * register_width()
    x = torch.randn(2, channels, 9, 14, generator=generator).contiguous(memory_format=torch.channels_last)
    weight = torch.randn(channels, channels, 3, 3, generator=generator) / 10
    bias = torch.randn(channels, generator=generator)
    expected = torch.nn.functional.leaky_relu(torch.nn.functional.conv2d(x, weight, bias, padding=1), 0.2)
    if not torch.allclose(_call(loaded, x, transformed(weight), bias, 0.2), expected, atol=1e-3):
        raise UserError('what the C++ compiler makes differs from PyTorch')


def transformed(weight: Tensor) -> Tensor:
    """G w Gᵀ of (C_out, C_in, 3, 3), for the 36 points the C_in × C_out matrices, in panels of two registers."""
    g = torch.tensor(_G, dtype=torch.float64)
    points = (g @ weight.detach().double() @ g.T).permute(2, 3, 1, 0).flatten(0, 1)  # (36, C_in, C_out)
    return torch.cat([panel.flatten(1) for panel in points.split(2 * register_width(), dim=2)], dim=1).float()


def convolve(x: Tensor, weight: Tensor, bias: Tensor, slope: float) -> Tensor:
    """A convolution of padding 1 and its activation, max(y, slope·y).

    Args:
        x: (B, C_in, H, W) float32 in channels_last order, C_in and C_out multiples of :func:`register_width`.
        weight: :func:`transformed`.
        bias: (C_out,).
        slope: In [0, 1]; 0 is ReLU, 1 none.

    Raises:
        UserError: As :func:`library`.
    """
    return _call(library(), x, weight, bias, slope)


def _call(loaded: ctypes.CDLL, x: Tensor, weight: Tensor, bias: Tensor, slope: float) -> Tensor:
    batch, channels, height, width = x.shape
    y = x.new_empty((batch, height, width, len(bias)))
    pointers = (value.data_ptr() for value in (x, weight, bias, y))
    loaded.convolve(*pointers, batch, height, width, channels, len(bias), slope, torch.get_num_threads())
    return y.permute(0, 3, 1, 2)
