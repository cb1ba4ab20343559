"""Faults that are known and not mended yet. The list gets shorter; nothing is added to it without an issue."""

from __future__ import annotations

from tests.fuzz.runner import Fault

KNOWN = {
    # libjpeg's own line about a picture that can be read all the same.
    'noise: infer: Corrupt JPEG',
    # Own .pt2 files that are trusted and damaged: torch logs its own traceback before our line.
    'traceback:  ?',
}


def is_known(fault: Fault) -> bool:
    """Whether the fault is on the list."""
    return str(fault) in KNOWN
