"""Names as they are compared: case and separators do not matter."""

from __future__ import annotations

import re
from collections.abc import Sequence


def simplify(name: str) -> str:
    """Name as it is compared: lower case, letters and digits only ('SIRST-Aug' -> 'sirstaug')."""
    return re.sub(r'[^a-z0-9]', '', name.lower())


def joined_names(dataset: str | Sequence[str]) -> list[str]:
    """``'SIRSTv1+NUDT-SIRST'``, or a list, as a list of names."""
    return [name.strip() for name in dataset.split('+')] if isinstance(dataset, str) else list(dataset)
