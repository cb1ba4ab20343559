"""The folder of one training, ``<work dir>/<name>/seed_<n>``: names of its files, and what they say."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from typing_extensions import Required, TypedDict

from drpca.errors import UserError
from drpca.json_file import read_json, read_json_lines
from drpca.options import called

LAST, BEST, FINAL, LOG, SUMMARY = 'last.pth', 'best.pth', 'final.pth', 'log.jsonl', 'summary.json'

BEST_ON_TEST = 'test_best_published_convention'
"""What other code calls best on the test split; in the log it is written down and selects nothing."""


LogLine = TypedDict(
    'LogLine',
    {'epoch': Required[int], 'seconds': Required[float], 'val/IoU': float, 'test_best_published_convention': float},
    total=False,
)
"""What is read of a line of the log; there is more in it."""
LogLine.__pydantic_config__ = {'extra': 'allow'}  # type: ignore[attr-defined]


class Summary(TypedDict, total=False):
    """What is read of a summary; there is more in it."""

    __pydantic_config__ = {'extra': 'allow'}  # type: ignore[misc]
    epochs: int
    selection: str
    best: float | None
    seconds: float
    checkpoint: str
    test: dict[str, float | None]


@dataclass(frozen=True)
class RunFolder:
    """The folder of one training.

    Attributes:
        path: It need not be there yet.
    """

    path: Path

    @property
    def name(self) -> str:
        """What was trained: the config, with ``_on_<data set>`` and ``_final`` where they apply."""
        return self.path.parent.name

    @property
    def seed(self) -> int | None:
        """Its seed; None where the folder is called otherwise."""
        text = self.path.name.removeprefix('seed_')
        return int(text) if text.isdecimal() else None

    @property
    def last(self) -> Path:
        """All that a resumed run needs."""
        return self.path / LAST

    @property
    def weights(self) -> Path | None:
        """The weights that the run is for: selected on the validation split, else those after the last epoch."""
        return next((file for file in (self.path / BEST, self.path / FINAL) if file.is_file()), None)

    @property
    def state(self) -> str:
        """``'done'`` (has a summary), ``'resume'`` (was begun) or ``'train'``."""
        if (self.path / SUMMARY).is_file():
            return 'done'
        return 'resume' if self.files() else 'train'

    def files(self) -> list[str]:
        """Names of the files that a training without ``--resume`` would write over."""
        return [name for name in (LAST, BEST, FINAL, LOG) if (self.path / name).exists()]

    def log(self) -> list[dict[str, Any]]:
        """The lines of the log, one per epoch; none without a log.

        Raises:
            UserError: It cannot be read.
        """
        file = self.path / LOG
        return [*map(dict, read_json_lines(file, LogLine))] if file.is_file() else []

    def summary(self) -> dict[str, Any]:
        """What :func:`drpca.engine.train.train` returned.

        Raises:
            UserError: It is not there or cannot be read.
        """
        return dict(read_json(self.path / SUMMARY, Summary))


def find_runs(root: str | Path, config: str | None = None) -> list[RunFolder]:
    """The runs below a work directory, in the order of their names.

    Args:
        root: ``--work-dir``; may be missing.
        config: Only those of a config: on whatever data set, with or without ``--final``.
    """
    wanted = '.*' if config is None else f'{re.escape(config)}(_on_.*)?(_final)?'
    runs = map(RunFolder, sorted(Path(root).glob('*/seed_*')))
    return [run for run in runs if re.fullmatch(wanted, run.name)]


def newest_weights(root: str | Path, config: str | None = None) -> Path | None:
    """The weights of :func:`find_runs` that were written last; None without any."""
    found = [run.weights for run in find_runs(root, config)]
    return max(filter(None, found), key=lambda path: path.stat().st_mtime, default=None)


def best_run(root: str | Path, name: str, seed: int | None = None) -> tuple[dict[str, Any], Path]:
    """Summary and weights of a run that is done: of the seed, or the one with the best validation figure.

    Raises:
        UserError: There is none, or its summary cannot be read.
    """
    runs = [run for run in find_runs(root) if run.name == name and seed in (None, run.seed)]
    done = [(run.summary(), run.weights) for run in runs if run.state == 'done' and run.weights]
    if not done:
        wanted = 'of any seed' if seed is None else f'of seed {seed}'
        raise UserError(
            f'No finished run {wanted} in {Path(root) / name}: train it with {called("train")}, or name --work-dir.'
        )
    return max(done, key=lambda run: run[0].get('best') or 0.0)
