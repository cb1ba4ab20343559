"""An equivalent, faster form of a network for inference.

Nothing here is approximate; results differ by rounding alone. What is done:

* BatchNorm is folded into the convolution before it.
* Weights and features lie in channels_last order, in which oneDNN and cuDNN convolve without reordering.
* On a CPU, a convolution and the activation behind it become one oneDNN call with weights reordered
  beforehand, and convolutions to a single channel a matrix product (:mod:`drpca.deploy.onednn`).
* GroupNorm keeps its accuracy in that order (:class:`AccurateGroupNorm`).
* A block that has a faster form of its own takes it: see :func:`replace_blocks`.
* What T does not need of the last stage, N and D, is not computed (``network.detect``).
"""

from __future__ import annotations

import copy
import os
from functools import cache
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from drpca.deploy.cuda_graph import GraphedFunction
from drpca.deploy.onednn import can_fuse, fuse_convolutions
from drpca.errors import UserError, unknown_name
from drpca.models.detector import DetectionModel

PRECISIONS = {'fp32': torch.float32, 'bf16': torch.bfloat16, 'fp16': torch.float16}


def optimise_model(
    model: DetectionModel,
    device: torch.device,
    precision: str = 'fp32',
    optimise: bool = True,
    compile: bool = False,
    cuda_graph: bool = False,
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

    Raises:
        UserError: Unknown precision, or a CUDA graph on another device.
    """
    if precision not in PRECISIONS:
        raise unknown_name('precision', precision, list(PRECISIONS))
    if cuda_graph and device.type != 'cuda':
        raise UserError(f'CUDA graphs need an NVIDIA GPU, but the device is {device}: leave out cuda_graph.')
    if device.type == 'cpu':
        limit_threads()
    dtype = PRECISIONS[precision]
    model = copy.deepcopy(model).eval().requires_grad_(False)
    model.precision = dtype
    if optimise:
        fold_batch_norm(model.network)
        for module in model.network.modules():
            if isinstance(module, nn.GroupNorm):
                module.__class__ = AccurateGroupNorm
        replace_blocks(model.network, 'for_inference')
        model.memory_format = torch.channels_last
    model.to(device, memory_format=model.memory_format)
    if compile and hasattr(model.network, 'detect'):
        model.network.detect = torch.compile(model.network.detect, dynamic=True)
    elif compile:
        model.network.compile(dynamic=True)
    elif optimise and device.type == 'cpu' and can_fuse(dtype):
        fuse_convolutions(model.network, dtype)
    if cuda_graph:
        model.detect = GraphedFunction(model.detect)  # type: ignore[method-assign]
    return model


def fold_batch_norm(network: nn.Module) -> None:
    """Fold each BatchNorm that follows a convolution in a Sequential into it, in place.

    w' = w·γ/√(σ² + ε) per output channel, b' = (b − μ)·γ/√(σ² + ε) + β.
    """
    for sequence in _sequences(network):
        for index in range(len(sequence) - 1):
            first, second = sequence[index], sequence[index + 1]
            if not (isinstance(first, nn.Conv2d) and isinstance(second, nn.BatchNorm2d)):
                continue
            if second.running_mean is not None:
                sequence[index] = fuse_conv_bn_eval(first, second)
                sequence[index + 1] = nn.Identity()


def _sequences(network: nn.Module) -> list[nn.Sequential]:
    return [module for module in network.modules() if isinstance(module, nn.Sequential)]


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
    """

    def forward(self, x: Tensor) -> Tensor:
        if x.dtype is not torch.float32 or x.device.type != 'cpu':
            return super().forward(x)
        groups = (x.shape[0], self.num_groups, -1)
        mean = x.mean(dim=(2, 3)).reshape(groups).mean(dim=2, keepdim=True)
        square = (x * x).mean(dim=(2, 3)).reshape(groups).mean(dim=2, keepdim=True)
        scale = torch.rsqrt(square - mean * mean + self.eps) * self.weight.view(1, self.num_groups, -1)
        shift = self.bias.view(1, self.num_groups, -1) - mean * scale
        per_channel = (x.shape[0], x.shape[1], 1, 1)
        return torch.addcmul(shift.reshape(per_channel), x, scale.reshape(per_channel))


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


_DEFAULT = torch.get_num_threads()
