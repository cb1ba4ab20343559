"""Speed, memory and size of networks, measured so that the figures can be compared.

Variants take turns in one run: each repetition times every variant once, so that a busy or throttled machine
slows all of them alike, and the ratio to the baseline is the median of the ratios within repetitions. A
measurement starts after warm-up calls, and on a GPU ends when the device has finished. Exported networks are
written to a temporary folder, unchecked, and run on the host's images; INT8 ones are calibrated on random images,
which does for their speed. Weights are random.

Memory on a CPU is measured in a process per variant: what building the variant and calling it twice adds to the
process's largest resident set, once PyTorch and the runtime are loaded.
"""

from __future__ import annotations

import copy
import gc
import importlib
import multiprocessing
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from drpca.config import config_for, default_models, load_config
from drpca.deploy.backends import BACKENDS
from drpca.deploy.variants import (
    VARIANTS,
    check_variant,
    default_variants,
    export_variant,
    open_variant,
    variant_function,
)
from drpca.errors import UserError, unknown_name
from drpca.models.detector import DetectionModel, unused_parameter_names
from drpca.options import BASELINE
from drpca.registry import MODELS, network_names


@dataclass(frozen=True)
class VariantSpeed:
    """One variant of one network at one size and batch.

    Attributes:
        network: Registered name.
        variant: One of ``VARIANTS``.
        device: ``'cpu'`` or the name of the GPU.
        threads: CPU threads.
        size: Side of the image.
        batch: Images per call.
        parameters: All of them, in millions.
        used_parameters: Without those that the network owns but never uses, as the leaderboard counts them.
        gflop: Per image of this size, all outputs; see :func:`count_gflop`.
        gflop_256: Likewise of 256².
        latency_ms: Median time of a call.
        latency_5: 5th percentile.
        latency_95: 95th percentile.
        processor_ms: Median processor time of a call, of all threads of this process: a busy machine disturbs it less.
        images_per_s: Batch over median time.
        peak_mb: Largest memory: on a GPU what PyTorch allocated, on a CPU what the process grew by; None if not
            measured.
        speedup: Median over the repetitions of (time of the baseline / time of this variant).
        processor_speedup: The same of processor time.
        max_error: Largest difference of the logits from the baseline's.
    """

    network: str
    variant: str
    device: str
    threads: int
    size: int
    batch: int
    parameters: float
    used_parameters: float
    gflop: float
    gflop_256: float
    latency_ms: float
    latency_5: float
    latency_95: float
    processor_ms: float
    images_per_s: float
    peak_mb: float | None
    speedup: float
    processor_speedup: float
    max_error: float


def count_parameters(network: nn.Module) -> tuple[int, int]:
    """All parameters, and those that the network uses."""
    unused = unused_parameter_names(network)
    sizes = {name: parameter.numel() for name, parameter in network.named_parameters()}
    return sum(sizes.values()), sum(size for name, size in sizes.items() if name not in unused)


def count_gflop(network: nn.Module, image: Tensor) -> float:
    """10⁹ floating-point operations of one forward, as PyTorch counts them.

    Convolutions and matrix products only, a multiplication and an addition as two; papers often give
    multiply-adds, which are half as many.
    """
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(image)
    return counter.get_total_flops() / 1e9


def _gflop_at(network: Any, side: int) -> float:
    """Of an image of this side, or the next larger one that the network takes, without computing anything."""
    side = max(side, network.min_size)
    side += -side % network.size_multiple
    channels = getattr(network, 'in_channels', 1)
    return count_gflop(copy.deepcopy(network).to('meta'), torch.zeros(1, channels, side, side, device='meta'))


def _build(name: str, options: dict[str, Any] | None) -> DetectionModel:
    if MODELS.get(name) is None:
        raise unknown_name('network', name, network_names())
    torch.manual_seed(0)
    return DetectionModel(MODELS.build({'type': name, **(options or {})})).eval()


def _synchronise(device: torch.device) -> None:
    if device.type == 'cuda':
        torch.cuda.synchronize(device)


def _peak_rss() -> float:
    """Largest resident set of this process so far, MB."""
    try:  # getrusage also counts the process that this one was started from
        lines = Path('/proc/self/status').read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith('VmHWM')) / 2**10
    except (OSError, StopIteration):
        unit = 2**20 if sys.platform == 'darwin' else 2**10
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


@torch.inference_mode()
def _growth(name: str, variant: str, options: Any, image: Tensor, threads: int, folder: Path) -> float:
    """What building and calling a variant adds to this process, MB."""
    torch.set_num_threads(threads)
    for package in BACKENDS[VARIANTS[variant]['backend']][2] if 'backend' in VARIANTS[variant] else ():
        importlib.import_module(package)
    before = _peak_rss()
    if 'backend' in VARIANTS[variant]:
        backend = open_variant(variant, folder)
        for _ in range(2):
            backend.logits(image.numpy())
    else:
        function = variant_function(_build(name, options), variant, torch.device('cpu'), folder)
        for _ in range(2):
            function(image)
    return _peak_rss() - before


def _growth_apart(*arguments: Any) -> float:
    """:func:`_growth` in a new process."""
    with ProcessPoolExecutor(1, multiprocessing.get_context('spawn')) as pool:
        return pool.submit(_growth, *arguments).result()


def benchmark(
    networks: Sequence[str] | None = None,
    *,
    variants: Sequence[str] | None = None,
    baseline: str = BASELINE,
    sizes: Sequence[int] = (256,),
    batches: Sequence[int] = (1,),
    device: str = 'cpu',
    threads: int | None = None,
    repetitions: int = 20,
    warm_up: int = 3,
    memory: bool = True,
) -> list[VariantSpeed]:
    """Times networks with random weights on random images: every network at every size and batch.

    :func:`drpca.studies.speed_report.to_markdown` makes a table of the results.

    Args:
        networks: Registered names; None: those of configs/_base_/default_models.py.
        variants: Some of ``VARIANTS``; None: optimised, also in bf16, and exported, if installed.
        baseline: The variant that ratios refer to; it runs in turn with the others.
        sizes: Sides of the images.
        batches: Images per call.
        device: ``'cpu'``, ``'cuda'``, …
        threads: CPU threads; None leaves PyTorch's setting.
        repetitions: Rounds.
        warm_up: Calls of each variant before the first round.
        memory: Measure the memory; on a CPU that starts a process per variant.

    Raises:
        UserError: As :func:`measure`; no GPU where one is asked for.
    """
    if threads:
        torch.set_num_threads(threads)
    if device.startswith('cuda') and not torch.cuda.is_available():
        raise UserError(f'--device {device}: no GPU here.')
    if networks is None:
        configs = [load_config(config_for(model, 'SIRSTv1')) for model in default_models('compare')]
        networks = [config.model.network.type for config in configs]
    results: list[VariantSpeed] = []
    for name in networks:
        for size in sizes:
            for batch in batches:
                results += measure(
                    name, variants or default_variants(device), size=size, batch=batch, device=device,
                    repetitions=repetitions, warm_up=warm_up, baseline=baseline, memory=memory,
                )  # fmt: skip
    return results


@torch.inference_mode()
def measure(
    name: str,
    variants: Sequence[str],
    *,
    size: int = 256,
    batch: int = 1,
    device: str = 'cpu',
    repetitions: int = 20,
    warm_up: int = 3,
    baseline: str = BASELINE,
    memory: bool = True,
    options: dict[str, Any] | None = None,
) -> list[VariantSpeed]:
    """Time the variants of a network in turn.

    Args:
        name: Registered name.
        variants: Some of ``VARIANTS``; the baseline is added.
        size: Side of the image.
        batch: Images per call.
        device: See :func:`benchmark`, as of those not named here.
        options: Keywords of the network.

    Raises:
        UserError: Unknown network or variant, a variant whose packages are not installed or that the device or the
            network does not have, or no repetitions.
    """
    if repetitions < 1:
        raise UserError(f'Expected at least one repetition, got {repetitions}.')
    order = list(dict.fromkeys([baseline, *variants]))
    where = torch.device(device)
    for variant in order:
        check_variant(variant, where)
    model = _build(name, options)
    on_host = torch.rand(batch, model.network.frames, size, size)
    image = on_host.to(where)
    threads = torch.get_num_threads()
    functions: dict[str, Callable[[Tensor], Tensor]] = {}
    peaks: dict[str, float | None] = dict.fromkeys(order)
    outputs: dict[str, Tensor] = {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for variant in order:
            gc.collect()
            exported = 'backend' in VARIANTS[variant]
            if exported:
                export_variant(model, variant, size, folder)
            functions[variant] = variant_function(model, variant, where, folder)
            if where.type == 'cuda':
                torch.cuda.reset_peak_memory_stats(where)
            for _ in range(max(1, warm_up)):
                outputs[variant] = functions[variant](image).float().cpu()
            _synchronise(where)
            if memory and where.type == 'cuda' and not exported:
                peaks[variant] = torch.cuda.max_memory_allocated(where) / 2**20
            elif memory and where.type == 'cpu':
                peaks[variant] = _growth_apart(name, variant, options, on_host, threads, folder)
        times: dict[str, list[tuple[float, float]]] = {variant: [] for variant in order}
        for _ in range(repetitions):
            for variant in order:
                started, spent = time.perf_counter(), time.process_time()
                functions[variant](image)
                _synchronise(where)
                times[variant].append((time.perf_counter() - started, time.process_time() - spent))
    total, used = count_parameters(model.network)
    gflop = _gflop_at(model.network, size)
    gflop_256 = _gflop_at(model.network, 256)
    reference = np.array(times[baseline])
    results = []
    for variant in order:
        seconds = np.array(times[variant])
        low, median, high = np.percentile(1e3 * seconds[:, 0], [5, 50, 95])
        speedup, processor_speedup = np.median(reference / seconds, axis=0)
        results.append(
            VariantSpeed(
                network=name,
                variant=variant,
                device=torch.cuda.get_device_name(where) if where.type == 'cuda' else where.type,
                threads=threads,
                size=size,
                batch=batch,
                parameters=total / 1e6,
                used_parameters=used / 1e6,
                gflop=gflop,
                gflop_256=gflop_256,
                latency_ms=float(median),
                latency_5=float(low),
                latency_95=float(high),
                processor_ms=float(1e3 * np.median(seconds[:, 1])),
                images_per_s=float(1e3 * batch / median),
                peak_mb=peaks[variant],
                speedup=float(speedup),
                processor_speedup=float(processor_speedup),
                max_error=float((outputs[variant] - outputs[baseline]).abs().max()),
            )
        )
    return results
