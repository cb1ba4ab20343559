"""What a training will do, before it is done: its learning rate and its augmented samples, in one picture."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from mmengine.config import Config

from drpca.engine.runs import TrainingOptions, build_config, plan_runs
from drpca.engine.train import DetectionRunner, build_runner
from drpca.engine.trial import unrecorded
from drpca.errors import UserError
from drpca.files import make_folder, refuse_present, save

_CELL = 1.7  # inches


@dataclass(frozen=True)
class Browsed:
    """What :func:`browse` shows.

    Attributes:
        path: The picture.
        rates: Learning rate of every iteration, (iterations,) float64.
        epoch_length: Iterations per epoch.
        names: Names of the images shown.
    """

    path: Path
    rates: np.ndarray
    epoch_length: int
    names: list[str]


def browse(
    config: str | Path | Config,
    *,
    dataset: str | None = None,
    out: str | Path | None = None,
    samples: int = 4,
    versions: int = 4,
    seed: int = 0,
    overwrite: bool = False,
    **options: Any,
) -> Browsed:
    """Draws the learning rate over the whole training, and training images with their targets, augmented several times.

    The rates are those of the schedules themselves, run through without training; the samples are what the loader
    gives, with random numbers of ``seed``.

    Args:
        config: Name or path of a config, or one that was read.
        dataset: In place of its own.
        out: The picture, a PNG file; None: ``results/browse/<name>.png``.
        samples: Images, spread over the training images.
        versions: Augmented versions of each; a data set without seeds of its own has one.
        seed: Of the augmentation.
        overwrite: Replace the picture.
        **options: See :class:`drpca.engine.runs.TrainingOptions`.

    Raises:
        UserError: What a training would refuse; ``samples`` or ``versions`` below 1; a picture that is there already.
    """
    if samples < 1 or versions < 1:
        raise UserError(f'Nothing to show: --samples and --versions must be at least 1, got {samples} and {versions}.')
    (run,) = plan_runs([config], (), [dataset] if dataset else (), [seed], TrainingOptions(**options))
    path = Path(out or Path('results', 'browse', f'{run.name}.png'))
    if path.suffix.lower() != '.png':
        raise UserError(f'--out {path}: the picture is a PNG file; give a name that ends in .png.')
    refuse_present([path], overwrite)
    make_folder(path.parent)
    with tempfile.TemporaryDirectory(prefix='drpca-browse-') as folder:
        runner = build_runner(unrecorded(build_config(replace(run, options=replace(run.options, work_dir=folder)))))
        rates = schedule_of(runner)
    length = len(runner.train_dataloader)
    names, rows = _sample_rows(runner.train_dataloader.dataset, samples, versions, seed)
    figure = _draw(run.name, rates, length, names, rows)
    save(path, lambda draft: figure.savefig(draft, dpi=110), overwrite=overwrite)
    return Browsed(path, rates, length, names)


def schedule_of(runner: DetectionRunner) -> np.ndarray:
    """The learning rate of every iteration of a training that has not begun, (iterations,) float64; uses it up."""
    optimizer: Any = runner.optim_wrapper.optimizer
    schedulers: Any = runner.param_schedulers or []
    rates = []
    with warnings.catch_warnings():  # MMEngine misses the steps of the optimiser
        warnings.simplefilter('ignore')
        for _ in range(runner.max_epochs):
            for _ in range(len(runner.train_dataloader)):
                rates.append(optimizer.param_groups[0]['lr'])
                for scheduler in schedulers:
                    if not scheduler.by_epoch:
                        scheduler.step()
            for scheduler in schedulers:
                if scheduler.by_epoch:
                    scheduler.step()
    return np.array(rates)


def _sample_rows(
    dataset: Any, samples: int, versions: int, seed: int
) -> tuple[list[str], list[list[tuple[np.ndarray, np.ndarray]]]]:
    """Names, and for each (image, mask) of its versions, both (H, W)."""
    seeded = getattr(dataset, 'takes_seeds', False)
    positions = np.unique(np.linspace(0, len(dataset) - 1, samples).round().astype(int))
    names, rows = [], []
    for position in map(int, positions):
        keys = [(position, 1000 * position + seed + number) for number in range(versions)] if seeded else [position]
        versions_of = [dataset[key] for key in keys]
        names.append(str(versions_of[0].get('name', position)))
        rows.append([(np.asarray(one['image'])[0], np.asarray(one['gt_mask'])[0]) for one in versions_of])
    return names, rows


def _draw(
    title: str,
    rates: np.ndarray,
    length: int,
    names: Sequence[str],
    rows: Sequence[Sequence[tuple[np.ndarray, np.ndarray]]],
) -> Figure:
    columns = max(map(len, rows))
    figure = Figure(figsize=(max(_CELL * columns, 5.0), 2.4 + _CELL * len(rows)), layout='constrained')
    grid = figure.add_gridspec(len(rows) + 1, columns, height_ratios=[2.0, *[_CELL] * len(rows)])
    curve = figure.add_subplot(grid[0, :])
    curve.plot(np.arange(len(rates)) / length, rates, linewidth=1.5)
    curve.set(xlabel='epoch', ylabel='learning rate', xlim=(0, len(rates) / length), title=title)
    curve.grid(alpha=0.3)
    for row, (name, shown) in enumerate(zip(names, rows), start=1):
        for column, (image, gt_mask) in enumerate(shown):
            axes = figure.add_subplot(grid[row, column])
            axes.imshow(image, cmap='gray', vmin=0, vmax=1)
            if gt_mask.any() and min(gt_mask.shape) > 1:
                axes.contour(gt_mask > 0, levels=[0.5], colors='red', linewidths=0.8)
            axes.set_axis_off()
            if column == 0:
                axes.set_title(name, fontsize=7, loc='left')
    return figure
