"""The folder of one training: names of its files, and what they say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from drpca.errors import UserError

LAST, BEST, FINAL, LOG = 'last.pth', 'best.pth', 'final.pth', 'log.jsonl'


# What other code calls best on the test split; here it is written down and selects nothing.
PUBLISHED = 'test_best_published_convention'


SUMMARY = 'summary.json'


def read_log(work_dir: Path) -> list[dict[str, Any]]:
    """The lines of a run's ``log.jsonl``, one per epoch; none without a log."""
    file = work_dir / LOG
    return [json.loads(line) for line in file.read_text().splitlines()] if file.is_file() else []


def run_state(folder: Path) -> str:
    """'done' (has a summary), 'resume' (was begun) or 'train'."""
    if (folder / SUMMARY).is_file():
        return 'done'
    return 'resume' if any((folder / name).is_file() for name in (LAST, BEST, LOG)) else 'train'


def epochs_logged(folder: Path) -> int:
    """Epochs that a run has behind it."""
    return len(read_log(folder))


def find_run(folder: Path, seed: int | None) -> tuple[dict[str, Any], Path]:
    """Summary and weights of a run that is done: of the seed, or of the one with the best validation figure.

    Raises:
        UserError: There is none.
    """
    found = []
    for path in sorted(folder.glob(f'seed_{"*" if seed is None else seed}/{SUMMARY}')):
        try:
            summary = json.loads(path.read_text(encoding='utf-8'))
        except (OSError, ValueError) as error:
            raise UserError(f'Cannot read {path}: {error}.') from None
        for name in (BEST, FINAL):
            if (path.parent / name).is_file():
                found.append((summary, path.parent / name))
                break
    if not found:
        wanted = 'of any seed' if seed is None else f'of seed {seed}'
        raise UserError(
            f'No finished run {wanted} in {folder}: train it with run_configs.py, or name --work-dir.'
        )
    return max(found, key=lambda run: run[0].get('best') or 0.0)
