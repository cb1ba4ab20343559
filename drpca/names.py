"""Names as they are compared: case and separators do not matter."""

from __future__ import annotations

import re


def simplify(name: str) -> str:
    """Name as it is compared: lower case, letters and digits only ('SIRST-Aug' -> 'sirstaug')."""
    return re.sub(r'[^a-z0-9]', '', name.lower())
