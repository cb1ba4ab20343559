"""What takes a network's time, for float32 on processors with AVX2 or AVX-512, in C++ compiled on this machine.

Features are (B, C, H, W) float32 in channels_last order, C a multiple of :func:`register_width`.

3 × 3 convolutions go by F(4 × 4, 3 × 3) of Lavin and Gray (Fast Algorithms for Convolutional Neural Networks, CVPR
2016): a tile of outputs is Y = Aᵀ[(G w Gᵀ) ⊙ (Bᵀ d B)]A, with the points 0, ±1, ±2 and ∞. It takes a quarter of the
multiplications, and its rounding errors are some ten times those of the nine taps added up, 1e-5 where values are
near 1.

``kernels.cpp`` is compiled in a second or two by whichever C++ compiler there is, once in a process, and never kept:
what is loaded is what was compiled. Before it is used it has to agree with PyTorch.
"""

from __future__ import annotations

import ctypes
import os
import shlex
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from drpca.errors import UserError

FLAGS = {'AVX2': ('-mavx2', '-mfma'), 'AVX512': ('-mavx512f', '-mfma')}
"""Of the compiler, for each of PyTorch's instruction sets that the kernel is written for."""
_G = ((1 / 4, 0, 0), (-1 / 6, -1 / 6, -1 / 6), (-1 / 6, 1 / 6, -1 / 6), (1 / 24, 1 / 12, 1 / 6),
      (1 / 24, -1 / 12, 1 / 6), (0, 0, 1))  # fmt: skip
_SECONDS = 120


def register_width() -> int:
    """Floats of a register: channels have to be multiples of it."""
    return 16 if torch.backends.cpu.get_cpu_capability() == 'AVX512' else 8


def compiler() -> list[str]:
    """The words that call the C++ compiler: of ``$CXX`` (``ccache g++ -O2``), else the system's; none without one."""
    try:
        named = shlex.split(os.environ.get('CXX', ''))
    except ValueError:  # a quotation mark alone
        named = [os.environ['CXX']]
    return named or [program for name in ('c++', 'g++', 'clang++') if (program := shutil.which(name))][:1]


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
    if not program:
        raise UserError('there is no C++ compiler, as c++ or in CXX')
    source = Path(__file__).with_suffix('.cpp')
    try:
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            made = Path(folder) / 'kernels.so'
            options = ['-O3', '-std=c++17', '-fopenmp', '-shared', '-fPIC', *flags]
            command = [*program, *options, str(source), '-o', str(made)]
            done = subprocess.run(command, capture_output=True, text=True, errors='replace', timeout=_SECONDS)
            if done.returncode:
                lines = [line for line in done.stderr.splitlines() if line.strip()]
                said = next((line for line in lines if 'error' in line), (lines or [f'status {done.returncode}'])[0])
                raise UserError(f'{shlex.join(program)} does not compile it: {said[:200]}')
            loaded = ctypes.CDLL(str(made))
        pointer, size = ctypes.c_void_p, ctypes.c_int64
        loaded.convolve.argtypes = [pointer] * 4 + [size] * 5 + [ctypes.c_float, ctypes.c_int]
        loaded.convolve_to_one.argtypes = [pointer, pointer, ctypes.c_float, pointer, *[size] * 4, ctypes.c_int]
        loaded.normalise_groups.argtypes = [pointer] * 4 + [size] * 4 + [ctypes.c_float, ctypes.c_int]
    except (OSError, AttributeError, subprocess.SubprocessError) as error:
        raise UserError(f'{shlex.join(program)} does not compile it: {str(error)[:200]}') from None
    for function in (loaded.convolve, loaded.convolve_to_one, loaded.normalise_groups):
        function.restype = None
    _check(loaded)
    return loaded


def _check(loaded: ctypes.CDLL) -> None:
    generator = torch.Generator().manual_seed(0)
    channels = 3 * register_width()
    x = torch.randn(2, channels, 9, 14, generator=generator).contiguous(memory_format=torch.channels_last)
    weight = torch.randn(channels, channels, 3, 3, generator=generator) / 10
    bias = torch.randn(channels, generator=generator)
    one = weight[:2].permute(0, 2, 3, 1).flatten(1, 2).contiguous()
    for found, expected in (
        (_convolve(loaded, x, transformed(weight), bias, 0.2), F.leaky_relu(F.conv2d(x, weight, bias, padding=1), 0.2)),
        (_to_one(loaded, x, one, 0.5)[1:], F.conv2d(x[1:], weight[1:2], bias.new_tensor([0.5]), padding=1)),
        (_normalise(loaded, x, 3, bias, bias, 1e-5), F.group_norm(x, 3, bias, bias)),
    ):
        if not torch.allclose(found, expected, atol=1e-3):
            raise UserError('what the C++ compiler makes differs from PyTorch')


def transformed(weight: Tensor) -> Tensor:
    """G w Gᵀ of (C_out, C_in, 3, 3), for the 36 points the C_in × C_out matrices, in panels of two registers."""
    g = torch.tensor(_G, dtype=torch.float64)
    points = (g @ weight.detach().double() @ g.T).permute(2, 3, 1, 0).flatten(0, 1)  # (36, C_in, C_out)
    return torch.cat([panel.flatten(1) for panel in points.split(2 * register_width(), dim=2)], dim=1).float()


def convolve(x: Tensor, weight: Tensor, bias: Tensor, slope: float) -> Tensor:
    """A 3 × 3 convolution of padding 1 and its activation, y where it is positive and slope·y elsewhere.

    Args:
        x: Features.
        weight: :func:`transformed`.
        bias: (C_out,), C_out a multiple of :func:`register_width`.
        slope: 0 is ReLU, 1 none.

    Raises:
        UserError: As :func:`library`, here and below.
    """
    return _convolve(library(), x, weight, bias, slope)


def convolve_to_one(x: Tensor, weight: Tensor, bias: float) -> Tensor:
    """A 3 × 3 convolution of padding 1 to one channel, with weights (B, 9, C) of each image → (B, 1, H, W)."""
    return _to_one(library(), x, weight, bias)


def normalise_groups(x: Tensor, groups: int, weight: Tensor, bias: Tensor, epsilon: float) -> Tensor:
    """GroupNorm, weight and bias (C,)."""
    return _normalise(library(), x, groups, weight, bias, epsilon)


def _convolve(loaded: ctypes.CDLL, x: Tensor, weight: Tensor, bias: Tensor, slope: float) -> Tensor:
    batch, channels, height, width = x.shape
    y = x.new_empty((batch, height, width, len(bias)))
    pointers = (value.data_ptr() for value in (x, weight, bias, y))
    loaded.convolve(*pointers, batch, height, width, channels, len(bias), slope, torch.get_num_threads())
    return y.permute(0, 3, 1, 2)


def _to_one(loaded: ctypes.CDLL, x: Tensor, weight: Tensor, bias: float) -> Tensor:
    batch, channels, height, width = x.shape
    y = x.new_empty((batch, 1, height, width))
    loaded.convolve_to_one(
        x.data_ptr(), weight.data_ptr(), bias, y.data_ptr(), batch, height, width, channels, torch.get_num_threads()
    )
    return y


def _normalise(loaded: ctypes.CDLL, x: Tensor, groups: int, weight: Tensor, bias: Tensor, epsilon: float) -> Tensor:
    y = torch.empty_like(x, memory_format=torch.channels_last)
    pointers = (value.data_ptr() for value in (x, weight, bias, y))
    batch, channels, height, width = x.shape
    loaded.normalise_groups(*pointers, batch, height * width, channels, groups, epsilon, torch.get_num_threads())
    return y
