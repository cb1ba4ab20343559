"""Which precision a processor trains in."""

from __future__ import annotations

import logging
import platform
from pathlib import Path

import torch
from mmengine.config import Config


def computes_bfloat16(device: str) -> bool:
    """Whether a processor multiplies in bfloat16, rather than emulating it several times as slowly as float32.

    Args:
        device: ``'cpu'``, ``'cuda'`` or another type, which is taken to.
    """
    if device == 'cuda':
        return torch.cuda.get_device_capability() >= (8, 0)
    if device != 'cpu':
        return True
    if platform.machine() in ('aarch64', 'arm64'):
        information = Path('/proc/cpuinfo')
        return information.exists() and ' bf16' in information.read_text()
    # Releases of torch that cannot tell: float32.
    asked = ('_is_avx512_bf16_supported', '_is_amx_tile_supported')
    return torch.backends.mkldnn.is_available() and any(getattr(torch.cpu, name, bool)() for name in asked)


def resolve_precision(config: Config, asked_for: bool, device: str) -> None:
    """Train in float32 where the processor emulates bfloat16, and say so; where it was asked for, say what it costs.

    Args:
        config: With all options applied.
        asked_for: bfloat16 comes from an option, not from a recipe: it stays.
        device: Type of the device to train on.
    """
    if config.model.get('precision') != 'bfloat16' or computes_bfloat16(device):
        return
    if asked_for:
        text = 'as asked for, which takes several times as long as float32 (leave out --amp bf16)'
    else:
        config.model.precision = 'float32'
        text = 'so the training runs in float32 (--amp bf16 insists)'
    logging.getLogger(__name__).warning('This processor has no instructions for bfloat16, %s.', text)
