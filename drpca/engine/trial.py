"""Short trials before a training: whether everything works, the largest batch, the epochs that fit into a time."""

from __future__ import annotations

import copy
import math
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config

from drpca.checkpoint import load_weights
from drpca.config import LOADERS, building
from drpca.deploy.export_model import export_model
from drpca.deploy.fastest import milliseconds
from drpca.engine.faults import TrainingFailed, step_fits
from drpca.engine.hooks.stopwatch import read_times
from drpca.engine.train import build_runner, limited, train
from drpca.errors import UserError
from drpca.models.detector import bare_model
from drpca.models.layers import arrange
from drpca.registry import DATASETS, MODELS

REHEARSED = 2
"""Batches of a rehearsal, in each of its epochs."""

_MEASURED = 6  # batches of a measured epoch; the first epoch warms up
_STEPS = 3  # of each memory order
_SHARE = 0.9  # of what is there of memory or time: measurements of a short trial are that exact


@contextmanager
def _short(config: Config, batches: int) -> Iterator[Config]:
    """The same training on a few batches, in a folder that is removed at the end."""
    with tempfile.TemporaryDirectory(prefix='drpca-trial-') as folder:
        short = copy.deepcopy(config)
        short.work_dir = str(Path(folder) / 'seed_0')
        unrecorded(short)
        for loader in filter(short.get, LOADERS):
            short[loader].images = batches * short[loader].get('batch_size', 1)
        yield short


def unrecorded(config: Config) -> Config:
    """The config, without the programs that keep trainings: their threads would write into a folder that is gone."""
    if config.get('visualizer'):
        config.visualizer.vis_backends = []
    return config


def rehearse(config: Config) -> dict[str, Any]:
    """Two batches through training, validation, checkpoint, test and export; nothing of it is kept.

    Args:
        config: Of two epochs, as schedules with a warm-up have no fewer.

    Returns:
        The summary of the short training; its checkpoint is gone.

    Raises:
        UserError: What the training itself would refuse.
        TrainingFailed: Something does not work.
    """
    with _short(config, REHEARSED) as short:
        short.train_cfg.val_interval = 1
        summary = train(short)
        weights = Path(summary['checkpoint'])
        with building():
            model = MODELS.build({**short.model, 'compiled': False})
            loader = short[next(filter(short.get, reversed(LOADERS)))]
            dataset = limited(loader.dataset, 2)
            images = [dataset[index]['image'].numpy() for index in range(len(dataset))]
        load_weights(model.network, weights)
        try:
            export_model(model, weights.with_name('model.pt2'), 'torch', images=images)
        except UserError as error:
            raise TrainingFailed(
                f'Training, validation, checkpoint and test work, the export does not: {error}'
            ) from None
    return {**summary, 'checkpoint': ''}


def epochs_within(config: Config, seconds: float) -> int:
    """Measures a training in two short epochs, and tells how many of the config's epochs fit into a time.

    Args:
        config: Of the training, with the most epochs that it may have.
        seconds: For measuring, training, validating and testing.

    Raises:
        UserError: Not even one.
    """
    started = time.perf_counter()
    print('measuring the speed in two short epochs', flush=True)
    with _short(config, _MEASURED) as short:
        short.train_cfg.max_epochs, short.train_cfg.val_interval = 2, 1
        short.param_scheduler, short.test_dataloader, short.test_cfg, short.test_evaluator = [], None, None, None
        short.custom_hooks = [*(config.get('custom_hooks') or []), {'type': 'StopwatchHook'}]
        train(short)
        times = read_times(Path(short.work_dir))
    spent = time.perf_counter() - started
    counts = {name: _batches(config[name]) for name in filter(config.get, LOADERS)}
    evaluation = times['validation'] * counts.get('val_dataloader', 0)
    epoch = counts['train_dataloader'] * times['batch'] + times['rest']
    epoch += evaluation / config.train_cfg.get('val_interval', 1)
    # Building everything again takes as long as it did here; the test split comes once, at the speed of validation.
    once = max(spent - times['epochs'], 0) + times['validation'] * counts.get('test_dataloader', 0)
    fitting = math.floor((_SHARE * (seconds - spent) - once) / epoch)
    if fitting < 1:
        raise UserError(
            f'--time {seconds / 3600:.2g}: not one epoch fits: it takes about {epoch:.0f} s, and beginning and testing '
            f'{spent + once:.0f} s. Give more time, or train on fewer images (--limit).'
        )
    epochs = min(fitting, config.train_cfg.max_epochs)
    print(f'{epoch:.1f} s per epoch: {epochs} of {config.train_cfg.max_epochs} epochs fit', flush=True)
    return epochs


def _source(loader: Any) -> Any:
    """The data set of a loader, which reads its images when they are asked for."""
    source = loader.dataset.to_dict() | ({'cache': False} if loader.dataset.type == 'InfraredDataset' else {})
    return limited(source, loader.images) if loader.get('images') else DATASETS.build(source)


def _batches(loader: Any) -> int:
    images, size = len(_source(loader)), loader.get('batch_size', 1)
    return images // size if loader.get('drop_last') else -(-images // size)


def largest_batch(config: Config) -> int:
    """The most images of which a step of training fits into memory, at most all training images.

    Steps of growing batches are tried: on a GPU until one fails, on a CPU as long as the process, by its growth so far,
    stays within nine tenths of what is free. A network that will be compiled is tried uncompiled, which takes more.

    Raises:
        UserError: Not one image fits, or the system does not tell how much memory is free.
    """
    with building():
        images = len(_source(config.train_dataloader))
    with _short(config, 1) as short:
        short.model.compiled, short.cuda_graphs = False, False
        short.train_dataloader.update(batch_size=1, drop_last=False, num_workers=0, persistent_workers=False)
        runner = build_runner(short)
        model = bare_model(runner.model).train()
        least = getattr(model.network, 'min_train_batch', 1)
        on_gpu = next(model.parameters()).device.type == 'cuda'
        room = None if on_gpu else _SHARE * free_memory()

        def fits(size: int) -> bool:
            return step_fits(runner, model, size)

        size = search(fits, least, images, room, resident_peak)
        runner.close()
    if size is None:
        raise UserError(f'--batch-size auto: not even {least} images fit into memory: choose a smaller size.')
    print(f'batch size {size}: the most that fits, of {images} images; the learning rate stays', flush=True)
    return size


def faster_order(config: Config) -> bool:
    """Whether a training step on this processor is faster in NHWC order than in NCHW, by a few steps of each in turn.

    Which one is depends on network and processor; the losses differ by rounding alone. What is compiled stays in NHWC.
    """
    if config.model.get('compiled'):
        return True
    with _short(config, 1) as short:
        short.train_dataloader.update(num_workers=0, persistent_workers=False)
        runner = build_runner(short)
        model = bare_model(runner.model).train()

        def step(order: torch.memory_format) -> None:
            model.memory_format = order
            arrange(model.network, order)
            step_fits(runner, model, short.train_dataloader.batch_size)

        orders = {'NHWC': torch.channels_last, 'NCHW': torch.contiguous_format}
        times = milliseconds({name: partial(step, order) for name, order in orders.items()}, _STEPS)
        runner.close()
    best = min(times, key=times.__getitem__)
    print(f'memory order {best}: {", ".join(f"{name} {value:.0f} ms" for name, value in times.items())} a step')
    return best == 'NHWC'


def search(
    fits: Callable[[int], bool], least: int, most: int, room: float | None, peak: Callable[[], float]
) -> int | None:
    """The largest size between two that fits, to about a sixteenth; None if the least does not.

    Args:
        fits: Tries one.
        least: The smallest.
        most: The largest.
        room: How many bytes ``peak`` may grow; a size that would go beyond, by the growth per image so far, is not
            tried. None: only trying tells.
        peak: The most memory that the process has had, in bytes.
    """
    begin, at_most = peak(), most
    tried: list[tuple[int, float]] = []

    def possible(size: int) -> bool:
        nonlocal at_most
        if room is not None and tried:
            (first, low), (last, high) = tried[0], tried[-1]
            growth = (high - low) / (last - first) if last > first else (high - begin) / last
            if high - begin + growth * (size - last) > room:
                return False
        if not fits(size):
            return False
        tried.append((size, peak()))
        return True

    good, bad = None, None
    size = min(max(least, 1), at_most)
    while bad is None and good != at_most:
        if possible(size):
            good, size = size, min(2 * size, at_most)
        else:
            bad = size
    while good is not None and bad is not None and bad - good > max(good // 16, 1):
        middle = (good + bad) // 2
        if possible(middle):
            good = middle
        else:
            bad = middle
    return good


def resident_peak() -> float:
    """The most memory that this process has had, in bytes; 0 on Windows, where a GPU tells by itself."""
    try:
        import resource
    except ImportError:
        return 0.0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return float(peak if os.uname().sysname == 'Darwin' else peak * 1024)


def free_memory() -> float:
    """Bytes that this process can still take: of the machine, or of the group that it is confined to.

    Raises:
        UserError: The system does not tell.
    """
    lines = _words('/proc/meminfo')
    if 'MemAvailable:' not in lines:
        raise UserError('--batch-size auto: this system does not tell how much memory is free: give a number.')
    free = 1024.0 * int(lines[lines.index('MemAvailable:') + 1])
    limit, used = _words('/sys/fs/cgroup/memory.max'), _words('/sys/fs/cgroup/memory.current')
    if limit and used and limit[0] != 'max':
        free = min(free, float(limit[0]) - float(used[0]))
    return free


def _words(path: str) -> list[str]:
    try:
        return Path(path).read_text().split()
    except OSError:
        return []
