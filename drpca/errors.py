"""The one exception that means 'the input is wrong, the program is fine'."""

from __future__ import annotations

from collections.abc import Sequence

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_FAULT = 70
EXIT_INTERRUPTED = 130

MANY = 20
"""Of more names than these, an error names the nearest alone."""


class UserError(Exception):
    """Bad input from the user: shown as one line, without traceback, exit code 2.

    The message says what was expected, what came, and what to do about it.

    Attributes:
        exit_code: Of a command that it ends.
    """

    exit_code = EXIT_USAGE

    def __init__(self, message: str) -> None:
        super().__init__(' '.join(str(message).split()))


class DiskFull(UserError):
    """A file that cannot be written for want of space: nothing is wrong with what the user asked for."""

    exit_code = EXIT_FAILED


def unknown_name(kind: str, name: str, known: Sequence[str]) -> UserError:
    """Error for a name that is not registered: lists the known names, of many the nearest few.

    Args:
        kind: What the name stands for, for example ``'data set'``.
        name: The name that came.
        known: All names that would have been accepted.
    """
    import difflib

    def nearest(n: int, cutoff: float) -> list[str]:
        lower = {k.lower(): k for k in known}
        return [lower[k] for k in difflib.get_close_matches(name.lower(), lower, n, cutoff)]

    hint = ''.join(f' Did you mean {k!r}?' for k in nearest(1, 0.5))
    if len(known) > MANY:
        return UserError(
            f'Unknown {kind} {name!r}.{hint} Nearest of {len(known)}: {", ".join(nearest(5, 0.0))}.'
        )
    return UserError(f'Unknown {kind} {name!r}.{hint} Known: {", ".join(sorted(known))}.')
