"""The one exception that means 'the input is wrong, the program is fine'."""

from __future__ import annotations

EXIT_USAGE = 2


class UserError(Exception):
    """Bad input from the user: shown as one line, without traceback, exit code 2.

    The message says what was expected, what came, and what to do about it.
    """

    def __init__(self, message: str) -> None:
        super().__init__(' '.join(str(message).split()))


def unknown_name(kind: str, name: str, known: list[str] | tuple[str, ...]) -> UserError:
    """Error for a name that is not registered: lists the known names, nearest first.

    Args:
        kind: What the name stands for, for example ``'data set'``.
        name: The name that came.
        known: All names that would have been accepted.
    """
    import difflib

    near = difflib.get_close_matches(name.lower(), [k.lower() for k in known], n=1, cutoff=0.5)
    hint = next((f' Did you mean {k!r}?' for k in known if near and k.lower() == near[0]), '')
    return UserError(f'Unknown {kind} {name!r}.{hint} Known: {", ".join(sorted(known))}.')
