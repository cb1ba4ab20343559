"""Files of a study: claimed before the work, written after it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from drpca.errors import UserError


def claim(folder: Path, files: Iterable[str], overwrite: bool) -> None:
    """Makes a folder for files about to be written; called before the work, so that nothing is lost after it.

    Raises:
        UserError: One of them is there already, or the folder cannot be made.
    """
    there = [name for name in files if (folder / name).exists()]
    if there and not overwrite:
        raise UserError(
            f'{folder / there[0]} is there already: choose another --out, or replace it with --overwrite.'
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f'Cannot write to {folder}: {error.strerror}; choose another --out.') from None


def save_text(path: Path, text: str) -> None:
    """Writes a text file.

    Raises:
        UserError: It cannot be written.
    """
    try:
        path.write_text(text, encoding='utf-8')
    except OSError as error:
        raise UserError(f'Cannot write {path}: {error.strerror}; choose another --out.') from None
