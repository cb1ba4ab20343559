"""An equivalent, faster form of a network for inference.

Nothing here is approximate; results differ by rounding alone. What is done:

* BatchNorm is folded into the convolution before it.
* Weights and features lie in channels_last order, in which oneDNN and cuDNN convolve without reordering.
* On a CPU, a convolution and the activation behind it become one oneDNN call with weights reordered
  beforehand, and convolutions to a single channel a matrix product (:func:`fuse_convolutions`).
* GroupNorm keeps its accuracy in that order (:class:`AccurateGroupNorm`).
* On request the kernels of :mod:`drpca.deploy.kernels` compute: Winograd's convolutions, and what lies between them.
* A block that has a faster form of its own takes it: see :func:`replace_blocks`.
* What T does not need of the last stage, N and D, is not computed (``network.detect``).
"""

from __future__ import annotations

import copy
import ctypes
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from drpca.deploy import kernels
from drpca.deploy.cuda_graph import GraphedFunction
from drpca.errors import UserError, unknown_name
from drpca.models.detector import DetectionModel
from drpca.models.layers import Float32Conv2d, SqueezeExcitation, arrange

PRECISIONS = {'fp32': torch.float32, 'bf16': torch.bfloat16, 'fp16': torch.float16}


def optimise_model(
    model: DetectionModel,
    device: torch.device,
    precision: str = 'fp32',
    optimise: bool = True,
    compile: bool = False,
    cuda_graph: bool = False,
    winograd: bool = False,
) -> DetectionModel:
    """A copy of a model, ready for inference on a device.

    Args:
        model: With weights; left as it is.
        device: Where the copy goes.
        precision: ``'fp32'``, ``'bf16'`` or ``'fp16'``; the last two run convolutions in half precision.
        optimise: False: the network as it was trained.
        compile: Run the network's ``detect`` through ``torch.compile``.
        cuda_graph: Record the GPU's kernels at the first image of a size and replay them for the next ones
            (:class:`drpca.deploy.cuda_graph.GraphedFunction`).
        winograd: Take the project's kernels for float32 on a CPU, Winograd's convolutions above all, which round
            otherwise.

    Raises:
        UserError: Unknown precision, a CUDA graph on another device, weights that are no numbers, which oneDNN's
            ReLU would turn into zeros, or Winograd's convolutions where there are none.
    """
    if precision not in PRECISIONS:
        raise unknown_name('precision', precision, list(PRECISIONS))
    if cuda_graph and device.type != 'cuda':
        raise UserError(f'CUDA graphs need an NVIDIA GPU, but the device is {device}: leave out cuda_graph.')
    dtype = PRECISIONS[precision]
    for name, value in model.state_dict().items():
        if not value.isfinite().all():
            raise UserError(f'{name} of the network holds NaN or infinity: load weights that are whole.')
    if device.type == 'cpu':
        limit_threads()
        keep_memory()
    if winograd and (device.type, dtype) != ('cpu', torch.float32):
        raise UserError(f'Winograd convolutions are for float32 on a CPU, got {precision} on {device}: leave them out.')
    if winograd:
        kernels.library()
    model = copy.deepcopy(model).eval().requires_grad_(False)
    model.precision = dtype
    if optimise:
        fold_batch_norm(model.network)
        for module in model.network.modules():
            if isinstance(module, nn.GroupNorm):
                module.__class__ = AccurateGroupNorm
        replace_blocks(model.network, 'for_inference')
        model.memory_format = torch.channels_last
    arrange(model.to(device), model.memory_format)
    if compile:
        method = 'detect' if hasattr(model.network, 'detect') else 'forward'
        setattr(model.network, method, CompiledFunction(getattr(model.network, method)))
    elif optimise and device.type == 'cpu' and can_fuse(dtype):
        fuse_convolutions(model.network, dtype)
        if winograd:
            use_kernels(model.network)
    if cuda_graph:
        model.detect = GraphedFunction(model.detect)  # type: ignore[method-assign]
    return model


class CompiledFunction:
    """A method of a network, through ``torch.compile``. A copy compiles anew."""

    def __init__(self, function: Callable[[Tensor], Any]) -> None:
        self.function = function
        self._compiled = torch.compile(function, dynamic=True)

    def __reduce__(self) -> tuple[Any, ...]:
        return CompiledFunction, (self.function,)

    def __call__(self, image: Tensor) -> Any:
        return self._compiled(image)


def fold_batch_norm(network: nn.Module) -> None:
    """Fold each BatchNorm behind a convolution, in a Sequential or by ``batch_norms`` of a block, into it, in place.

    w' = w·γ/√(σ² + ε) per output channel, b' = (b − μ)·γ/√(σ² + ε) + β.
    """
    for module in list(network.modules()):
        pairs = getattr(module, 'batch_norms', {}).items()
        if isinstance(module, nn.Sequential):
            names = list(module._modules)
            pairs = zip(names, names[1:])
        for name, following in pairs:
            first, second = getattr(module, name), getattr(module, following)
            if isinstance(first, nn.Conv2d) and isinstance(second, nn.BatchNorm2d) and second.running_mean is not None:
                setattr(module, name, fuse_conv_bn_eval(first, second))
                setattr(module, following, nn.Identity())


def replace_blocks(network: nn.Module, form: str) -> None:
    """Put the forms that blocks have of themselves in their places.

    Args:
        network: Changed in place.
        form: The method that returns a block's form, ``'for_inference'`` (the same formula, faster) or
            ``'for_export'`` (in operations that every format has). It may change its block and return that.
    """
    for module in list(network.modules()):
        for name, child in module.named_children():
            if hasattr(child, form):
                setattr(module, name, getattr(child, form)())


class AccurateGroupNorm(nn.GroupNorm):
    """GroupNorm whose float32 statistics in channels_last are as exact as in the default order.

    PyTorch's own kernel for channels_last on a CPU adds a group's values one after the other, which costs a network
    with many of them 1e-3 on its logits. Other types and devices take PyTorch's.

    μ and σ² = E[(x − m)²] − (μ − m)² are taken of x − m, where m is the mean that was rounded to float32: without this
    shift the difference of two large numbers is wrong, even negative, where |μ| is a thousand times σ.
    """

    def forward(self, x: Tensor) -> Tensor:
        if x.dtype is not torch.float32 or x.device.type != 'cpu':
            return super().forward(x)
        per_channel = (x.shape[0], x.shape[1], 1, 1)
        x = x - self._group_means(x).expand(-1, -1, x.shape[1] // self.num_groups).reshape(per_channel)
        mean, square = self._group_means(x), self._group_means(x * x)
        scale = torch.rsqrt(square - mean * mean + self.eps) * self.weight.view(1, self.num_groups, -1)
        shift = self.bias.view(1, self.num_groups, -1) - mean * scale
        return torch.addcmul(shift.reshape(per_channel), x, scale.reshape(per_channel))

    def _group_means(self, x: Tensor) -> Tensor:
        """(B, C, H, W) → (B, groups, 1)."""
        return x.mean(dim=(2, 3)).reshape(x.shape[0], self.num_groups, -1).mean(dim=2, keepdim=True)


# Convolutions on a CPU: one oneDNN call with the activation behind it, and a faster form for one output channel

# Fewer input channels than this gain nothing from reordered weights, nor from the form for one output channel.
_MIN_CHANNELS = 16
_TYPICAL_SIZE = 256
_PLAIN = ((3, 3), (1, 1), (1, 1), (1, 1))
"""Kernel, padding, stride and dilation."""


def can_fuse(dtype: torch.dtype) -> bool:
    """Whether this build of PyTorch has oneDNN's fused convolution, and for this type."""
    return (
        torch.backends.mkldnn.is_available()
        and hasattr(torch.ops.mkldnn, '_convolution_pointwise')
        and (dtype is torch.float32 or (dtype is torch.bfloat16 and torch.ops.mkldnn._is_mkldnn_bf16_supported()))
    )


class FusedConv2d(nn.Conv2d):
    """A convolution and an activation in one oneDNN call. It keeps its float32 weights for whoever reads them.

    In bfloat16 a single input channel, one of D, B, T and N, keeps its precision: with x = h + l and w = u + v, each
    part in bfloat16, the convolution is u·h + u·l + v·h, as one of three channels.

    Args:
        conv: The convolution.
        activation: ReLU, LeakyReLU or None.
        dtype: Type it computes in.
    """

    def __init__(self, conv: nn.Conv2d, activation: nn.Module | None, dtype: torch.dtype) -> None:
        nn.Module.__init__(self)
        self.__dict__.update({key: value for key, value in conv.__dict__.items() if key not in self.__dict__})
        self.weight, self.bias = conv.weight, conv.bias
        self.dtype = dtype
        self.splits = dtype is torch.bfloat16 and conv.in_channels == 1
        self.attribute, self.scalars = _attribute(activation)
        self._pack()

    def _pack(self) -> None:
        weight = self.weight.detach().to(self.dtype)
        if self.splits:
            rest = (self.weight.detach() - weight).to(self.dtype)
            weight = torch.cat([weight, weight, rest], dim=1)
        weight = weight.contiguous(memory_format=torch.channels_last)
        if self.in_channels >= _MIN_CHANNELS:
            weight = torch.ops.mkldnn._reorder_convolution_weight(
                weight, self.padding, self.stride, self.dilation, self.groups,
                [1, self.in_channels, _TYPICAL_SIZE, _TYPICAL_SIZE],
            )  # fmt: skip
        self.packed_weight = weight
        self.packed_bias: Any = None if self.bias is None else self.bias.detach().to(self.dtype)

    def __getstate__(self) -> dict[str, Any]:
        """Without the packed weights, which only this process can read."""
        state = super().__getstate__()
        return {key: value for key, value in state.items() if not key.startswith('packed_')}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._pack()

    def forward(self, x: Tensor) -> Tensor:
        if self.splits:
            high = x.to(self.dtype)
            low = (x - high).to(self.dtype)
            x = torch.cat([high, low, high], dim=1).contiguous(memory_format=torch.channels_last)
        elif x.shape[1] == 1:  # NHWC strides, which a single channel leaves undetermined
            x = x.as_strided(x.shape, (x.stride(0), 1, x.stride(2), x.stride(3)))
        return torch.ops.mkldnn._convolution_pointwise(
            x.to(self.dtype), self.packed_weight, self.packed_bias, self.padding, self.stride, self.dilation,
            self.groups, self.attribute, self.scalars, '',
        )  # fmt: skip


class WinogradConv2d(FusedConv2d):
    """The same by Winograd's algorithm: float32, 3 × 3, stride 1, padding 1, channels multiples of a register."""

    def _pack(self) -> None:
        self.packed_weight = kernels.transformed(self.weight)
        self.packed_bias = torch.zeros(self.out_channels) if self.bias is None else self.bias.detach()

    def forward(self, x: Tensor) -> Tensor:
        slope = self.scalars[0] if self.scalars else float(self.attribute == 'none')
        x = x.float().contiguous(memory_format=torch.channels_last)
        return kernels.convolve(x, self.packed_weight, self.packed_bias, slope)


class CompiledGroupNorm(nn.GroupNorm):
    """GroupNorm of float32 features on a CPU, as accurate as :class:`AccurateGroupNorm`."""

    def forward(self, x: Tensor) -> Tensor:
        x = x.float().contiguous(memory_format=torch.channels_last)
        return kernels.normalise_groups(x, self.num_groups, self.weight, self.bias, self.eps)


def use_kernels(network: nn.Module) -> None:
    """Let modules compute by :mod:`drpca.deploy.kernels` that can, in place."""
    width = kernels.register_width()
    for module in network.modules():
        if type(module) is FusedConv2d:
            plain = (module.kernel_size, module.padding, module.stride, module.dilation) == _PLAIN
            if plain and (module.in_channels % width, module.out_channels % width, module.groups) == (0, 0, 1):
                module.__class__ = WinogradConv2d
                module._pack()
        elif type(module) is SingleChannelConv2d and module.weight.shape[1] % width == 0:
            module.__class__ = CompiledSingleChannelConv2d
        elif isinstance(module, nn.GroupNorm) and module.affine and module.num_channels % width == 0:
            module.__class__ = CompiledGroupNorm


def _attribute(activation: nn.Module | None) -> tuple[str, list[float]]:
    """oneDNN's name of an activation and its parameters."""
    if isinstance(activation, nn.LeakyReLU):
        return 'leaky_relu', [activation.negative_slope]
    return ('relu', []) if isinstance(activation, nn.ReLU) else ('none', [])


class SingleChannelConv2d(nn.Module):
    """A 3 × 3 convolution to one channel, for which oneDNN would compute sixteen: y(p) = Σₜ wₜ·x(p + t) + b.

    One matrix product gives wₜ·x of all nine taps t, which are then added up, each shifted by its t. A squeeze and
    excitation of x costs nothing in this form: its gate goes into w.

    Shape legend: x (B, C, H, W), products (B, 9, H, W), y (B, 1, H, W) in float32.

    Args:
        conv: The convolution.
        dtype: Type of the products.
        gate: Applied to x before it.
    """

    reach = 1

    def __init__(self, conv: nn.Conv2d, dtype: torch.dtype, gate: SqueezeExcitation | None = None) -> None:
        super().__init__()
        self.weight, self.bias, self.gate, self.dtype = conv.weight, conv.bias, gate, dtype

    def forward(self, x: Tensor) -> Tensor:
        x = x.to(self.dtype)
        products = self._products(x, self._gated_weight(x).to(self.dtype))
        y = products[:, 4:5] if self.bias is None else products[:, 4:5] + self.bias
        height, width = x.shape[-2:]
        for tap in (0, 1, 2, 3, 5, 6, 7, 8):
            rows_read, rows_written = _overlap(tap // 3 - 1, height)
            columns_read, columns_written = _overlap(tap % 3 - 1, width)
            y[..., rows_written, columns_written] += products[:, tap : tap + 1, rows_read, columns_read]
        return y

    def _gated_weight(self, x: Tensor) -> Tensor:
        """(B, C, 9)."""
        weight = self.weight.reshape(1, x.shape[1], 9)
        if self.gate is not None:
            weight = weight * self.gate.excitation(x.mean(dim=(2, 3), keepdim=True)).flatten(2)
        return weight.expand(len(x), -1, -1)

    def _products(self, x: Tensor, weight: Tensor) -> Tensor:
        pixels = x.permute(0, 2, 3, 1).flatten(1, 2)  # (B, H·W, C), a view in channels_last
        # MKL is fast with the long side last, oneDNN's bfloat16 with it first.
        if self.dtype is torch.float32:
            products = weight.transpose(1, 2) @ pixels.transpose(1, 2)
        else:
            products = (pixels @ weight).transpose(1, 2).float().contiguous()
        return products.unflatten(2, x.shape[-2:])


class CompiledSingleChannelConv2d(SingleChannelConv2d):
    """The same in float32, in one pass."""

    def forward(self, x: Tensor) -> Tensor:
        x = x.float().contiguous(memory_format=torch.channels_last)
        weight = self._gated_weight(x).transpose(1, 2).contiguous()
        return kernels.convolve_to_one(x, weight, 0.0 if self.bias is None else float(self.bias))


def _overlap(shift: int, length: int) -> tuple[slice, slice]:
    """Where an axis is read and written when its values move by −shift and what leaves it is dropped."""
    stop = length - abs(shift)
    return slice(max(0, shift), max(0, shift) + stop), slice(max(0, -shift), max(0, -shift) + stop)


def fuse_convolutions(network: nn.Module, dtype: torch.dtype) -> None:
    """Replace the convolutions of a network by these forms, in place.

    In a Sequential an activation behind a convolution (and an Identity) is taken in. A squeeze and excitation is
    taken into the ``final_conv`` behind it.
    """
    for module in network.modules():
        gate, conv = getattr(module, 'channel_attention', None), getattr(module, 'final_conv', None)
        if isinstance(gate, SqueezeExcitation) and isinstance(conv, nn.Conv2d) and _has_single_output(conv):
            module.final_conv = SingleChannelConv2d(conv, dtype, gate)
            module.channel_attention = nn.Identity()
    for sequence in [module for module in network.modules() if isinstance(module, nn.Sequential)]:
        for index, layer in enumerate(sequence):
            following = index + 1
            while following < len(sequence) and isinstance(sequence[following], nn.Identity):
                following += 1
            if _fusible(layer) and following < len(sequence):
                activation = sequence[following]
                if isinstance(activation, nn.ReLU | nn.LeakyReLU):
                    sequence[index] = FusedConv2d(layer, activation, dtype)  # type: ignore[arg-type]
                    sequence[following] = nn.Identity()
    for module in list(network.modules()):
        for name, child in module.named_children():
            if _has_single_output(child):
                setattr(module, name, SingleChannelConv2d(child, dtype))  # type: ignore[arg-type]
            elif _fusible(child):
                setattr(module, name, FusedConv2d(child, None, dtype))  # type: ignore[arg-type]


def _fusible(module: nn.Module) -> bool:
    return (
        type(module) in (nn.Conv2d, Float32Conv2d)
        and module.padding_mode == 'zeros'
        and not isinstance(module.padding, str)
    )


def _has_single_output(module: nn.Module) -> bool:
    return (
        isinstance(module, nn.Conv2d)
        and _fusible(module)
        and module.out_channels == 1
        and module.in_channels >= _MIN_CHANNELS
        and module.groups == 1
        and (module.kernel_size, module.padding, module.stride, module.dilation) == _PLAIN
    )


# How many threads of the CPU are worth starting

CGROUP = Path('/sys/fs/cgroup')


def quota(root: Path = CGROUP) -> float | None:
    """CPUs that a container's control group may use, None where there is no limit (or no Linux)."""
    for files in (('cpu.max',), ('cpu/cpu.cfs_quota_us', 'cpu/cpu.cfs_period_us')):  # version 2, version 1
        try:
            allowed, period = ' '.join((root / file).read_text().strip() for file in files).split()
            return float(allowed) / float(period) if float(allowed) > 0 else None
        except (OSError, ValueError):  # no such file, or 'max'
            continue
    return None


@cache
def limit_threads() -> None:
    """Lower PyTorch's threads to a container's CPU quota, once and only if nobody has chosen their number.

    PyTorch starts a thread per physical core that the process may run on. It does not know of a quota, and
    threads beyond it wait for each other.
    """
    allowed = quota()
    if allowed is not None and 'OMP_NUM_THREADS' not in os.environ and torch.get_num_threads() == _DEFAULT:
        torch.set_num_threads(min(_DEFAULT, max(1, round(allowed))))


@cache
def keep_memory() -> None:
    """Let the C library keep what is freed for the next tensor, up to a gigabyte, unless the environment says how much.

    Else glibc gives tensors of megabytes back to the system, and every page of the next one is a fault: that takes up
    to two fifths of a forward's time.
    """
    said = {'MALLOC_TRIM_THRESHOLD_', 'MALLOC_MMAP_THRESHOLD_', 'GLIBC_TUNABLES'}
    if not said & os.environ.keys() and sys.platform == 'linux':
        with suppress(AttributeError):  # another C library
            adjust = ctypes.CDLL(None).mallopt
            # Before 2.35 it takes at most 32 MB; with the other one alone all larger tensors would cost faults.
            if adjust(_M_MMAP_THRESHOLD, 2**30) or adjust(_M_MMAP_THRESHOLD, 2**25):
                adjust(_M_TRIM_THRESHOLD, 2**30)


_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of malloc.h
_DEFAULT = torch.get_num_threads()
