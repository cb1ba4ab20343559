"""Which files of the project a call enters."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import drpca

FOLDER = str(Path(drpca.__file__).parent)


def entered_files(call: Callable[[], Any]) -> list[str]:
    """Files below ``drpca/`` of which a function is called while ``call`` runs, in all threads, sorted.

    What runs while a module is imported does not count: its body, and what the body calls.
    """
    found: set[str] = set()

    def note(frame: Any, event: str, _: Any) -> None:
        code = frame.f_code
        if event != 'call' or not code.co_filename.startswith(FOLDER) or code.co_name == '<module>':
            return
        caller = frame
        while caller is not None:
            if caller.f_code.co_name == '<module>' and caller.f_code.co_filename.startswith(FOLDER):
                return
            caller = caller.f_back
        found.add(Path(code.co_filename).relative_to(FOLDER).as_posix())

    threading.setprofile(note)
    sys.setprofile(note)
    try:
        call()
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
    return sorted(found)
