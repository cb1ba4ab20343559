"""Speed, memory and size of networks, measured so that the figures can be compared.

Variants take turns in one run: each repetition times every variant once, so that a busy or throttled machine
slows all of them alike, and the ratio to the baseline is the median of the ratios within repetitions. A
measurement starts after warm-up calls, and on a GPU ends when the device has finished.
"""

from __future__ import annotations

import copy
import gc
import json
import resource
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from drpca.errors import UserError, unknown_name
from drpca.inference.optimise import optimise_model
from drpca.models.comparator_layers import unused_parameter_names
from drpca.models.detector import DetectionModel
from drpca.registry import MODELS

BASELINE = 'eager'
"""The plain forward: eager, NCHW, float32, all outputs."""

VARIANTS: dict[str, dict[str, Any]] = {
    BASELINE: {},
    'channels_last': {'channels_last': True},
    'compile': {'optimise': True, 'compile': True},
    'optimised': {'optimise': True},
    'optimised-bf16': {'optimise': True, 'precision': 'bf16'},
    'optimised-fp16': {'optimise': True, 'precision': 'fp16'},
    'compile-bf16': {'optimise': True, 'compile': True, 'precision': 'bf16'},
}


@dataclass(frozen=True)
class Result:
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
        gflop: Per image, counting a multiplication and an addition as two.
        latency_ms: Median time of a call.
        latency_5: 5th percentile.
        latency_95: 95th percentile.
        images_per_s: Batch over median time.
        peak_mb: Largest memory: allocated on a GPU; on a CPU what the calls added to the largest resident set
            of the process (0 where an earlier, larger one hides it).
        speedup: Median over the repetitions of (time of the baseline / time of this variant).
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
    latency_ms: float
    latency_5: float
    latency_95: float
    images_per_s: float
    peak_mb: float
    speedup: float
    max_error: float


def count_parameters(network: nn.Module) -> tuple[int, int]:
    """All parameters, and those that the network uses."""
    unused = unused_parameter_names(network)
    sizes = {name: parameter.numel() for name, parameter in network.named_parameters()}
    return sum(sizes.values()), sum(size for name, size in sizes.items() if name not in unused)


def count_gflop(network: nn.Module, image: Tensor) -> float:
    """10⁹ floating-point operations of one forward, convolutions and matrix products, as PyTorch counts them."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(image)
    return counter.get_total_flops() / 1e9


def _function(model: DetectionModel, variant: str, device: torch.device) -> Callable[[Tensor], Tensor]:
    """Image → target logits, in the form that a variant names."""
    options = dict(VARIANTS[variant])
    if options.pop('channels_last', False):
        plain = optimise_model(model, device, optimise=False)
        plain.memory_format = torch.channels_last
        plain.network.to(memory_format=torch.channels_last)
        return plain.detect
    if options:
        return optimise_model(model, device, **options).detect
    plain = copy.deepcopy(model).eval().to(device)
    return lambda image: plain.outputs(image)['target']


def _synchronise(device: torch.device) -> None:
    if device.type == 'cuda':
        torch.cuda.synchronize(device)


def _peak(device: torch.device) -> float:
    """Largest memory so far, MB."""
    if device.type == 'cuda':
        return torch.cuda.max_memory_allocated(device) / 2**20
    unit = 2**20 if sys.platform == 'darwin' else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


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
    options: dict[str, Any] | None = None,
) -> list[Result]:
    """Time the variants of a network in turn.

    Args:
        name: Registered name.
        variants: Some of ``VARIANTS``; the baseline is added.
        size: Side of the image.
        batch: Images per call.
        device: ``'cpu'``, ``'cuda'``, …
        repetitions: Rounds.
        warm_up: Calls of each variant before the first round.
        baseline: The variant that speed-ups refer to.
        options: Keywords of the network.

    Raises:
        UserError: Unknown network or variant, or no repetitions.
    """
    if repetitions < 1:
        raise UserError(f'Expected at least one repetition, got {repetitions}.')
    for variant in (*variants, baseline):
        if variant not in VARIANTS:
            raise unknown_name('variant', variant, list(VARIANTS))
    if MODELS.get(name) is None:
        raise unknown_name(
            'network', name, [key for key, value in MODELS.module_dict.items() if hasattr(value, 'outputs')]
        )
    torch.manual_seed(0)
    model = DetectionModel(MODELS.build({'type': name, **(options or {})})).eval()
    where = torch.device(device)
    image = torch.rand(batch, 1, size, size)
    total, used = count_parameters(model.network)
    gflop = count_gflop(model.network, image[:1].expand(-1, model.in_channels, -1, -1))
    image = image.to(where)
    order = list(dict.fromkeys([baseline, *variants]))
    functions, peaks, outputs = {}, {}, {}
    for variant in order:
        gc.collect()
        functions[variant] = _function(model, variant, where)
        if where.type == 'cuda':
            torch.cuda.reset_peak_memory_stats(where)
        before = 0.0 if where.type == 'cuda' else _peak(where)
        for _ in range(max(1, warm_up)):
            outputs[variant] = functions[variant](image).float()
        _synchronise(where)
        peaks[variant] = _peak(where) - before
    times: dict[str, list[float]] = {variant: [] for variant in order}
    for _ in range(repetitions):
        for variant in order:
            started = time.perf_counter()
            functions[variant](image)
            _synchronise(where)
            times[variant].append(time.perf_counter() - started)
    reference = np.array(times[baseline])
    results = []
    for variant in order:
        seconds = np.array(times[variant])
        low, median, high = np.percentile(1e3 * seconds, [5, 50, 95])
        results.append(
            Result(
                network=name,
                variant=variant,
                device=torch.cuda.get_device_name(where) if where.type == 'cuda' else where.type,
                threads=torch.get_num_threads(),
                size=size,
                batch=batch,
                parameters=total / 1e6,
                used_parameters=used / 1e6,
                gflop=gflop,
                latency_ms=float(median),
                latency_5=float(low),
                latency_95=float(high),
                images_per_s=float(1e3 * batch / median),
                peak_mb=float(peaks[variant]),
                speedup=float(np.median(reference / seconds)),
                max_error=float((outputs[variant] - outputs[baseline]).abs().max()),
            )
        )
    return results


def to_markdown(results: Iterable[Result]) -> str:
    """A table, one row per result."""
    lines = [
        '| network | variant | device | size | batch | M params (used) | GFLOP | ms (5–95 %) | images/s | peak MB '
        '| × baseline | max error |',
        '|---|---|---|---|---|---|---|---|---|---|---|---|',
    ]
    for r in results:
        device = f'{r.device}, {r.threads} threads' if r.device == 'cpu' else r.device
        lines.append(
            f'| {r.network} | {r.variant} | {device} | {r.size} | {r.batch} | {r.parameters:.3f} '
            f'({r.used_parameters:.3f}) | {r.gflop:.1f} | {r.latency_ms:.1f} ({r.latency_5:.1f}–{r.latency_95:.1f}) '
            f'| {r.images_per_s:.1f} | {r.peak_mb:.0f} | {r.speedup:.2f} | {r.max_error:.1e} |'
        )
    return '\n'.join(lines) + '\n'


def write_json(results: Iterable[Result], path: str | Path) -> None:
    """All figures, with the versions they were measured with."""
    content = {'torch': torch.__version__, 'results': [asdict(result) for result in results]}
    Path(path).write_text(json.dumps(content, indent=1) + '\n')


def plot_tradeoff(results: Sequence[Result], scores: dict[str, float], path: str | Path) -> None:
    """IoU against latency and against parameters, one point per network and variant.

    Args:
        results: What was measured.
        scores: Network → IoU, a ratio. Networks without one are left out.
        path: Picture to write.

    Raises:
        UserError: No measured network has an IoU.
    """
    from matplotlib.figure import Figure

    shown = [result for result in results if result.network in scores]
    if not shown:
        raise UserError(
            f'No IoU for any of the measured networks; the file has: {", ".join(scores) or "none"}.'
        )
    figure = Figure(figsize=(10, 4), layout='constrained')
    panels = figure.subplots(1, 2)
    for axes, label in zip(panels, ('latency in ms per image', 'parameters in use, M')):
        axes.set(xscale='log', xlabel=label, ylabel='IoU in %')
        axes.grid(alpha=0.3)
    for variant in dict.fromkeys(result.variant for result in shown):
        mine = [result for result in shown if result.variant == variant]
        latency = [result.latency_ms / result.batch for result in mine]
        panels[0].scatter(latency, [100 * scores[result.network] for result in mine], label=variant)
    for result in {result.network: result for result in shown}.values():
        place = (result.used_parameters, 100 * scores[result.network])
        panels[1].scatter(*place, color='black')
        panels[1].annotate(result.network, place, textcoords='offset points', xytext=(4, 4), fontsize=8)
    panels[0].legend(fontsize=8)
    figure.savefig(path, dpi=150)
